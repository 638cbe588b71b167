package side

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// A process that is one end of a system.

// command is the first argument of such a process; the system and the role follow.
const command = "peer"

// grace is how long an end may take to close when nobody asks any more.
const grace = 10 * time.Second

// Main serves an end of a system when that is what this process was started for, and
// then ends the process. A program that comparisons start again calls it first.
func Main(systems map[string]System) {
	if len(os.Args) != 4 || os.Args[1] != command {
		return
	}
	// Ctrl+C goes to the whole process group: who asks ends its ends.
	signal.Ignore(os.Interrupt)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	// What does not end by itself must not outlive who asked.
	abandoned := func() { time.AfterFunc(grace, func() { os.Exit(3) }) }
	err := serve(ctx, os.Stdin, os.Stdout, systems, os.Args[2], role(os.Args[3]), abandoned)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", os.Args[2], os.Args[3], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// end is what a process serves.
type end interface {
	io.Closer
	do(ctx context.Context, c call) (answer, error)
}

// serve answers calls until in ends, and calls abandoned then.
func serve(ctx context.Context, in io.Reader, out io.Writer, systems map[string]System, name string, r role, abandoned func()) (err error) {
	system, ok := systems[name]
	if !ok {
		return fmt.Errorf("there is no system %q in this program", name)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := make(chan call)
	go func() {
		defer close(calls)
		for d := json.NewDecoder(in); ; {
			var c call
			if err := d.Decode(&c); err != nil {
				cancel(fmt.Errorf("nobody asks any more: %w", err))
				abandoned()
				return
			}
			select {
			case calls <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	answers := json.NewEncoder(out)
	var e end
	defer func() {
		if e != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	for c := range calls {
		var a answer
		var err error
		switch {
		case e == nil:
			e, a, err = open(ctx, system, r, c.Place)
		case c.Op == opUsage:
			a.CPU = load.CPU().Seconds()
			if b, ok := e.(broker); ok {
				a.CPU += b.CPU()
			}
		default:
			if c.Op == opExpect || c.Op == opSend {
				runtime.GC() // of the run before
			}
			a, err = e.do(ctx, c)
		}
		if errors.Is(err, ErrMissing) {
			a.Missing = err.Error()
		} else if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("tell a result: %w", err)
		}
		if a.None {
			return nil
		}
	}
	return nil
}

// open opens an end, and returns where it is found.
func open(ctx context.Context, s System, r role, at Place) (end, answer, error) {
	none := answer{None: true, Ends: s.ends()}
	switch {
	case r == roleBroker && s.Broker != nil:
		b, err := s.Broker(ctx)
		if err != nil {
			return nil, answer{}, err
		}
		return broker{b}, answer{Address: b.Address()}, nil
	case r == roleReceive && s.Receive != nil:
		to := make([]*Receiver, max(1, at.Groups))
		for i := range to {
			to[i] = newReceiver()
		}
		got, err := s.Receive(ctx, at, to)
		if err != nil {
			return nil, answer{}, err
		}
		return &receiving{Receiving: got, to: to}, answer{Address: got.Address()}, nil
	case r == roleReceive && s.Consume != nil:
		got, err := s.Consume(ctx, at)
		if err != nil {
			return nil, answer{}, err
		}
		return &consuming{Consumer: got, at: at}, answer{}, nil
	case r == roleSend && s.Send != nil:
		got, err := s.Send(ctx, at)
		if err != nil {
			return nil, answer{}, err
		}
		return &sending{got}, answer{}, nil
	case r == roleSend && s.Put != nil:
		got, err := s.Put(ctx, at)
		if err != nil {
			return nil, answer{}, err
		}
		return &putting{got}, answer{Acked: true}, nil
	case r == rolePerform && s.Perform != nil:
		got, err := s.Perform(ctx, at)
		if err != nil {
			return nil, answer{}, err
		}
		return &performing{got}, answer{}, nil
	case r == rolePerform && s.Within != nil:
		in := &within{}
		for range max(1, at.Groups) {
			in.to = append(in.to, newReceiver())
		}
		got, err := s.Within(ctx, at, in.to)
		if err != nil {
			return nil, answer{}, err
		}
		in.Sender = got
		return in, answer{}, nil
	case r == roleBroker || r == roleReceive || r == roleSend || r == rolePerform:
		return nil, none, nil
	default:
		return nil, none, fmt.Errorf("there is no role %q", r)
	}
}

// ends are the roles that a system has processes for.
func (s System) ends() (all []role) {
	for r, has := range map[role]bool{
		roleBroker: s.Broker != nil, roleReceive: s.Receive != nil || s.Consume != nil,
		roleSend: s.Send != nil || s.Put != nil, rolePerform: s.Perform != nil || s.Within != nil,
	} {
		if has {
			all = append(all, r)
		}
	}
	return all
}

type broker struct{ Broker }

func (broker) do(_ context.Context, c call) (answer, error) { return answer{}, unknown(c.Op) }

func unknown(op operation) error { return fmt.Errorf("operation %q is not for this end", op) }

// performing is a system whose both ends are here.
type performing struct{ Performer }

// step is how often something is done between two looks at the clock.
const step = 20000

func (e *performing) do(ctx context.Context, c call) (a answer, err error) {
	if c.Op != opSend {
		return a, unknown(c.Op)
	}
	cpu, began := load.CPU(), time.Now()
	a.Began = began.UnixNano()
	for time.Since(began) < c.Run.For && err == nil {
		err = e.Perform(ctx, step)
		a.Count += step
	}
	a.Ended, a.Acked = time.Now().UnixNano(), true
	a.CPU = (load.CPU() - cpu).Seconds()
	return a, err
}
