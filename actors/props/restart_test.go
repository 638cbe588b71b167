package props_test

// Members that restart, and members that follow one of the same name.

import (
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// A strategy that restarts a member together with its receiver loses nothing of what the
// receiver failed over.
func TestAMemberRestartsWithItsReceiver(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	_, _, pids := family(t, e, map[string]*actor.Props{"orders": e.Destination(actors.DestinationConfig{Name: "orders"})})
	var crashed atomic.Bool
	got := make(chan messages.Delivery, 10)
	receiver := actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.Delivery); ok {
			if string(d.Value) == "3" && crashed.CompareAndSwap(false, true) {
				panic("a bug")
			}
			d.Ack()
			got <- *d
		}
	})
	parent := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			to := ctx.Spawn(receiver)
			ctx.Spawn(e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}))
		}
	}, actor.WithSupervisor(actor.NewAllForOneStrategy(10, 0, actor.DefaultDecider))))
	t.Cleanup(func() { stop(t, e, parent) })
	publish(t, e, pids["orders"], 10)
	seen := make(map[string]bool)
	for len(seen) < 10 {
		d := enginetest.Await(t, "a message", got)
		if d.Attempt != 1 {
			t.Errorf("%s at attempt %d", d.Value, d.Attempt)
		}
		seen[string(d.Value)] = true
	}
}

// gatedBox blocks who posts a delivery.
type gatedBox struct{ posted, gate chan struct{} }

func (b *gatedBox) MailboxStarted()     {}
func (b *gatedBox) MessageReceived(any) {}
func (b *gatedBox) MailboxEmpty()       {}
func (b *gatedBox) MessagePosted(m any) {
	if _, ok := m.(*messages.Delivery); ok {
		b.posted <- struct{}{}
		<-b.gate
	}
}

// A member that restarts over the end of its receiver ends all the same.
func TestAMemberRestartsWhenItsReceiverIsGone(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	box := &gatedBox{posted: make(chan struct{}, 10), gate: make(chan struct{})}
	to := sys.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}, actor.WithMailbox(actor.Unbounded(box))))
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	publish(t, e, pids["orders"], 1)
	enginetest.Await(t, "a delivery on its way", box.posted)
	if err := supervisor.Stop(enginetest.Within(t), sys, to); err != nil {
		t.Error(err)
	}
	member, _ := sys.ProcessRegistry.Get(pids["billing"])
	member.SendSystemMessage(pids["billing"], &actor.Restart{})
	close(box.gate)
	fails(t, p, messages.ErrClosed)
	family(t, e, map[string]*actor.Props{
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: acker(t, e)}),
	})
	if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), sys, pids["orders"], &messages.Flush{}); err != nil || flush.Err != nil {
		t.Error(flush, err)
	}
}

// An actor that gets the name of one whose end is not quite through has a membership of
// its own.
func TestAMemberFollowsANamesake(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	ending, gate := make(chan struct{}), make(chan struct{})
	billing := e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: acker(t, e)})
	slow := billing.Clone(actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, m *actor.MessageEnvelope) {
			if _, ok := m.Message.(*actor.Stopped); ok {
				close(ending)
				<-gate
			}
			next(ctx, m)
		}
	}))
	joined, pids := make(chan string, 10), make(chan *actor.PID, 10)
	parent := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Props:
			pid, err := ctx.SpawnNamed(m, "billing")
			if err != nil {
				t.Error(err)
			}
			pids <- pid
		case *messages.Joined:
			joined <- m.Member
		case *supervisor.Failed:
			t.Error(m.Err)
		}
	}))
	t.Cleanup(func() { stop(t, e, parent) })
	sys.Root.Send(parent, slow)
	first := enginetest.Await(t, "a member", pids)
	id := enginetest.Await(t, "its membership", joined)
	sys.Root.Stop(first)
	enginetest.Await(t, "its end", ending)
	sys.Root.Send(parent, billing)
	second := enginetest.Await(t, "the next member", pids)
	t.Cleanup(func() { stop(t, e, second) })
	next := enginetest.Await(t, "the next membership", joined)
	if next == id {
		t.Errorf("both are %s", id)
	}
	close(gate)
}

// A receiver that fails twice while deliveries are still being handed out gets the next
// ones all the same.
func TestAReceiverFailsTwiceInARow(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	box := &gatedBox{posted: make(chan struct{}, 100), gate: make(chan struct{})}
	to := sys.Root.Spawn(supervisor.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *messages.Delivery:
				m.Ack()
			case string:
				ctx.Respond(m)
			}
		})
	}, supervisor.WithMailbox(actor.Unbounded(box))))
	t.Cleanup(func() { stop(t, e, to) })
	letters := sys.EventStream.Subscribe(func(event any) {
		if letter, ok := event.(*actor.DeadLetterEvent); ok && letter.PID == nil {
			t.Errorf("%T was sent to nobody", letter.Message)
		}
	})
	t.Cleanup(func() { sys.EventStream.Unsubscribe(letters) })
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	publish(t, e, pids["orders"], 1)
	enginetest.Await(t, "a delivery on its way", box.posted)
	for range 2 {
		sys.EventStream.Publish(&supervisor.Restarted{Who: to})
	}
	// What the member has sent its receiver by now has come back once each has replied.
	for _, pid := range []*actor.PID{pids["billing"], to, pids["billing"]} {
		_, _ = supervisor.Ask[string](enginetest.Within(t), sys, pid, "are you there")
	}
	close(box.gate)
	publish(t, e, pids["orders"], 10)
	if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), sys, pids["orders"], &messages.Flush{}); err != nil || flush.Err != nil {
		t.Error(flush, err)
	}
}
