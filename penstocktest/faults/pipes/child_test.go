package pipes_test

// Members and senders that are processes of their own.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// childEnv says that this process is a child of a test, and which.
const childEnv = "PENSTOCK_FAULT_CHILD"

// childSpec tells a child what to be.
type childSpec struct {
	Role                       string // roleMember or roleSender
	Endpoint, Space, Listen    string
	Destination, Group, Member string
	Mode                       penstock.Mode
	Window                     int
	LeaseTTL                   time.Duration
	Require                    []string // by a sender
	Actors                     bool     // it uses the face of actors
	AckWait                    time.Duration
	Fault                      string // what its handler does: a name of handlerFaults; "" for none
	History                    bool   // it says when its handlers begin
	Concurrency                int
	Certs                      carriertest.Files // of its links; none without
	Links                      bool              // a member says where it is linked

	// The test's alone.
	attr *syscall.SysProcAttr
	exe  string // what to run; this program where it is empty
}

const roleMember, roleSender = "member", "sender"

// run is the child's life. It says on stdout, a line each:
//
//	ready            it has joined, or registered
//	got ID           it handles message ID; said before the ack
//	accepted ID      Send took message ID
//	did ID NS        a handler begins with message ID, at that time
//	left             it was told to stop or to leave, and drained
//	linked AT, WHY   its link to a sender is made, and why its URLs before AT failed
//	took ID A D      a handler with a Fault gets message ID, its attempt A, after D deaths
//
// and is told on stdin: "send FROM TO", "stop", and of handlers with a Fault "leave",
// "drain", which stops the runtime, "cancel", which ends Consume, and "finish", which
// ends what they wait for. It ends when stdin does, so
// that no child outlives its test.
func (s childSpec) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opts := []penstock.StartOption{penstock.Etcd(s.Endpoint), penstock.Prefix(s.Space), penstock.Listen(s.Listen), penstock.LeaseTTL(s.LeaseTTL)}
	if s.Certs.CA != "" {
		opts = append(opts, penstock.LinkTLS(s.Certs.Certificates()), penstock.RequireTLS())
	}
	rt, err := penstock.Start(ctx, opts...)
	if err != nil {
		return err
	}
	if s.Links {
		events := rt.Events(ctx)
		go func() {
			for e := range events {
				if e, ok := e.(messages.SenderLinked); ok {
					fmt.Fprintf(os.Stdout, "linked %s, %q\n", e.Addr, fmt.Sprint(e.Passed))
				}
			}
		}()
	}
	var send func(context.Context, penstock.Message) error
	var leave func() error
	consuming, endConsume := context.WithCancel(ctx)
	defer endConsume()
	finish := make(chan struct{})
	system := rt.Engine().System()
	switch {
	case s.Role == roleMember && s.Actors:
		take := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if d, ok := ctx.Message().(*penstock.Delivery); ok {
				say("got", harness.Number(*d))
				d.Ack()
			}
		}))
		system.Root.Spawn(penstock.MemberProps(rt, s.Destination, s.Group, penstock.Receiver{To: take},
			penstock.MemberID(s.Member), penstock.InMode(s.Mode), penstock.Window(s.Window)))
	case s.Role == roleMember && s.History:
		m, err := rt.Join(ctx, s.Destination, s.Group, penstock.MemberID(s.Member), penstock.InMode(s.Mode),
			penstock.Window(s.Window), penstock.Concurrency(s.Concurrency))
		if err != nil {
			return err
		}
		go m.Consume(consuming, func(_ context.Context, d penstock.Delivery) error {
			fmt.Fprintln(os.Stdout, "did", harness.Number(d), time.Now().UnixNano())
			if d.Requested() {
				return d.Reply(harness.Numbered(harness.Number(d)))
			}
			return nil
		})
		leave = func() error { return m.Leave(ctx) }
	case s.Role == roleMember && s.Fault != "":
		m, err := rt.Join(ctx, s.Destination, s.Group, penstock.MemberID(s.Member), penstock.Window(s.Window), penstock.AckWait(s.AckWait))
		if err != nil {
			return err
		}
		go m.Consume(consuming, func(ctx context.Context, d penstock.Delivery) error {
			fmt.Fprintln(os.Stdout, "took", harness.Number(d), d.Attempt, d.Deaths)
			return handlerFaults[s.Fault](ctx, d, finish)
		})
		leave = func() error { return m.Leave(ctx) }
	case s.Role == roleMember:
		m, err := rt.Join(ctx, s.Destination, s.Group, penstock.MemberID(s.Member), penstock.InMode(s.Mode), penstock.Window(s.Window))
		if err != nil {
			return err
		}
		go func() {
			for msg, err := range m.Messages(ctx) {
				if err != nil {
					if ctx.Err() == nil {
						fmt.Fprintln(os.Stderr, "child:", err)
						os.Exit(1)
					}
					return
				}
				say("got", harness.Number(msg))
			}
		}()
	case s.Role == roleSender && s.Actors:
		dest := system.Root.Spawn(penstock.DestinationProps(rt, s.Destination, penstock.SenderID("the-sender"), penstock.RequireGroups(s.Require...)))
		send = actorOf{system, dest}.publish
	case s.Role == roleSender:
		dest, err := rt.Register(ctx, s.Destination, penstock.SenderID("the-sender"), penstock.RequireGroups(s.Require...))
		if err != nil {
			return err
		}
		send = dest.Send
	}
	say("ready", 0)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "stop":
			if err := rt.Stop(ctx); err != nil {
				return err
			}
			say("left", 0)
			return nil
		case "leave", "drain":
			end := leave
			if in.Text() == "drain" {
				end = func() error { return rt.Stop(ctx) }
			}
			go func() {
				if err := end(); err == nil {
					say("left", 0)
				}
			}()
			continue
		case "cancel":
			endConsume()
			continue
		case "finish":
			close(finish)
			continue
		}
		var from, to int
		if _, err := fmt.Sscanf(in.Text(), "send %d %d", &from, &to); err != nil {
			return err
		}
		for id := from; id < to; id++ {
			if err := send(ctx, harness.Numbered(id)); err != nil {
				return err
			}
			say("accepted", id)
		}
	}
	return nil // the test is gone
}

func say(what string, id int) { os.Stdout.WriteString(what + " " + strconv.Itoa(id) + "\n") }

// taking is what a handler got.
type taking struct{ id, attempt, deaths int }

// child is such a process, seen from the test.
type child struct {
	name     string
	cmd      *exec.Cmd
	in       io.WriteCloser
	ready    chan struct{}
	left     chan struct{}
	accepted chan int
	took     chan taking
	linked   chan string
	did      history
	ended    chan struct{} // all it said was read and it is no more
}

// spawn starts a child; what it handles goes into l.
func spawn(t *testing.T, spec childSpec, l *harness.Ledger) *child {
	t.Helper()
	if spec.Listen == "" {
		if spec.Listen = "tcp://127.0.0.1:0"; spec.Certs.CA != "" {
			spec.Listen = "tls+tcp://127.0.0.1:0"
		}
	}
	if spec.LeaseTTL == 0 {
		spec.LeaseTTL = 10 * time.Second
	}
	env, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	exe := spec.exe
	if exe == "" {
		if exe, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	c := &child{
		name: spec.Member, cmd: exec.Command(exe), ready: make(chan struct{}), left: make(chan struct{}),
		accepted: make(chan int, 1<<16), took: make(chan taking, 1<<10), linked: make(chan string, 1<<6), ended: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(env))
	c.cmd.Stderr, c.cmd.SysProcAttr = os.Stderr, spec.attr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		defer c.cmd.Wait()
		c.listen(out, l)
	}()
	t.Cleanup(func() {
		c.in.Close()
		c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

func (c *child) listen(out io.Reader, l *harness.Ledger) {
	defer close(c.accepted)
	for s := bufio.NewScanner(out); s.Scan(); {
		var t taking
		if n, _ := fmt.Sscanf(s.Text(), "took %d %d %d", &t.id, &t.attempt, &t.deaths); n == 3 {
			c.took <- t
			continue
		}
		var d doing
		if n, _ := fmt.Sscanf(s.Text(), "did %d %d", &d.id, &d.at); n == 2 {
			d.by = c.name
			c.did.add(d)
			l.Enter(c.name, d.id)
			continue
		}
		if where, is := strings.CutPrefix(s.Text(), "linked "); is {
			c.linked <- where
			continue
		}
		what, number, _ := strings.Cut(s.Text(), " ")
		id, err := strconv.Atoi(number)
		if err != nil {
			continue // a line cut short by a kill was not said
		}
		switch what {
		case "ready":
			close(c.ready)
		case "left":
			close(c.left)
		case "got":
			l.Enter(c.name, id)
		case "accepted":
			c.accepted <- id
		}
	}
}

func (c *child) awaitReady(t *testing.T) {
	t.Helper()
	select {
	case <-c.ready:
	case <-c.ended:
		t.Fatalf("child %q ended before it was ready", c.name)
	case <-time.After(harness.Patience):
		t.Fatalf("child %q is not ready", c.name)
	}
}

func (c *child) tell(t *testing.T, what string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(c.in, what+"\n", args...); err != nil {
		t.Fatal(err)
	}
}

// kill ends it with SIGKILL and waits until all that it said is in the ledger.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	harness.Await(t, "the end of "+c.name, harness.Closing(c.ended))
}
