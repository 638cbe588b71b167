package props_test

// Middleware of what actors publish and put.

import (
	"context"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

// panicking passes each message on, and panics then over a bad one, once so.
func panicking(t *testing.T, so func() bool) []func(next messages.Send) messages.Send {
	return []func(next messages.Send) messages.Send{func(next messages.Send) messages.Send {
		return func(ctx context.Context, m messages.Message) error {
			err := next(ctx, m)
			if string(m.Value) == "bad" {
				enginetest.Until(t, "it is time to panic", so)
				panic("a bug of the user's")
			}
			return err
		}
	}}
}

// asker hears of what it asks for.
func asker(t *testing.T, e *actors.Engine) (pid *actor.PID, heard <-chan any) {
	t.Helper()
	told := make(chan any, 100)
	pid = e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *messages.PutDone, *messages.Published, *messages.Settled, *messages.Replied:
			told <- m
		}
	}))
	t.Cleanup(func() { stop(t, e, pid) })
	return pid, told
}

// Each message of a Put has one result, though its middleware panics over one that was
// taken.
func TestAMiddlewareOfPutsPanics(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 1)
	use := panicking(t, func() bool { return e.Stats().Topics[0].Committed == 1 })
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{Use: use})
	pid, heard := asker(t, e)
	e.System().Root.RequestWithCustomSender(producer, &messages.Put{Messages: []messages.Message{{Value: []byte("bad")}, {Value: []byte("good")}}}, pid)
	done, ok := enginetest.Await(t, "the results", heard).(*messages.PutDone)
	if !ok || len(done.Results) != 2 || done.Results[1].Err != nil || done.Results[1].Offset != 1 {
		t.Errorf("%+v", done)
	}
}

// Who awaits acks hears of those that were accepted, though a middleware panics over
// another one that was accepted.
func TestAMiddlewareOfPublishesPanics(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	use := panicking(t, func() bool { return e.Stats().Pipes[0].Acked == 3 })
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders": e.Destination(actors.DestinationConfig{Name: "orders", Use: use}),
	})
	hears[*messages.Registered](t, p)
	m := enginetest.Join(t, e, actors.MemberConfig{Destination: "orders", Group: "billing"})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
	pid, heard := asker(t, e)
	e.System().Root.RequestWithCustomSender(pids["orders"], &messages.Publish{
		Messages: []messages.Message{{Value: []byte("good")}, {Value: []byte("good")}, {Value: []byte("bad")}}, AwaitAcks: true,
	}, pid)
	if m, ok := enginetest.Await(t, "the first reply", heard).(*messages.Published); !ok || m.Accepted != 2 || m.Err == nil {
		t.Errorf("%+v", m)
	}
	if m, ok := enginetest.Await(t, "the second reply", heard).(*messages.Settled); !ok || m.Acked != 2 || m.Err != nil {
		t.Errorf("%+v", m)
	}
}
