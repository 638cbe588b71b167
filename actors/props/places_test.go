package props_test

// Where children may live, whom they wait for, and how much they take on.

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/props"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// A child in another system than its engine's is refused.
func TestAChildInAnotherSystem(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	topic(t, e, "audit", 1)
	to := acker(t, e)
	sys := actor.NewActorSystem(actor.WithLoggerFactory(silent), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	defer sys.Shutdown()
	for name, child := range map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}),
		"audit":   e.Producer("audit", nil, actors.ProducerConfig{}),
		"report":  e.Subscription("audit", actors.SubscriptionConfig{Group: "report"}, actors.Receiver{To: to}),
	} {
		p := newParent(map[string]*actor.Props{name: child})
		pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }))
		t.Log(name)
		fails(t, p, messages.ErrInvalid)
		if err := supervisor.Stop(enginetest.Within(t), sys, pid); err != nil {
			t.Error(err)
		}
	}
	nothingLeft(t, s, c)
}

// late is an engine whose ends begin when they may.
type late struct {
	*actors.Engine
	may   chan struct{}
	calls sync.WaitGroup
}

func (l *late) Call(queue usercode.Callbacks) {
	l.calls.Go(func() {
		<-l.may
		queue.Call(context.Background())
	})
}

func (l *late) Emit(messages.Event) {}

// Members without an id have each a place of its own, and wait for nobody's end.
func TestNamelessMembersDoNotWait(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	topic(t, e, "audit", 1)
	l := &late{Engine: e, may: make(chan struct{})}
	face := props.New(l)
	to := acker(t, e)
	for what, child := range map[string]*actor.Props{
		"billing": face.Member(members.Config{Destination: "orders", Group: "billing"}, props.Receiver{To: to}),
		"report":  face.Subscription("audit", groups.Config{Group: "report"}, props.Receiver{To: to}),
	} {
		for range 3 {
			h := &household{children: map[string]*actor.Props{what: child}}
			_, pids := settle(t, e, h)
			began := time.Now()
			if what == "report" {
				expect[*messages.Subscribed](t, h)
			} else {
				expect[*messages.Joined](t, h)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("%s waits for the end of another one: %s", what, took)
			}
			stop(t, e, pids[what])
		}
	}
	close(l.may)
	l.calls.Wait()
}

// Nobody waits for an end that an engine would have had to perform which has ended.
func TestNobodyWaitsForAnEngineThatHasEnded(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := actor.NewActorSystem(actor.WithLoggerFactory(silent), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	defer sys.Shutdown()
	e, err := actors.Start(enginetest.Within(t), sys, actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys), Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	l := &late{Engine: e, may: make(chan struct{})}
	face := props.New(l)
	children := map[string]*actor.Props{"orders": face.Destination(senders.Config{Name: "orders"})}
	p, _, pids := family(t, e, children)
	hears[*messages.Registered](t, p)
	stop(t, e, pids["orders"]) // its end has begun, and is not performed
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Error(err)
	}
	began := time.Now()
	next, _, _ := family(t, e, children)
	fails(t, next, messages.ErrClosed)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	close(l.may)
	l.calls.Wait()
}

// Flushes that wait are bounded; more than that are refused at once.
func TestFlushesAreBounded(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	held := make(chan messages.Delivery, 1)
	to := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.Delivery); ok {
			held <- *d
		}
	}))
	t.Cleanup(func() { stop(t, e, to) })
	p, pid, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", AckWait: -1}, actors.Receiver{To: to}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	publish(t, e, pids["orders"], 1)
	d := enginetest.Await(t, "the message", held)
	for range props.MaxFlushes {
		sys.Root.RequestWithCustomSender(pids["orders"], &messages.Flush{}, pid)
	}
	if m := ask[*messages.Flushed](t, e, pids["orders"], &messages.Flush{}); !errors.Is(m.Err, messages.ErrBusy) {
		t.Errorf("one more: %v", m.Err)
	}
	d.Ack()
	for range props.MaxFlushes {
		if m := hears[*messages.Flushed](t, p); m.Err != nil {
			t.Error(m.Err)
		}
	}
	if m := ask[*messages.Flushed](t, e, pids["orders"], &messages.Flush{}); m.Err != nil {
		t.Errorf("when there is room: %v", m.Err)
	}
}

// So are those of a producer.
func TestFlushesOfPutsAreBounded(t *testing.T) {
	s, gate := enginetest.NewSpace(t).Behind(t, "no request has this")
	e := s.Begin(t)
	sys := e.System()
	topic(t, e, "audit", 1)
	h := &household{}
	pid, child := audit(t, e, h, actors.ProducerConfig{})
	gate.Shut()
	sys.Root.RequestWithCustomSender(child, &messages.Put{Messages: numbered(0, 1)}, pid)
	for range props.MaxFlushes {
		sys.Root.RequestWithCustomSender(child, &messages.FlushPuts{}, pid)
	}
	if m := ask[*messages.PutsFlushed](t, e, child, &messages.FlushPuts{}); !errors.Is(m.Err, messages.ErrBusy) {
		t.Errorf("one more: %v", m.Err)
	}
	gate.Open()
	if m := expect[*messages.PutDone](t, h); m.Err != nil {
		t.Error(m.Err)
	}
	for range props.MaxFlushes {
		if m := expect[*messages.PutsFlushed](t, h); m.Err != nil {
			t.Error(m.Err)
		}
	}
	if m := ask[*messages.PutsFlushed](t, e, child, &messages.FlushPuts{}); m.Err != nil {
		t.Errorf("when there is room: %v", m.Err)
	}
}
