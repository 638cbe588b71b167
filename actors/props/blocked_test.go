package props_test

// Middleware and partitioners that do not return.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// blocked is middleware that passes a good message on, and does not return over another
// one until it is let go, whatever its context says; then it passes that on.
type blocked struct {
	within chan struct{} // one for each message that is held
	let    chan struct{}
	free   func()
}

func newBlocked(t *testing.T) *blocked {
	b := &blocked{within: make(chan struct{}, 100), let: make(chan struct{})}
	b.free = sync.OnceFunc(func() { close(b.let) })
	t.Cleanup(b.free)
	return b
}

func (b *blocked) hold() {
	b.within <- struct{}{}
	<-b.let
}

func (b *blocked) use() []func(next messages.Send) messages.Send {
	return []func(next messages.Send) messages.Send{func(next messages.Send) messages.Send {
		return func(ctx context.Context, m messages.Message) error {
			if string(m.Value) != "good" {
				b.hold()
			}
			return next(ctx, m)
		}
	}}
}

// leftBehind is closed by the event about what an actor leaves behind.
func leftBehind(t *testing.T, e *actors.Engine, pid *actor.PID, what string) <-chan struct{} {
	events := e.Events(t.Context())
	told := make(chan struct{})
	go func() {
		for event := range events {
			if m, ok := event.(messages.ActorStopped); ok && m.Actor == pid.Id && strings.HasPrefix(m.Err.Error(), what+" had not ended after 2s") {
				close(told)
				return
			}
		}
	}()
	return told
}

// stopsSoon stops an actor, which is to end though code of the user's does not.
func stopsSoon(t *testing.T, e *actors.Engine, pid *actor.PID, what string) {
	t.Helper()
	told := leftBehind(t, e, pid, what)
	if err := supervisor.Stop(enginetest.Within(t), e.System(), pid); err != nil {
		t.Fatalf("it does not end: %v", err)
	}
	enginetest.Await(t, "the event", told)
}

// restart has an actor begin again, as a strategy of its parent's does.
func restart(t *testing.T, e *actors.Engine, pid *actor.PID) {
	t.Helper()
	process, ok := e.System().ProcessRegistry.Get(pid)
	if !ok {
		t.Fatalf("%s is gone", pid.Id)
	}
	process.SendSystemMessage(pid, &actor.Restart{})
}

// stays are two messages, the second of which a blocked middleware holds, and one more.
func stays() []messages.Message {
	return []messages.Message{{Value: []byte("good")}, {Value: []byte("bad")}, {Value: []byte("good")}}
}

// A destination ends though a middleware of its does not return: whoever waits is told
// how far it came, its keys go, and its name is free.
func TestADestinationEndsWithoutItsMiddleware(t *testing.T) {
	for _, acks := range []bool{false, true} {
		s := enginetest.NewSpace(t)
		e, c := s.Begin(t), s.Client(t)
		b := newBlocked(t)
		cfg := actors.DestinationConfig{Name: "orders", SoleSender: true, Use: b.use()}
		p, parent, pids := family(t, e, map[string]*actor.Props{"orders": e.Destination(cfg)})
		hears[*messages.Registered](t, p)
		m := enginetest.Join(t, e, actors.MemberConfig{Destination: "orders", Group: "billing"})
		enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
		pid, heard := asker(t, e)
		e.System().Root.RequestWithCustomSender(pids["orders"], &messages.Publish{Messages: stays(), AwaitAcks: acks}, pid)
		enginetest.Await(t, "the middleware", b.within)
		e.System().Root.RequestWithCustomSender(pids["orders"], &messages.Request{Message: messages.Message{Value: []byte("bad")}, Timeout: time.Hour}, pid)
		enginetest.Await(t, "the middleware of the request", b.within)
		stopsSoon(t, e, pids["orders"], "publish")
		if got := enginetest.Await(t, "the reply", heard); !closedOf(got, 1) {
			t.Errorf("%T %+v", got, got)
		}
		if got := enginetest.Await(t, "the other reply", heard); !closedOf(got, 1) {
			t.Errorf("%T %+v", got, got)
		}
		cfg.Use = nil
		q, other, _ := family(t, e, map[string]*actor.Props{"orders": e.Destination(cfg)})
		hears[*messages.Registered](t, q)
		b.free()
		for _, pid := range []*actor.PID{parent, other} {
			stop(t, e, pid)
		}
		if err := m.Leave(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
		nothingLeft(t, s, c)
	}
}

// closedOf reports whether a reply says that its actor has ended, a Published with so many
// accepted.
func closedOf(m any, accepted int) bool {
	switch m := m.(type) {
	case *messages.Published:
		return m.Accepted == accepted && errors.Is(m.Err, messages.ErrClosed)
	case *messages.Replied:
		return errors.Is(m.Err, messages.ErrClosed)
	}
	return false
}

// A producer ends though a middleware or partitioner of its does not return: each message
// of a Put has one result.
func TestAProducerEndsWithoutItsCode(t *testing.T) {
	for _, name := range []string{"middleware", "partitioner"} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			topic(t, e, "audit", 1)
			b := newBlocked(t)
			cfg := actors.ProducerConfig{Use: b.use()}
			if name == "partitioner" {
				cfg = actors.ProducerConfig{Partitioner: actors.Manual(func(m *messages.Message, _ int) int {
					if string(m.Value) != "good" {
						b.hold()
					}
					return 0
				})}
			}
			_, producer := audit(t, e, &household{}, cfg)
			pid, heard := asker(t, e)
			e.System().Root.RequestWithCustomSender(producer, &messages.Put{Messages: stays()}, pid)
			enginetest.Await(t, "the code", b.within)
			stopsSoon(t, e, producer, "put")
			b.free()
			done, ok := enginetest.Await(t, "the reply", heard).(*messages.PutDone)
			if !ok || len(done.Results) != 3 || done.Results[0].Err != nil ||
				!errors.Is(done.Results[1].Err, messages.ErrClosed) || !errors.Is(done.Results[2].Err, messages.ErrClosed) {
				t.Errorf("%+v", done)
			}
		})
	}
}

// A destination that restarts while a middleware of its does not return sends each
// message once and in order, once it has.
func TestADestinationRestartsWithoutItsMiddleware(t *testing.T) {
	for _, acks := range []bool{false, true} {
		e := enginetest.NewSpace(t).Begin(t)
		b := newBlocked(t)
		p, _, pids := family(t, e, map[string]*actor.Props{
			"orders": e.Destination(actors.DestinationConfig{Name: "orders", Use: b.use()}),
		})
		hears[*messages.Registered](t, p)
		var mu sync.Mutex
		var got []string
		m := enginetest.Join(t, e, actors.MemberConfig{Destination: "orders", Group: "billing"})
		enginetest.Consume(t, m, func(_ context.Context, d messages.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(d.Value))
			return nil
		})
		pid, heard := asker(t, e)
		e.System().Root.RequestWithCustomSender(pids["orders"], &messages.Publish{Messages: stays(), AwaitAcks: acks}, pid)
		enginetest.Await(t, "the middleware", b.within)
		left := leftBehind(t, e, pids["orders"], "publish")
		restart(t, e, pids["orders"])
		enginetest.Await(t, "the event", left)
		b.free()
		if m, ok := enginetest.Await(t, "the reply", heard).(*messages.Published); !ok || m.Accepted != 3 || m.Err != nil {
			t.Errorf("%+v", m)
		}
		if got := ask[*messages.Flushed](t, e, pids["orders"], &messages.Flush{}); got.Err != nil {
			t.Error(got.Err)
		}
		mu.Lock()
		if want := []string{"good", "bad", "good"}; !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
		mu.Unlock()
	}
}
