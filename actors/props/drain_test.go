package props_test

// Children that are killed or restart while they do something.

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/props"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// kills are the ways in which somebody ends a child.
var kills = map[string]func(*actor.ActorSystem, *actor.PID){
	"stop": func(sys *actor.ActorSystem, pid *actor.PID) { sys.Root.Stop(pid) },
	"kill": func(sys *actor.ActorSystem, pid *actor.PID) {
		process, _ := sys.ProcessRegistry.Get(pid)
		process.Stop(pid)
	},
}

// hoarder is a receiver that settles nothing.
func hoarder(t *testing.T, e *actors.Engine) (to *actor.PID, came <-chan struct{}) {
	t.Helper()
	held := make(chan struct{}, 100)
	to = e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *messages.Delivery, *messages.RecordDelivery:
			held <- struct{}{}
		}
	}))
	t.Cleanup(func() { stop(t, e, to) })
	return to, held
}

// awaitState waits until an actor of ours is in a state.
func awaitState(t *testing.T, e *actors.Engine, pid *actor.PID, state string) {
	t.Helper()
	enginetest.Until(t, pid.Id+" is "+state, func() bool {
		for _, info := range e.Tree() {
			if info.ID == pid.Id && info.State == state {
				return true
			}
		}
		return false
	})
}

// Children that are killed while they drain reply with an error, leave nothing in etcd,
// and what they had goes to others.
func TestKilledWhileDraining(t *testing.T) {
	for how, kill := range kills {
		t.Run(how, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e, c := s.Begin(t), s.Client(t)
			sys := e.System()
			topic(t, e, "audit", 1)
			to, held := hoarder(t, e)
			p, _, pids := family(t, e, map[string]*actor.Props{
				"orders":  e.Destination(actors.DestinationConfig{Name: "orders", SoleSender: true}),
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to}),
			})
			hears[*messages.Registered](t, p)
			hears[*messages.Joined](t, p)
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			cfg := actors.SubscriptionConfig{ID: "r", Start: messages.Earliest()}
			_, child := report(t, e, &household{}, cfg, actors.Receiver{To: to})
			publish(t, e, pids["orders"], 5)
			put(t, e, producer, 0, 1)
			for range 6 {
				enginetest.Await(t, "a message", held)
			}

			left := enginetest.Aside(func() error {
				m, err := supervisor.Ask[*messages.Left](enginetest.Within(t), sys, pids["billing"], &messages.Leave{})
				return errors.Join(err, m.Err)
			})
			unsubscribed := enginetest.Aside(func() error {
				m, err := supervisor.Ask[*messages.Left](enginetest.Within(t), sys, child, &messages.Leave{})
				return errors.Join(err, m.Err)
			})
			awaitState(t, e, pids["billing"], "leaving")
			awaitState(t, e, child, "leaving")
			kill(sys, pids["billing"])
			kill(sys, child)
			for what, outcome := range map[string]<-chan error{"the member's": left, "the subscription's": unsubscribed} {
				if err := enginetest.Outcome(t, what, outcome); !errors.Is(err, messages.ErrClosed) {
					t.Errorf("%s: %v", what, err)
				}
			}

			unregistered := enginetest.Aside(func() error {
				m, err := supervisor.Ask[*messages.Unregistered](enginetest.Within(t), sys, pids["orders"], &messages.Unregister{})
				return errors.Join(err, m.Err)
			})
			awaitState(t, e, pids["orders"], "draining")
			got := make(chan messages.Delivery, 10)
			acks := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if d, ok := ctx.Message().(*messages.Delivery); ok {
					d.Ack()
					got <- *d
				}
			}))
			t.Cleanup(func() { stop(t, e, acks) })
			l := newLedger(t)
			report(t, e, &household{}, cfg, actors.Receiver{To: receiver(t, e, func(r messages.Record) error { l.note(r); return nil })})
			l.await(1)
			kill(sys, pids["orders"])
			if err := enginetest.Outcome(t, "unregister", unregistered); !errors.Is(err, messages.ErrClosed) {
				t.Errorf("the destination's: %v", err)
			}
			next, _, ids := family(t, e, map[string]*actor.Props{
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: acks}),
			})
			hears[*messages.Joined](t, next)
			for range 5 { // the engine has the destination deliver for a while
				if d := enginetest.Await(t, "a message", got); d.Attempt != 1 {
					t.Errorf("attempt %d", d.Attempt)
				}
			}
			if left := ask[*messages.Left](t, e, ids["billing"], &messages.Leave{}); left.Err != nil {
				t.Error(left.Err)
			}
			for _, word := range []string{"/senders/", "/secret/", "/dest/orders/groups/billing/members/", "/sole"} {
				enginetest.Until(t, "no key with "+word, func() bool { return len(s.With(t, c, word)) == 0 })
			}
		})
	}
}

// A producer that is killed while it closes says so, and puts what it has taken.
func TestAProducerIsKilledWhileItCloses(t *testing.T) {
	for how, kill := range kills {
		t.Run(how, func(t *testing.T) {
			behind, gate := enginetest.NewSpace(t).Behind(t, "shut the gate")
			e := behind.Begin(t)
			sys := e.System()
			made, err := e.CreateTopic(enginetest.Within(t), "audit", messages.TopicConfig{Compression: messages.CompressNone}, actors.ProducerConfig{})
			if err == nil {
				err = made.Close(enginetest.Within(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			done := make(chan *messages.PutDone, 1)
			asker := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if m, ok := ctx.Message().(*messages.PutDone); ok {
					done <- m
				}
			}))
			t.Cleanup(func() { stop(t, e, asker) })
			sys.Root.RequestWithCustomSender(producer, &messages.Put{Messages: []messages.Message{{Value: []byte("shut the gate")}}}, asker)
			enginetest.Await(t, "the write", gate.Closed())
			closed := enginetest.Aside(func() error {
				m, err := supervisor.Ask[*messages.ProducerClosed](enginetest.Within(t), sys, producer, &messages.CloseProducer{})
				return errors.Join(err, m.Err)
			})
			awaitState(t, e, producer, "closing")
			kill(sys, producer)
			if err := enginetest.Outcome(t, "close", closed); !errors.Is(err, messages.ErrClosed) {
				t.Errorf("close: %v", err)
			}
			gate.Open()
			if m := enginetest.Await(t, "the results", done); m.Err != nil || len(m.Results) != 1 {
				t.Errorf("%+v", m)
			}
		})
	}
}

// gatedTopic opens a topic once its gate is open.
type gatedTopic struct{ *gated }

func (g gatedTopic) Topic(ctx context.Context, name string, cfg topics.ProducerConfig) (*topics.Topic, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.gated.Topic(context.WithoutCancel(ctx), name, cfg)
}

// A subscription that is asked to leave before it has subscribed does both.
func TestLeaveBeforeSubscribed(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	topic(t, e, "audit", 1)
	g := gatedTopic{newGated(t, e)}
	h := &household{children: map[string]*actor.Props{
		"report": props.New(g).Subscription("audit", groups.Config{Group: "report", ID: "r"}, props.Receiver{To: acker(t, e)}),
	}}
	_, pids := settle(t, e, h)
	enginetest.Await(t, "the topic", g.entered)
	sender := make(chan error, 2)
	asker := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*messages.Left); ok {
			sender <- m.Err
		}
	}))
	t.Cleanup(func() { stop(t, e, asker) })
	for range 2 {
		e.System().Root.RequestWithCustomSender(pids["report"], &messages.Leave{}, asker)
	}
	if err := enginetest.Await(t, "the second Leave", sender); !errors.Is(err, messages.ErrBusy) {
		t.Errorf("the second Leave: %v", err)
	}
	close(g.gate)
	if err := enginetest.Await(t, "the first Leave", sender); err != nil {
		t.Errorf("the first Leave: %v", err)
	}
	nothingLeft(t, s, c)
}

// A member with workers that restarts, again and again, loses nothing.
func TestAMemberWithWorkersRestarts(t *testing.T) {
	const n = 300
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	var handled atomic.Int64
	got := make(chan messages.Delivery, 2*n)
	at := make(chan struct{}, 2*n)
	handler := actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.Delivery); ok {
			if handled.Add(1)%50 == 0 {
				at <- struct{}{}
			}
			d.Ack()
			got <- *d
		}
	})
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders": e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b", Concurrency: 3, Window: 20, AckWait: -1},
			actors.Receiver{Handler: handler}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	publish(t, e, pids["orders"], n)
	member, _ := sys.ProcessRegistry.Get(pids["billing"])
	for range 4 {
		enginetest.Await(t, "some messages", at)
		member.SendSystemMessage(pids["billing"], &actor.Restart{})
	}
	seen := make(map[string]bool)
	for len(seen) < n {
		d := enginetest.Await(t, "a message", got)
		if d.Attempt != 1 {
			t.Errorf("%s at attempt %d", d.Value, d.Attempt)
		}
		seen[string(d.Value)] = true
	}
	if flush := ask[*messages.Flushed](t, e, pids["orders"], &messages.Flush{}); flush.Err != nil {
		t.Error(flush.Err)
	}
	askAll(t, e, pids)
}

// A worker of a subscription that stops by itself ends it; what it had is handed to the
// next one.
func TestAWorkerOfASubscriptionStops(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	topic(t, e, "audit", 1)
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	put(t, e, producer, 0, 10)
	cfg := actors.SubscriptionConfig{ID: "r", Start: messages.Earliest(), PartitionsAtOnce: 2}
	h := &household{}
	report(t, e, h, cfg, actors.Receiver{Handler: actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*messages.RecordDelivery); ok {
			ctx.Stop(ctx.Self())
		}
	})})
	for {
		if f, ok := enginetest.Await(t, "the failure", h.told).(*supervisor.Failed); ok {
			if !errors.Is(f.Err, messages.ErrClosed) {
				t.Error(f.Err)
			}
			break
		}
	}
	l := newLedger(t)
	report(t, e, &household{}, cfg, actors.Receiver{To: receiver(t, e, func(r messages.Record) error { l.note(r); return nil })})
	l.await(10)
}
