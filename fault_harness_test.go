package penstock_test

// What the fault tests stand on: members and senders that are processes of
// their own, a load with numbered messages, and a ledger of who handled which.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

// patience is how long a fault test waits for what must happen. Only a test
// that fails waits so long.
const patience = 60 * time.Second

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// meet begins a runtime on the package's etcd in space. Unlike start's it may
// be left with messages.
func meet(t *testing.T, space string, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rt, err := penstock.Start(ctx, append([]penstock.StartOption{
		penstock.EtcdConfig(etcd.Config()), penstock.Prefix(space), penstock.Listen("tcp://127.0.0.1:0"),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := rt.Stop(ctx); err != nil {
			t.Log("stop:", err)
		}
	})
	return rt
}

func register(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.RegisterOption) *penstock.Destination {
	t.Helper()
	d, err := rt.Register(patient(t), name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func joinGroup(t *testing.T, rt *penstock.Runtime, dest, group string, opts ...penstock.JoinOption) *penstock.Member {
	t.Helper()
	m, err := rt.Join(patient(t), dest, group, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func send(t *testing.T, d *penstock.Destination, from, to int) {
	t.Helper()
	ctx := patient(t)
	for id := from; id < to; id++ {
		if err := d.Send(ctx, numbered(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(id int) penstock.Message {
	return penstock.Message{Value: strconv.AppendInt(nil, int64(id), 10)}
}

func number(d penstock.Delivery) int {
	id, err := strconv.Atoi(string(d.Value))
	if err != nil {
		panic(err)
	}
	return id
}

// await answers ch's next value, or fails t.
func await[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatalf("%s: the end came first", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing in %s", what, patience)
		panic("unreachable")
	}
}

// ledger is who handled which message, how often.
type ledger struct {
	mu      sync.Mutex
	counts  map[int]int
	by      map[string]int
	total   int
	changed chan struct{} // closed when something is entered; nil when nobody waits
}

func newLedger() *ledger { return &ledger{counts: make(map[int]int), by: make(map[string]int)} }

func (l *ledger) enter(who string, id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[id]++
	l.by[who]++
	l.total++
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// tally is a ledger at one moment.
type tally struct {
	distinct, total int
	by              map[string]int
}

func (l *ledger) tally() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tally{len(l.counts), l.total, maps.Clone(l.by)}
}

// await waits until enough is true.
func (l *ledger) await(t *testing.T, what string, enough func(tally) bool) tally {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		now := tally{len(l.counts), l.total, maps.Clone(l.by)}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if enough(now) {
			return now
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("%s: not within %s; so far %+v", what, patience, now)
		}
	}
}

// has tells whether the messages from..to-1 were all handled.
func (l *ledger) has(from, to int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := from; id < to; id++ {
		if l.counts[id] == 0 {
			return false
		}
	}
	return true
}

// complete checks that each of the n messages was handled, and that no more
// than spare handlings were repetitions.
func (l *ledger) complete(t *testing.T, n, spare int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := 0
	for id := range n {
		if l.counts[id] == 0 {
			if lost++; lost <= 5 {
				t.Errorf("message %d of %d was accepted and never handled", id, n)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d accepted messages were lost", lost)
	}
	if repeated := l.total - len(l.counts); repeated > spare {
		t.Errorf("%d messages were handled again, at most %d may be", repeated, spare)
	}
}

// handle enters every delivery of m, until m leaves or the test ends.
func (l *ledger) handle(t *testing.T, who string, m *penstock.Member) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for msg, err := range m.Messages(ctx) {
			if err != nil {
				return
			}
			l.enter(who, number(msg))
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// load sends numbered messages at a steady pace until it is stopped.
type load struct {
	stopping  chan struct{}
	done      chan struct{}
	mu        sync.Mutex
	next      int
	err       error
	destroyed sync.Once
}

// everyTick is the pace of a load: some thousand messages a second.
const everyTick, perTick = 2 * time.Millisecond, 4

func startLoad(t *testing.T, d *penstock.Destination) *load {
	l := &load{stopping: make(chan struct{}), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		defer cancel()
		tick := time.NewTicker(everyTick)
		defer tick.Stop()
		for {
			select {
			case <-l.stopping:
				return
			case <-tick.C:
			}
			for range perTick {
				if err := d.Send(ctx, numbered(l.accepted())); err != nil {
					l.fail(err)
					return
				}
				l.accept()
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		l.destroyed.Do(func() { close(l.stopping) })
		<-l.done
	})
	return l
}

func (l *load) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

func (l *load) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// stop ends the load and answers how many messages were accepted.
func (l *load) stop(t *testing.T) int {
	t.Helper()
	l.destroyed.Do(func() { close(l.stopping) })
	select {
	case <-l.done:
	case <-time.After(patience):
		t.Fatal("a Send of the load did not return")
	}
	if l.err != nil {
		t.Fatal("send: ", l.err)
	}
	return l.accepted()
}

// settle ends the load, and waits until all of it was handled and acked.
func settle(t *testing.T, load *load, d *penstock.Destination, l *ledger) (n int) {
	t.Helper()
	n = load.stop(t)
	l.await(t, fmt.Sprintf("all of %d messages", n), func(now tally) bool { return now.distinct >= n })
	if err := d.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	return n
}

// childRole says which process of a fault test this is.
const childRole = "PENSTOCK_FAULT_CHILD"

// childSpec tells a child what to be.
type childSpec struct {
	Role                       string // roleMember or roleSender
	Endpoint, Space, Listen    string
	Destination, Group, Member string
	Mode                       penstock.Mode
	Window                     int
	LeaseTTL                   time.Duration
}

const roleMember, roleSender = "member", "sender"

// run is the child's life. It says on stdout, a line each:
//
//	ready            it has joined, or registered
//	got ID           it handles message ID; said before the ack
//	accepted ID      Send took message ID
//	left             it was told to stop, and drained
//
// and is told on stdin: "send FROM TO", "stop". It ends when stdin does, so
// that no child outlives its test.
func (s childSpec) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rt, err := penstock.Start(ctx, penstock.Etcd(s.Endpoint), penstock.Prefix(s.Space), penstock.Listen(s.Listen), penstock.LeaseTTL(s.LeaseTTL))
	if err != nil {
		return err
	}
	var dest *penstock.Destination
	switch s.Role {
	case roleMember:
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
				say("got", number(msg))
			}
		}()
	case roleSender:
		if dest, err = rt.Register(ctx, s.Destination, penstock.SenderID("the-sender")); err != nil {
			return err
		}
	}
	say("ready", 0)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "stop" {
			if err := rt.Stop(ctx); err != nil {
				return err
			}
			say("left", 0)
			return nil
		}
		var from, to int
		if _, err := fmt.Sscanf(in.Text(), "send %d %d", &from, &to); err != nil {
			return err
		}
		for id := from; id < to; id++ {
			if err := dest.Send(ctx, numbered(id)); err != nil {
				return err
			}
			say("accepted", id)
		}
	}
	return nil // the test is gone
}

func say(what string, id int) { os.Stdout.WriteString(what + " " + strconv.Itoa(id) + "\n") }

// child is such a process, seen from the test.
type child struct {
	name     string
	cmd      *exec.Cmd
	in       io.WriteCloser
	ready    chan struct{}
	left     chan struct{}
	accepted chan int
	ended    chan struct{} // all it said was read and it is no more
}

// spawn starts a child; what it handles goes into l.
func spawn(t *testing.T, spec childSpec, l *ledger) *child {
	t.Helper()
	if spec.Listen == "" {
		spec.Listen = "tcp://127.0.0.1:0"
	}
	if spec.LeaseTTL == 0 {
		spec.LeaseTTL = 10 * time.Second
	}
	env, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{
		name: spec.Member, cmd: exec.Command(exe), ready: make(chan struct{}), left: make(chan struct{}),
		accepted: make(chan int, 1<<16), ended: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), childRole+"="+string(env))
	c.cmd.Stderr = os.Stderr
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

func (c *child) listen(out io.Reader, l *ledger) {
	defer close(c.accepted)
	for s := bufio.NewScanner(out); s.Scan(); {
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
			l.enter(c.name, id)
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
	case <-time.After(patience):
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
	await(t, "the end of "+c.name, closing(c.ended))
}

// closing turns a channel that will be closed into one that yields then.
func closing(ch <-chan struct{}) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		<-ch
		out <- struct{}{}
	}()
	return out
}

// space is a namespace of the test's own.
func space(t *testing.T) string { return penstocktest.Space(t) }

// addr is a port of the loopback.
func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
