package props_test

// What passes through a receiver's mailbox before it gets more.

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

// ours reports whether a message in a receiver's mailbox is of a type of ours that it
// cannot know.
func ours(m any) bool {
	if e, ok := m.(*actor.MessageEnvelope); ok {
		m = e.Message
	}
	return strings.HasPrefix(fmt.Sprintf("%T", m), "*props.")
}

// box is a mailbox that counts records and notes what of ours comes behind them.
type box struct {
	mailDepth
	after chan struct{} // of ours while a record is there
}

func (b *box) MessagePosted(m any) {
	b.mailDepth.MessagePosted(m)
	if ours(m) && b.now.Load() > 0 {
		b.after <- struct{}{}
	}
}

// After a restart of its own a subscription hands out nothing before what it had handed
// out is not in the receiver's mailbox any more.
func TestASubscriptionRestartsWithinItsWindow(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 1)
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	put(t, e, producer, 0, 20)
	d := &box{after: make(chan struct{}, 100)}
	l := newLedger(t)
	got, gate := make(chan struct{}, 100), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*messages.RecordDelivery); ok {
			got <- struct{}{}
			<-gate
			l.note(m.Record)
			d.settled(1)
			m.Ack()
		}
	}, actor.WithMailbox(actor.Unbounded(d))))
	t.Cleanup(func() { stop(t, e, to) })
	t.Cleanup(open)
	_, child := report(t, e, &household{}, actors.SubscriptionConfig{}, actors.Receiver{To: to})
	enginetest.Await(t, "a record", got)
	restart(t, e, child)
	enginetest.Await(t, "what passes", d.after)
	open()
	l.await(20)
	if most := d.most.Load(); most != 1 {
		t.Errorf("%d records were in the mailbox", most)
	}
	if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
		t.Error(got.Err)
	}
}

// A receiver that drops what it does not know gets nothing more once it has failed, and an
// event says so.
func TestAReceiverDropsWhatPasses(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds until that is told")
	}
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 1)
	told := make(chan messages.ReceiverStuck, 10)
	events := e.Events(t.Context())
	go func() {
		for event := range events {
			if m, ok := event.(messages.ReceiverStuck); ok {
				told <- m
			}
		}
	}()
	var failed atomic.Int64
	drops := func() *actor.PID {
		to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *messages.Delivery:
				m.Ack()
			case *messages.RecordDelivery:
				m.Ack()
			default:
				return
			}
			failed.Add(1)
			panic("a bug")
		}, actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
			return func(ctx actor.ReceiverContext, m *actor.MessageEnvelope) {
				if !ours(m) {
					next(ctx, m)
				}
			}
		})))
		t.Cleanup(func() { stop(t, e, to) })
		return to
	}
	a, b := drops(), drops()
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	report(t, e, &household{}, actors.SubscriptionConfig{}, actors.Receiver{To: a})
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: b}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	e.System().Root.Send(producer, &messages.Put{Messages: numbered(0, 1)})
	publish(t, e, pids["orders"], 1)
	for range 2 {
		m := enginetest.Await(t, "the event", told)
		if m.Waiting != 10*time.Second || m.Why == "" || m.Group == "" ||
			m.Receiver != a.Id && m.Receiver != b.Id || (m.Topic == "audit") != (m.Receiver == a.Id) || (m.Destination == "orders") != (m.Receiver == b.Id) {
			t.Errorf("%+v", m)
		}
	}
	if failed.Load() != 2 {
		t.Errorf("they failed %d times", failed.Load())
	}
}
