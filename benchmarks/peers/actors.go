package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/supervisor"
)

// Actors: how fast one is told, with Penstock's supervision and without.

var errNotAll = errors.New("not every note came, in order")

func newActors() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// note is what the counter counts.
type note struct{ n int }

// told has it say whether so many came, in order.
type told struct {
	count int
	done  chan bool
}

// counter counts notes, and looks at their order.
type counter struct {
	count   int
	ordered bool
}

func (c *counter) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.ordered = true
	case *note:
		c.count++
		c.ordered = c.ordered && m.n == (c.count-1)%notes
	case *told:
		m.done <- c.ordered && c.count == m.count
		c.count, c.ordered = 0, true
	}
}

// notes is how many different notes there are: none is made while time counts.
const notes = 64

type teller struct {
	sys   *actor.ActorSystem
	pid   *actor.PID
	notes [notes]*note
	stop  func(context.Context) error
}

func tellTo(sys *actor.ActorSystem, props *actor.Props, stop func(context.Context, *actor.PID) error) *teller {
	t := &teller{sys: sys, pid: sys.Root.Spawn(props)}
	t.stop = func(ctx context.Context) error { return stop(ctx, t.pid) }
	for i := range t.notes {
		t.notes[i] = &note{i}
	}
	return t
}

func tellBare(context.Context, side.Place) (side.Performer, error) {
	sys := newActors()
	return tellTo(sys, actor.PropsFromProducer(func() actor.Actor { return &counter{} }), func(_ context.Context, pid *actor.PID) error {
		return sys.Root.StopFuture(pid).Wait()
	}), nil
}

func tellSupervised(context.Context, side.Place) (side.Performer, error) {
	sys := newActors()
	supervisor.Prepare(sys)
	return tellTo(sys, supervisor.Props(func() actor.Actor { return &counter{} }), func(ctx context.Context, pid *actor.PID) error {
		return supervisor.Stop(ctx, sys, pid)
	}), nil
}

func (t *teller) Perform(ctx context.Context, n int) error {
	for i := range n {
		t.sys.Root.Send(t.pid, t.notes[i%notes])
	}
	done := make(chan bool, 1)
	t.sys.Root.Send(t.pid, &told{count: n, done: done})
	select {
	case all := <-done:
		if !all {
			return errNotAll
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *teller) Close() error {
	err := t.stop(context.Background())
	t.sys.Shutdown()
	return err
}
