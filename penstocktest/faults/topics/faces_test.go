package topics_test

// The two faces of topics: handles, and actors of the user's own system. What is
// promised of one is promised of the other, and the tests of both_faces_test.go run over
// each.

import (
	"context"
	"errors"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

// face is a way to use topics.
type face interface {
	open(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.ProducerOption) (producer, error)
	subscribe(t *testing.T, rt *penstock.Runtime, topic, group string, body body, opts ...penstock.SubscribeOption) (consumer, error)
}

// producer is an open topic, through either face.
type producer interface {
	put(ctx context.Context, msgs ...penstock.Message) ([]penstock.PutResult, error)
	close(ctx context.Context) error
}

// consumer is a member of a consumer group, through either face.
type consumer interface {
	leave(ctx context.Context) error
	pause(ctx context.Context, partitions ...int) error
	resume(ctx context.Context, partitions ...int) error
}

// body handles a record: an error fails it. With errQuit the receiver ends, with the
// record in hand.
type body func(r penstock.Record) error

var errQuit = errors.New("the receiver ends")

// faces are all of them.
var faces = map[string]face{
	"handles":           handles{},
	"actors":            ofActors{},
	"actors in batches": ofActors{batch: 8},
	"workers":           ofActors{workers: true},
}

// handles is the face of plain Go.
type handles struct{}

type handleProducer struct{ *penstock.Topic }

func (handles) open(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.ProducerOption) (producer, error) {
	topic, err := rt.Topic(harness.Context(t), name, opts...)
	return handleProducer{topic}, err
}

func (p handleProducer) put(ctx context.Context, msgs ...penstock.Message) ([]penstock.PutResult, error) {
	return p.PutBatch(ctx, msgs)
}

func (p handleProducer) close(ctx context.Context) error { return p.Close(ctx) }

type handleConsumer struct{ *penstock.Subscription }

func (c handleConsumer) leave(ctx context.Context) error { return c.Unsubscribe(ctx) }

func (c handleConsumer) pause(_ context.Context, partitions ...int) error {
	c.Pause(partitions...)
	return nil
}

func (c handleConsumer) resume(_ context.Context, partitions ...int) error {
	c.Resume(partitions...)
	return nil
}

func (handles) subscribe(t *testing.T, rt *penstock.Runtime, name, group string, body body, opts ...penstock.SubscribeOption) (consumer, error) {
	topic, err := rt.Topic(harness.Context(t), name)
	if err != nil {
		return nil, err
	}
	s, err := topic.Subscribe(harness.Context(t), group, opts...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Consume(ctx, func(ctx context.Context, r penstock.Record) error { // it ends with ctx or s
			err := body(r)
			if errors.Is(err, errQuit) {
				cancel()
				return context.Cause(ctx)
			}
			return err
		})
		if ctx.Err() != nil {
			_ = s.Unsubscribe(context.WithoutCancel(ctx)) // as a receiver that ends has its subscription ended
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return handleConsumer{s}, nil
}

// ofActors is the face of actors, whose receivers take batches or not, or are workers of
// the subscription.
type ofActors struct {
	batch   int
	workers bool
}

// actorOf is a child that is asked.
type actorOf struct {
	system *actor.ActorSystem
	pid    *actor.PID
}

func (ofActors) open(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.ProducerOption) (producer, error) {
	return adopt[*penstock.Opened](t, rt, penstock.ProducerProps(rt, name, opts...))
}

func (a actorOf) put(ctx context.Context, msgs ...penstock.Message) ([]penstock.PutResult, error) {
	done, err := supervisor.Ask[*penstock.PutDone](ctx, a.system, a.pid, &penstock.Put{Messages: msgs})
	if err != nil {
		return nil, err
	}
	return done.Results, done.Err
}

func (a actorOf) close(ctx context.Context) error {
	done, err := supervisor.Ask[*penstock.ProducerClosed](ctx, a.system, a.pid, &penstock.CloseProducer{})
	if err != nil {
		return err
	}
	return done.Err
}

func (a actorOf) leave(ctx context.Context) error {
	done, err := supervisor.Ask[*penstock.Left](ctx, a.system, a.pid, &penstock.Leave{})
	if err != nil {
		return err
	}
	return done.Err
}

func (a actorOf) pause(ctx context.Context, partitions ...int) error {
	_, err := supervisor.Ask[*penstock.Paused](ctx, a.system, a.pid, &penstock.Pause{Partitions: partitions})
	return err
}

func (a actorOf) resume(ctx context.Context, partitions ...int) error {
	_, err := supervisor.Ask[*penstock.Resumed](ctx, a.system, a.pid, &penstock.Resume{Partitions: partitions})
	return err
}

func (f ofActors) subscribe(t *testing.T, rt *penstock.Runtime, topic, group string, body body, opts ...penstock.SubscribeOption) (consumer, error) {
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *penstock.RecordDelivery:
			switch err := body(m.Record); {
			case errors.Is(err, errQuit):
				ctx.Stop(ctx.Self())
			case err != nil:
				m.Nack(err)
			default:
				m.Ack()
			}
		case *penstock.Records:
			for i, r := range m.Records {
				switch err := body(r); {
				case errors.Is(err, errQuit):
					ctx.Stop(ctx.Self())
					return
				case err != nil:
					m.Nack(i, err)
					return
				}
			}
			m.Ack()
		}
	})
	to := penstock.Receiver{Handler: props}
	if !f.workers {
		system := rt.Engine().System()
		to = penstock.Receiver{To: system.Root.Spawn(props), Batch: f.batch}
		t.Cleanup(func() { harness.StopActor(t, system, to.To) })
	}
	return adopt[*penstock.Subscribed](t, rt, penstock.SubscriptionProps(rt, topic, group, to, opts...))
}

// adopt spawns a child, and waits until it is up or has failed.
func adopt[R any](t *testing.T, rt *penstock.Runtime, props *actor.Props) (actorOf, error) {
	t.Helper()
	pid, err := harness.Adopt[R](t, rt, props)
	return actorOf{rt.Engine().System(), pid}, err
}
