package actors

// Promise: whatever ends (a runtime, a membership, a link, a registration that
// is given up, a handler) ends once, in bounded time, says what was lost, and
// leaves nothing behind that others would wait for.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// endsPatience is how long a step may take on a busy machine.
const endsPatience = time.Minute

// Promise: each of these ends leaves nobody waiting and nothing behind; what
// each promises is said with its function.
func TestEnds(t *testing.T) {
	srv := beginEtcd(t)
	for i, test := range []struct {
		name string
		run  func(*testing.T, endsSpace)
	}{
		{"stop under way, again and afterwards", stopTwice},
		{"stop without time", stopWithoutTime},
		{"calls after stop", callsAfterStop},
		{"join while it stops", joinWhileItStops},
		{"register while it stops", registerWhileItStops},
		{"register given up", registerGivenUp},
		{"join given up", joinGivenUp},
		{"taken by others", takenByOthers},
		{"dead-letter handler panics", deadLetterHandlerPanics},
		{"handler ends its goroutine", handlerEndsItsGoroutine},
		{"source stopped in its backoff", sourceStoppedInItsBackoff},
		{"at most once between loops", atMostOnceBetweenLoops},
		{"ousted with a link", oustedDelivers},
		{"listeners end", listenersEnd},
		{"ids are waited for", idsAreWaitedFor},
		{"ids are there once", idsOnce},
		{"ends blame who is slow", endsBlameWhoIsSlow},
		{"ousted without a link", oustedGivesUp},
		{"keys that stay", keysThatStay},
		{"a sole sender is waited for", soleIsWaitedFor},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, endsSpace{etcd: srv.Config(), prefix: fmt.Sprintf("/ends/%d", i)})
		})
	}
}

// endsSpace is one test's namespace in the etcd that all of them share.
type endsSpace struct {
	etcd   clientv3.Config
	prefix string
}

// begin starts an engine that ends with t, if the test did not end it.
func (s endsSpace) begin(t *testing.T) *Engine {
	t.Helper()
	ctx := endsWithin(t)
	e, err := Start(ctx, nil, Config{Etcd: s.etcd, Prefix: s.prefix, Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endsPatience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return e
}

// client looks at etcd past any engine.
func (s endsSpace) client(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := discovery.NewClient(s.etcd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// behind is the same namespace, its etcd behind a gate that closes at word.
func (s endsSpace) behind(t *testing.T, word string) (endsSpace, *gate) {
	t.Helper()
	g := newGate(t, s.etcd.Endpoints[0], word)
	s.etcd.Endpoints = []string{g.addr}
	return s, g
}

// gate passes TCP connections on to an etcd. From the first request with the
// word in it on, no answer comes back until it is opened.
type gate struct {
	addr   string
	word   []byte
	shut   sync.Once
	closed chan struct{} // the word went by
	opened chan struct{}
	open   func()
}

func newGate(t *testing.T, target, word string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String(), word: []byte(word), closed: make(chan struct{}), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	ctx, cancel := context.WithCancel(context.Background()) // t's own ends before the engines behind it
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { g.carry(ctx, c, target) })
		}
	})
	t.Cleanup(func() {
		g.open()
		l.Close()
		cancel()
		work.Wait()
	})
	return g
}

func (g *gate) carry(ctx context.Context, c net.Conn, target string) {
	defer c.Close()
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { c.Close(); up.Close() })()
	var both sync.WaitGroup
	both.Go(func() { g.copy(up, c, g.request) })
	both.Go(func() { g.copy(c, up, g.answer) })
	both.Wait()
}

func (g *gate) copy(to, from net.Conn, pass func([]byte)) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		pass(buf[:n])
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// request closes the gate before the request can be answered.
func (g *gate) request(b []byte) {
	if bytes.Contains(b, g.word) {
		g.shut.Do(func() { close(g.closed) })
	}
}

func (g *gate) answer([]byte) {
	select {
	case <-g.closed:
		<-g.opened
	default:
	}
}

// endsWithin bounds a test's steps.
func endsWithin(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), endsPatience)
	t.Cleanup(cancel)
	return ctx
}

// aside runs f and answers its outcome when it has one.
func aside(f func() error) <-chan error {
	outcome := make(chan error, 1)
	go func() { outcome <- f() }()
	return outcome
}

// outcomeOf waits for what was begun aside.
func outcomeOf(t *testing.T, what string, outcome <-chan error) error {
	t.Helper()
	select {
	case err := <-outcome:
		return err
	case <-time.After(endsPatience):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

// until waits for what only a look can tell.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(endsPatience)
	for !so() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("not within %s: %s", endsPatience, what)
		}
	}
}

// closedInTime waits for a signal.
func closedInTime[T any](t *testing.T, what string, c <-chan T) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(endsPatience):
		t.Fatalf("not within %s: %s", endsPatience, what)
	}
}

// actorsOf lists an engine's actors of one Go type.
func actorsOf(e *Engine, kind string) (out []supervisor.Info) {
	for _, info := range e.Tree() {
		if strings.HasSuffix(info.Type, "."+kind) {
			out = append(out, info)
		}
	}
	return out
}

// keysWith lists what stands in etcd under a prefix, with a word in the key.
func keysWith(t *testing.T, c *clientv3.Client, prefix, word string) (out []string) {
	t.Helper()
	resp, err := c.Get(endsWithin(t), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if strings.Contains(string(kv.Key), word) {
			out = append(out, string(kv.Key))
		}
	}
	return out
}

func mustRegister(t *testing.T, e *Engine, cfg senders.Config) *senders.Destination {
	t.Helper()
	cfg.Name = "orders"
	d, err := e.Register(endsWithin(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustJoin(t *testing.T, e *Engine, cfg members.Config) *members.Member {
	t.Helper()
	cfg.Destination, cfg.Group = "orders", "billing"
	m, err := e.Join(endsWithin(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustAccept(t *testing.T, d *senders.Destination, n int) {
	t.Helper()
	for range n {
		if err := d.Send(endsWithin(t), messages.Message{Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

// consumes runs handlers until the member leaves or the test ends.
func consumes(t *testing.T, m *members.Member, h messages.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := aside(func() error { return m.Consume(ctx, h) })
	t.Cleanup(func() {
		cancel()
		_ = outcomeOf(t, "consume", over) // its context's end, or nil
	})
}

// Promise: Stop is safe to call again, at once and afterwards. Who comes second
// waits for the end of the first, no longer than its own context, and the
// engine is over for every caller that got nil.
func stopTwice(t *testing.T, s endsSpace) {
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{})
	m := mustJoin(t, e, members.Config{})
	mustAccept(t, d, 1) // holds Stop up until somebody reads
	over, cancel := context.WithCancel(t.Context())
	cancel()
	stop := func() error {
		if err := e.Stop(context.Background()); err != nil {
			return err
		}
		for range e.Events(context.Background()) {
			return errors.New("the engine lives on")
		}
		return nil
	}
	first := aside(stop)
	until(t, "the first Stop has begun", e.node.Stopping)
	if err := e.Stop(over); !errors.Is(err, context.Canceled) {
		t.Errorf("a Stop without time beside another: %v", err)
	}
	second := aside(stop)
	consumes(t, m, func(context.Context, messages.Delivery) error { return nil })
	for what, outcome := range map[string]<-chan error{"the first Stop": first, "the second Stop": second} {
		if err := outcomeOf(t, what, outcome); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := e.Stop(context.Background()); err != nil {
		t.Errorf("a Stop afterwards: %v", err)
	}
	if err := e.Stop(over); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a Stop afterwards, without time: %v", err)
	}
}

// Promise: Stop whose context is over ends everything all the same, and
// *AbandonedError and the event Abandoned say how much was given up.
func stopWithoutTime(t *testing.T, s endsSpace) {
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{})
	mustJoin(t, e, members.Config{})
	mustAccept(t, d, 3)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err := e.Stop(over)
	var abandoned *messages.AbandonedError
	if !errors.As(err, &abandoned) || abandoned.Messages != 3 {
		t.Errorf("stop: %v, not 3 messages abandoned", err)
	}
	if n := e.Stats().Events["abandoned"]; n != 1 {
		t.Errorf("there were %d events of it", n)
	}
	if left := keysWith(t, s.client(t), s.prefix, "/"+d.ID()); len(left) > 0 {
		t.Errorf("these keys are left: %v", left)
	}
}

// Promise: Register and Join of an engine that was stopped answer ErrClosed.
func callsAfterStop(t *testing.T, s endsSpace) {
	e := s.begin(t)
	if err := e.Stop(endsWithin(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Register(endsWithin(t), senders.Config{Name: "orders"}); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("register: %v", err)
	}
	if _, err := e.Join(endsWithin(t), members.Config{Destination: "orders", Group: "billing"}); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("join: %v", err)
	}
}

// Promise: a Join that is under way when its engine stops is answered, with
// ErrClosed, however long its context.
func joinWhileItStops(t *testing.T, s endsSpace) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	mustRegister(t, s.begin(t), senders.Config{Listen: "tcp://127.0.0.1:0?advertise=" + silent.Addr().String()})
	e := s.begin(t)
	joined := aside(func() error {
		_, err := e.Join(context.Background(), members.Config{Destination: "orders", Group: "billing"})
		return err
	})
	dialled, err := silent.Accept() // and is never answered
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	if err := e.Stop(endsWithin(t)); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := outcomeOf(t, "join", joined); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("join: %v", err)
	}
}

// Promise: so is a Register.
func registerWhileItStops(t *testing.T, s endsSpace) {
	s, etcd := s.behind(t, "late")
	defer etcd.open()
	e := s.begin(t)
	registered := aside(func() error {
		_, err := e.Register(context.Background(), senders.Config{Name: "orders", ID: "late"})
		return err
	})
	closedInTime(t, "the keys are on their way", etcd.closed)
	stopped := aside(func() error { return e.Stop(context.Background()) })
	until(t, "the sender retires", func() bool {
		dests := actorsOf(e, "destination")
		return len(dests) == 0 || dests[0].State == "retiring"
	})
	etcd.open()
	if err := outcomeOf(t, "register", registered); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("register: %v", err)
	}
	if err := outcomeOf(t, "stop", stopped); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// Promise: a Register that its caller gave up leaves nothing in etcd, even when
// its write was under way and came through.
func registerGivenUp(t *testing.T, s endsSpace) {
	givenUp(t, s, "destination", "registering", func(ctx context.Context, e *Engine) error {
		_, err := e.Register(ctx, senders.Config{Name: "orders", ID: "late"})
		return err
	})
}

// Promise: so does a Join: no member that does not exist keeps its group.
func joinGivenUp(t *testing.T, s endsSpace) {
	givenUp(t, s, "member", "entering", func(ctx context.Context, e *Engine) error {
		_, err := e.Join(ctx, members.Config{Destination: "orders", Group: "billing", ID: "late"})
		return err
	})
}

// givenUp gives a call up whose key, named late, is in etcd, but whose engine
// does not know that yet.
func givenUp(t *testing.T, s endsSpace, kind, early string, call func(context.Context, *Engine) error) {
	look := s.client(t)
	s, etcd := s.behind(t, "late")
	defer etcd.open()
	e := s.begin(t)
	mustJoin(t, e, members.Config{ID: "first"}) // the group is known, so one write does
	before := len(actorsOf(e, kind))
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	called := aside(func() error { return call(ctx, e) })
	closedInTime(t, "the keys are on their way", etcd.closed)
	until(t, "the keys stand", func() bool { return len(keysWith(t, look, s.prefix, "late")) > 0 })
	giveUp()
	if err := outcomeOf(t, "the call", called); !errors.Is(err, context.Canceled) {
		t.Errorf("the call: %v", err)
	}
	until(t, "the "+kind+" retires", func() bool {
		return !slices.ContainsFunc(actorsOf(e, kind), func(info supervisor.Info) bool { return info.State == early })
	})
	etcd.open()
	until(t, "the actor ends", func() bool { return len(actorsOf(e, kind)) == before })
	until(t, "the keys are gone", func() bool { return len(keysWith(t, look, s.prefix, "late")) == 0 })
}

// Promise: who is ended by ErrTaken is gone: its keys are not put back when
// the other one leaves.
func takenByOthers(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e := s.begin(t)
	look := s.client(t)
	d := mustRegister(t, e, senders.Config{ID: "mine"})
	m := mustJoin(t, e, members.Config{ID: "mine"})
	mustJoin(t, e, members.Config{ID: "other"}) // shows when the registry has looked
	sender, member := e.node.Keys.Sender("orders", "mine"), e.node.Keys.Member("orders", "billing", "mine")
	other := e.node.Keys.Member("orders", "billing", "other")
	if _, err := look.Txn(ctx).Then(clientv3.OpPut(sender, "of another"), clientv3.OpPut(member, "of another")).Commit(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []*actor.PID{d.PID(), m.PID()} {
		if err := supervisor.Await(ctx, e.node.System, pid); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Send(ctx, messages.Message{}); !errors.Is(err, messages.ErrTaken) {
		t.Errorf("send: %v", err)
	}
	for _, err := range m.Messages(ctx, false) {
		if !errors.Is(err, messages.ErrTaken) {
			t.Errorf("read: %v", err)
		}
	}
	gone := []string{sender, member, other}
	for range 2 { // all that the first look brings has come by the second
		events := e.Events(ctx)
		ops := make([]clientv3.Op, len(gone))
		for i, key := range gone {
			ops[i] = clientv3.OpDelete(key)
		}
		if _, err := look.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		awaitPutBack(t, events, other)
		gone = []string{other}
	}
	if ctx.Err() != nil {
		t.Fatal("the other member's key is not put back")
	}
	if back := keysWith(t, look, s.prefix, "/mine"); len(back) > 0 {
		t.Errorf("these keys of nobody stand: %v", back)
	}
}

func awaitPutBack(t *testing.T, events iter.Seq[messages.Event], key string) {
	t.Helper()
	for event := range events {
		if m, ok := event.(messages.RegistrationRestored); ok {
			if m.Key == key {
				return
			}
			t.Errorf("%s is put back for nobody", m.Key)
		}
	}
}

// Promise: a dead-letter handler that does not return has not taken its
// message; it gets it again, and everything after it.
func deadLetterHandlerPanics(t *testing.T, s endsSpace) {
	var calls atomic.Int32
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{
		MaxAttempts: 1, Retry: messages.Retry{Min: time.Millisecond, Max: 2 * time.Millisecond},
		DeadLetter: func(context.Context, messages.DeadLetter) error {
			switch calls.Add(1) {
			case 1:
				panic("a bug of the user")
			case 2:
				runtime.Goexit()
			}
			return nil
		},
	})
	consumes(t, mustJoin(t, e, members.Config{}), func(context.Context, messages.Delivery) error { return errors.New("no") })
	mustAccept(t, d, 3)
	if err := d.Flush(endsWithin(t)); err != nil {
		t.Errorf("after %d calls: %v", calls.Load(), err)
	}
	events := e.Stats().Events
	if events["handler_panicked"] != 2 || events["dead_lettered"] != 3 {
		t.Errorf("%d panics and %d dead letters, not 2 and 3", events["handler_panicked"], events["dead_lettered"])
	}
}

// Promise: a handler that ends its goroutine failed a message, and restarts
// nothing, however often it does.
func handlerEndsItsGoroutine(t *testing.T, s endsSpace) {
	const failures = 12 // more than any budget of restarts
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{MaxAttempts: -1, Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond}})
	consumes(t, mustJoin(t, e, members.Config{}), func(_ context.Context, d messages.Delivery) error {
		if d.Attempt <= failures {
			runtime.Goexit()
		}
		return nil
	})
	mustAccept(t, d, 1)
	if err := d.Flush(endsWithin(t)); err != nil {
		t.Error(err)
	}
	events := e.Stats().Events
	if events["actor_restarted"] > 0 || events["actor_stopped"] > 0 || events["message_nacked"] != failures {
		t.Errorf("%d actors restarted, %d stopped, %d nacks of %d",
			events["actor_restarted"], events["actor_stopped"], events["message_nacked"], failures)
	}
}

// Promise: a link that ends is told of once, and its end crashes nothing, also
// when its source is stopped while it waits to dial again.
func sourceStoppedInItsBackoff(t *testing.T, s endsSpace) {
	const rounds = 3
	ctx := endsWithin(t)
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{})
	linked, unlinked := make(chan struct{}, 100), make(chan struct{}, 100)
	events := e.Events(ctx)
	followed := make(chan struct{})
	var links, ends int
	go func() {
		defer close(followed)
		for event := range events {
			switch m := event.(type) {
			case messages.SenderLinked:
				links++
				linked <- struct{}{}
			case messages.SenderUnlinked:
				ends++
				unlinked <- struct{}{}
			case messages.ActorStopped:
				t.Errorf("%s: %v", m.Actor, m.Err)
			}
		}
	}()
	m := mustJoin(t, e, members.Config{})
	handled := make(chan struct{}, 100)
	consumes(t, m, func(context.Context, messages.Delivery) error {
		handled <- struct{}{}
		return nil
	})
	for range rounds {
		closedInTime(t, "a link", linked)
		mustAccept(t, d, 1)
		closedInTime(t, "a message: the link has credit", handled)
		sources := actorsOf(e, "source")
		if len(sources) != 1 {
			t.Fatalf("%d sources, not 1", len(sources))
		}
		pid := e.node.System.NewLocalPID(sources[0].ID)
		for _, link := range actorsOf(e, "link") {
			e.node.System.Root.Stop(e.node.System.NewLocalPID(link.ID)) // the source dials again, after a while
		}
		closedInTime(t, "the end of the link", unlinked)
		e.node.System.Root.Stop(pid) // its member begins another, the sender being there
	}
	closedInTime(t, "the last link", linked)
	if err := e.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	closedInTime(t, "the end of the events", followed)
	if links != ends {
		t.Errorf("%d links, of which %d ended", links, ends)
	}
}

// Promise: at most once loses messages with their link, and not between two
// loops of a member that lives.
func atMostOnceBetweenLoops(t *testing.T, s endsSpace) {
	const sent = 50 // less than the first window
	ctx := endsWithin(t)
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{})
	m := mustJoin(t, e, members.Config{Mode: messages.AtMostOnce})
	mustAccept(t, d, sent)
	got := 0
	for _, err := range m.Messages(ctx, false) {
		if err != nil {
			t.Fatal(err)
		}
		got++
		until(t, "the rest came too", func() bool { return m.Stats().Waiting == sent-1 })
		break
	}
	// Nothing is to happen now, so there is nothing to wait for but the time.
	<-time.After(2 * time.Second)
	for _, err := range m.Messages(ctx, false) {
		if err != nil {
			t.Fatalf("%d of %d: %v", got, sent, err)
		}
		if got++; got == sent {
			break
		}
	}
	if n := e.Stats().Events["sender_unlinked"]; n != 0 {
		t.Errorf("%d links ended", n)
	}
}
