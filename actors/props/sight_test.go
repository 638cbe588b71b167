package props_test

// Receivers that restart because of another actor.

import (
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// forgetful settles nothing in its first incarnation.
type forgetful struct {
	first bool
	came  chan<- string
}

func (f *forgetful) Receive(ctx actor.Context) {
	var value string
	switch m := ctx.Message().(type) {
	case *messages.Delivery:
		value = string(m.Value)
		if !f.first {
			if m.Attempt != 1 {
				value += " again"
			}
			m.Ack()
		}
	case *messages.RecordDelivery:
		value = string(m.Value)
		if !f.first {
			m.Ack()
		}
	default:
		return
	}
	f.came <- value
}

// What a receiver has in hand that a strategy restarts because a sibling failed comes
// again, though no event says so.
func TestASiblingTakesTheReceiverAlong(t *testing.T) {
	for kind, guarded := range map[string]bool{"plain": false, "guarded": true} {
		t.Run(kind, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			sys := e.System()
			came := make(chan string, 100)
			incarnations := 0 // of the receiver's, one after the other
			produce := func() actor.Actor {
				incarnations++
				return &forgetful{first: incarnations == 1, came: came}
			}
			receiver := actor.PropsFromProducer(produce)
			if guarded {
				receiver = supervisor.Props(produce)
			}
			children := make(chan [2]*actor.PID, 1)
			parent := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					children <- [2]*actor.PID{ctx.Spawn(receiver), ctx.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
						if err, ok := ctx.Message().(error); ok {
							panic(err)
						}
					}))}
				}
			}, actor.WithSupervisor(actor.NewAllForOneStrategy(10, 0, actor.DefaultDecider))))
			t.Cleanup(func() { stop(t, e, parent) })
			both := enginetest.Await(t, "the children", children)
			p, _, pids := family(t, e, map[string]*actor.Props{
				"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", AckWait: -1}, actors.Receiver{To: both[0]}),
			})
			hears[*messages.Registered](t, p)
			hears[*messages.Joined](t, p)
			topic(t, e, "audit", 1)
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			put(t, e, producer, 100, 101)
			report(t, e, &household{}, actors.SubscriptionConfig{Start: messages.Earliest()}, actors.Receiver{To: both[0]})
			publish(t, e, pids["orders"], 3)
			for range 4 {
				enginetest.Await(t, "a message", came)
			}
			sys.Root.Send(both[1], messages.ErrInvalid)
			again := make(map[string]bool)
			for len(again) < 4 {
				again[enginetest.Await(t, "a message again", came)] = true
			}
			for _, value := range []string{"0", "1", "2", "100"} {
				if !again[value] {
					t.Errorf("%s did not come again, of %v", value, again)
				}
			}
		})
	}
}

// A receiver is not told to tell those of its end that have ended before it.
func TestAReceiverForgetsWhoHasEnded(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	sys := e.System()
	topic(t, e, "audit", 1)
	to := sys.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
	h := &household{children: map[string]*actor.Props{
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}),
		"report":  e.Subscription("audit", actors.SubscriptionConfig{Group: "report"}, actors.Receiver{To: to}),
	}}
	_, pids := settle(t, e, h)
	expect[*messages.Subscribed](t, h)
	awaitState(t, e, pids["billing"], "delivering")
	var late atomic.Int64
	letters := sys.EventStream.Subscribe(func(event any) {
		if d, ok := event.(*actor.DeadLetterEvent); ok {
			if _, ok := d.Message.(*actor.Terminated); ok {
				late.Add(1)
			}
		}
	})
	defer sys.EventStream.Unsubscribe(letters)
	for _, pid := range pids {
		stop(t, e, pid)
	}
	stop(t, e, to)
	if n := late.Load(); n > 0 {
		t.Errorf("%d that have ended are told of the receiver's end", n)
	}
}
