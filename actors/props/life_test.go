package props_test

// Life and death in any order: nothing of an actor that ended is left in etcd, and the
// next one for its place waits for its end.

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// nothingLeft waits until no sender, token or member is in etcd. Groups keep.
func nothingLeft(t *testing.T, s enginetest.Space, c *clientv3.Client) {
	t.Helper()
	for _, word := range []string{"/senders/", "/secret/", "/members/", "/sole"} {
		enginetest.Until(t, "no key with "+word, func() bool { return len(s.With(t, c, word)) == 0 })
	}
}

// acker is a receiver that acks.
func acker(t *testing.T, e *actors.Engine) *actor.PID {
	t.Helper()
	pid := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *messages.Delivery:
			m.Ack()
		case *messages.Deliveries:
			for _, d := range m.Deliveries {
				d.Ack()
			}
		}
	}))
	t.Cleanup(func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), pid) })
	return pid
}

// parentsOf are the ways in which a user's actor may be a parent.
func parentsOf(producer actor.Producer) map[string]*actor.Props {
	decide := func(any) actor.Directive { return actor.RestartDirective }
	return map[string]*actor.Props{
		"plain":                actor.PropsFromProducer(producer),
		"all for one":          actor.PropsFromProducer(producer, actor.WithSupervisor(actor.NewAllForOneStrategy(10, 0, decide))),
		"guarded":              supervisor.Props(producer),
		"guarded, all for one": supervisor.Props(producer, supervisor.WithStrategy(supervisor.AllForOne)),
	}
}

// silent is the logger of a system that says nothing.
func silent(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

// newParent is a parent that is not spawned.
func newParent(children map[string]*actor.Props) *parent {
	return &parent{children: children, pids: make(chan map[string]*actor.PID, 10), told: make(chan any, 1000)}
}

// Each end of a family leaves nothing behind, and the next family, which has the same
// places, is not in its way.
func TestFamiliesEndInAnyOrder(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	to := acker(t, e)
	sys := e.System()
	up := func(t *testing.T, p *parent) map[string]*actor.PID {
		hears[*messages.Registered](t, p)
		hears[*messages.Joined](t, p)
		return enginetest.Await(t, "the children", p.pids)
	}
	ends := map[string]func(*testing.T, *parent, *actor.PID){
		"the parent stops":  func(t *testing.T, p *parent, pid *actor.PID) { up(t, p); sys.Root.Stop(pid) },
		"it is poisoned":    func(t *testing.T, p *parent, pid *actor.PID) { up(t, p); sys.Root.Poison(pid) },
		"it stops at once":  func(_ *testing.T, _ *parent, pid *actor.PID) { sys.Root.Stop(pid) },
		"it stops early":    func(t *testing.T, p *parent, pid *actor.PID) { <-p.pids; sys.Root.Stop(pid) },
		"it stops half-way": func(t *testing.T, p *parent, pid *actor.PID) { hears[*messages.Registered](t, p); sys.Root.Stop(pid) },
		"it fails at once": func(_ *testing.T, _ *parent, pid *actor.PID) {
			sys.Root.Send(pid, errors.New("a bug"))
			sys.Root.Poison(pid)
		},
		"the children stop":   func(t *testing.T, p *parent, _ *actor.PID) { stopAll(t, e, up(t, p)) },
		"they are poisoned":   func(t *testing.T, p *parent, _ *actor.PID) { poisonAll(t, e, up(t, p)) },
		"they stop at once":   func(t *testing.T, p *parent, _ *actor.PID) { stopAll(t, e, <-p.pids) },
		"they are asked":      func(t *testing.T, p *parent, _ *actor.PID) { askAll(t, e, up(t, p)) },
		"they are asked soon": func(t *testing.T, p *parent, _ *actor.PID) { askAll(t, e, <-p.pids) },
		"the parent fails": func(t *testing.T, p *parent, pid *actor.PID) {
			up(t, p)
			sys.Root.Send(pid, errors.New("a bug"))
			up(t, p)
			sys.Root.Stop(pid)
		},
	}
	for end, perform := range ends {
		for kind := range parentsOf(nil) {
			t.Run(strings.Join([]string{kind, end}, ", "), func(t *testing.T) {
				p := newParent(map[string]*actor.Props{
					"orders":  e.Destination(actors.DestinationConfig{Name: "orders", SoleSender: true}),
					"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to}),
				})
				pid := sys.Root.Spawn(parentsOf(func() actor.Actor { return &crasher{p} })[kind])
				defer func() { // also of one that did not come up: the others have the same places
					if err := supervisor.Stop(enginetest.Within(t), sys, pid); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
						t.Error(err)
					}
				}()
				perform(t, p, pid)
			})
		}
	}
	nothingLeft(t, s, c)
}

func stopAll(t *testing.T, e *actors.Engine, pids map[string]*actor.PID) {
	t.Helper()
	for _, pid := range pids {
		if err := supervisor.Stop(enginetest.Within(t), e.System(), pid); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
			t.Error(err)
		}
	}
}

func poisonAll(t *testing.T, e *actors.Engine, pids map[string]*actor.PID) {
	t.Helper()
	for _, pid := range pids {
		e.System().Root.Poison(pid)
		if err := supervisor.Await(enginetest.Within(t), e.System(), pid); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
			t.Error(err)
		}
	}
}

// askAll ends the children in order, each twice at once: one of both is refused, or hears
// that nobody is there.
func askAll(t *testing.T, e *actors.Engine, pids map[string]*actor.PID) {
	t.Helper()
	ask := func(f func() error) {
		t.Helper()
		first, second := enginetest.Aside(f), enginetest.Aside(f)
		errs := []error{enginetest.Outcome(t, "the first", first), enginetest.Outcome(t, "the second", second)}
		ends := 0
		for _, err := range errs {
			switch {
			case err == nil:
				ends++
			case !errors.Is(err, messages.ErrClosed) && !errors.Is(err, messages.ErrBusy) && !errors.Is(err, supervisor.ErrNoActor):
				t.Error(err)
			}
		}
		if ends != 1 {
			t.Errorf("%d ends: %v", ends, errs)
		}
	}
	ctx := enginetest.Within(t)
	ask(func() error {
		m, err := supervisor.Ask[*messages.Unregistered](ctx, e.System(), pids["orders"], &messages.Unregister{})
		if err == nil {
			err = m.Err
		}
		return err
	})
	ask(func() error {
		m, err := supervisor.Ask[*messages.Left](ctx, e.System(), pids["billing"], &messages.Leave{})
		if err == nil {
			err = m.Err
		}
		return err
	})
}

// fails waits until the parent is told that a child ends for good, and of its cause.
func fails(t *testing.T, p *parent, cause error) {
	t.Helper()
	late := enginetest.Within(t)
	for {
		select {
		case m := <-p.told:
			f, ok := m.(*supervisor.Failed)
			if !ok {
				p.before = append(p.before, m)
				continue
			}
			if !errors.Is(f.Err, cause) {
				t.Errorf("failed with %v, want %v", f.Err, cause)
			}
			return
		case <-late.Done():
			t.Fatalf("no child failed of %v", cause)
		}
	}
}

// The second of two for one place is refused, and the first stays.
func TestAPlaceIsTakenOnce(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	to := acker(t, e)
	orders := e.Destination(actors.DestinationConfig{Name: "orders"})
	billing := e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to})
	first, pid, _ := family(t, e, map[string]*actor.Props{"orders": orders, "billing": billing})
	hears[*messages.Registered](t, first)
	hears[*messages.Joined](t, first)
	for _, props := range []*actor.Props{orders, billing} {
		second, _, pids := family(t, e, map[string]*actor.Props{"again": props})
		fails(t, second, messages.ErrExists)
		if err := supervisor.Await(enginetest.Within(t), e.System(), pids["again"]); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
			t.Error(err)
		}
	}
	if err := supervisor.Stop(enginetest.Within(t), e.System(), pid); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s, c)
}

// An engine that stops ends its children, whose parents hear why.
func TestTheEngineStopsFirst(t *testing.T) {
	s := enginetest.NewSpace(t)
	c := s.Client(t)
	sys := actor.NewActorSystem(actor.WithLoggerFactory(silent), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	defer sys.Shutdown()
	e, err := actors.Start(enginetest.Within(t), sys, actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys), Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	to := acker(t, e)
	children := map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}),
	}
	p, _, pids := family(t, e, children)
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Fatal(err)
	}
	for range children {
		err := hears[*supervisor.Failed](t, p).Err
		if !errors.Is(err, messages.ErrClosed) || !strings.Contains(err.Error(), `"orders": the runtime was stopped`) {
			t.Errorf("failed: %v", err)
		}
	}
	for _, pid := range pids {
		if err := supervisor.Await(enginetest.Within(t), sys, pid); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
			t.Error(err)
		}
	}
	nothingLeft(t, s, c)
	late, _, _ := family(t, e, children)
	for range children {
		fails(t, late, messages.ErrClosed)
	}
}

// A sole sender whose place another one takes tells its parent, and what waits is
// refused with the cause.
func TestASoleSenderIsOusted(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders": e.Destination(actors.DestinationConfig{Name: "orders", ID: "mine", SoleSender: true}),
	})
	hears[*messages.Registered](t, p)
	lease, err := c.Grant(enginetest.Within(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Txn(enginetest.Within(t)).Then(
		clientv3.OpPut(s.Keys.Sole("orders"), "of another", clientv3.WithLease(lease.ID)),
		clientv3.OpPut(s.Keys.Sender("orders", "mine"), "of another", clientv3.WithLease(lease.ID)),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
	fails(t, p, messages.ErrClosed)
	if err := supervisor.Await(enginetest.Within(t), e.System(), pids["orders"]); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
		t.Error(err)
	}
	if _, err := c.Revoke(enginetest.Within(t), lease.ID); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s, c)
}

// A member without somebody who receives does not join.
func TestReceiversMustBeGiven(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	to := acker(t, e)
	handler := actor.PropsFromFunc(func(actor.Context) {})
	for what, r := range map[string]actors.Receiver{
		"none":               {},
		"both":               {To: to, Handler: handler},
		"workers in batches": {Handler: handler, Batch: 3},
		"a negative batch":   {To: to, Batch: -1},
		"a remote one":       {To: actor.NewPID("10.0.0.1:8080", to.Id)},
	} {
		p, _, _ := family(t, e, map[string]*actor.Props{
			"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, r),
		})
		t.Log(what)
		fails(t, p, messages.ErrInvalid)
	}
	nothingLeft(t, s, c)
}

// A receiver that is dead ends the member, at whatever time it died.
func TestReceiversThatAreGone(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	sys := e.System()
	for _, early := range []bool{true, false} {
		to := acker(t, e)
		die := func() {
			if err := supervisor.Stop(enginetest.Within(t), sys, to); err != nil {
				t.Fatal(err)
			}
		}
		if early {
			die()
		}
		p, _, pids := family(t, e, map[string]*actor.Props{
			"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to}),
		})
		if !early {
			hears[*messages.Joined](t, p)
			die()
		}
		fails(t, p, messages.ErrClosed)
		if err := supervisor.Await(enginetest.Within(t), sys, pids["billing"]); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
			t.Error(err)
		}
	}
	nothingLeft(t, s, c)
}

// What a receiver that terminates has in hand is delivered to others at once, as its
// first attempt.
func TestWhatAGoneReceiverHadGoesToOthers(t *testing.T) {
	const n = 100
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	held := make(chan struct{}, n)
	hoards := func(ctx actor.Context) {
		if _, ok := ctx.Message().(*messages.Delivery); ok {
			held <- struct{}{}
		}
	}
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprint("it leaves: ", leaves), func(t *testing.T) {
			to := sys.Root.Spawn(actor.PropsFromFunc(hoards))
			d := enginetest.Register(t, e, actors.DestinationConfig{})
			p, _, pids := family(t, e, map[string]*actor.Props{
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Window: n / 2}, actors.Receiver{To: to}),
			})
			hears[*messages.Joined](t, p)
			enginetest.Send(t, d, n)
			for range n / 2 {
				enginetest.Await(t, "a delivery", held)
			}
			var left <-chan error
			if leaves {
				leave := sys.Root.RequestFuture(pids["billing"], &messages.Leave{}, time.Minute) // it has it before its receiver ends
				left = enginetest.Aside(func() error {
					m, err := leave.Result()
					if err == nil {
						err = m.(*messages.Left).Err
					}
					return err
				})
			}
			got := make(chan messages.Delivery, n)
			other := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if d, ok := ctx.Message().(*messages.Delivery); ok {
					d.Ack()
					got <- *d
				}
			}))
			q, _, _ := family(t, e, map[string]*actor.Props{
				"other": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: other}),
			})
			hears[*messages.Joined](t, q)
			if err := supervisor.Stop(enginetest.Within(t), sys, to); err != nil {
				t.Fatal(err)
			}
			for range n {
				if d := enginetest.Await(t, "a delivery of the other", got); d.Attempt != 1 {
					t.Errorf("attempt %d", d.Attempt)
				}
			}
			if leaves {
				if err := enginetest.Outcome(t, "leave", left); err != nil {
					t.Error(err)
				}
			} else {
				fails(t, p, messages.ErrClosed)
			}
			if err := d.Unregister(enginetest.Within(t)); err != nil {
				t.Error(err)
			}
			if err := supervisor.Stop(enginetest.Within(t), sys, other); err != nil {
				t.Error(err)
			}
			fails(t, q, messages.ErrClosed)
		})
	}
}
