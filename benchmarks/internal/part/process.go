package part

// A part, seen by whoever started it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/pipes"
)

// Role is what a part does.
type Role string

// The roles.
const (
	Etcd     Role = "etcd"     // serves
	Members  Role = "members"  // are the half of a scenario that receives
	Member   Role = "member"   // takes messages, and says so
	Holder   Role = "holder"   // takes messages, says so, and settles none
	Consumer Role = "consumer" // takes records, and says so
	Sender   Role = "sender"   // sends one message after the other, and says when the first was accepted
)

// Spec is what a part is told.
type Spec struct {
	Role      Role
	Endpoints []string // of etcd
	Prefix    string
	Name      string // of the destination or topic
	Group     string

	// Of Members.
	Half pipes.Members

	// Of Etcd: its directory, where it listens, and the cluster that it is a member of, as
	// name=http://host:port, by commas; empty for one that is alone.
	Dir, Listen, Peer, Member, Cluster string
	NoSync                             bool
}

// Said is one line of a part.
type Said struct {
	At          int64        // nanoseconds of the clock that all processes of a machine share
	Ready       string       `json:",omitempty"` // what the part is; of an etcd its endpoint
	Partition   int          `json:",omitempty"`
	Owned       []int        `json:",omitempty"` // partitions, when they have changed
	Took        bool         `json:",omitempty"` // a message or record
	Redelivered bool         `json:",omitempty"`
	Accepted    bool         `json:",omitempty"`
	Result      *results.Run `json:",omitempty"`
	Error       string       `json:",omitempty"`
}

// Process is a part at work.
type Process struct {
	what Role
	cmd  *exec.Cmd
	in   io.Closer
	said chan Said
	end  sync.Once
	err  error
}

// command is the first argument of a part; its Spec follows.
const command = "part"

// Start starts a part as this program. The end of ctx kills it.
func Start(ctx context.Context, s Spec) (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	p := &Process{what: s.Role, cmd: exec.CommandContext(ctx, program, command, string(spec)), said: make(chan Said, 1<<10)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.said)
		for d := json.NewDecoder(out); ; {
			var s Said
			if d.Decode(&s) != nil {
				return // it has ended, and its state says how
			}
			p.said <- s
		}
	}()
	return p, nil
}

// Until returns the first line that is what is waited for. Lines before it are dropped.
func (p *Process) Until(ctx context.Context, what string, is func(Said) bool) (Said, error) {
	for {
		select {
		case s, ok := <-p.said:
			if !ok {
				return s, fmt.Errorf("the %s has ended, and %s was waited for", p.what, what)
			}
			if s.Error != "" {
				return s, fmt.Errorf("the %s: %s", p.what, s.Error)
			}
			if is(s) {
				return s, nil
			}
		case <-ctx.Done():
			return Said{}, fmt.Errorf("the %s: no %s: %w", p.what, what, context.Cause(ctx))
		}
	}
}

// Ready waits until the part is, and returns what it says of itself.
func (p *Process) Ready(ctx context.Context) (string, error) {
	s, err := p.Until(ctx, "sign that it is ready", func(s Said) bool { return s.Ready != "" })
	return s.Ready, err
}

// PID is that of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill kills it, as SIGKILL does, waits for its end, and returns when it was killed.
func (p *Process) Kill() (at time.Time, err error) {
	at = time.Now()
	err = p.cmd.Process.Kill()
	p.finish()
	return at, err
}

// grace is how long a part may take to end.
const grace = 15 * time.Second

// Close has the part end in order, kills it when it does not, and returns its error.
func (p *Process) Close() error {
	_ = p.in.Close() // it may have ended
	stuck := time.AfterFunc(grace, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	p.finish()
	var died *exec.ExitError
	if errors.As(p.err, &died) && !died.Exited() {
		return nil // it was killed, and whoever did that knows
	}
	return p.err
}

func (p *Process) finish() {
	p.end.Do(func() {
		for range p.said { // else it might wait for a reader
		}
		p.err = p.cmd.Wait()
	})
}
