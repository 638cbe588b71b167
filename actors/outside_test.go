package actors_test

// Whoever has the actor system may stop any actor in it. Of what was stopped nothing
// stays in etcd, and everybody who has to do with it hears what happened.

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// byHand are the ways in which a user ends an actor that is not his.
var byHand = map[string]func(*actor.ActorSystem, *actor.PID){
	"stop":   func(sys *actor.ActorSystem, pid *actor.PID) { sys.Root.Stop(pid) },
	"poison": func(sys *actor.ActorSystem, pid *actor.PID) { sys.Root.Poison(pid) },
	"kill": func(sys *actor.ActorSystem, pid *actor.PID) {
		process, _ := sys.ProcessRegistry.Get(pid)
		process.Stop(pid)
	},
}

// eachWay runs f for each of them.
func eachWay(t *testing.T, f func(t *testing.T, end func(*actor.ActorSystem, *actor.PID))) {
	for name, end := range byHand {
		t.Run(name, func(t *testing.T) { f(t, end) })
	}
}

// foundOut checks an error that says what happened.
func foundOut(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, messages.ErrClosed) || !strings.Contains(err.Error(), "stopped from outside") {
		t.Errorf("%s: %v", what, err)
	}
}

// noKeys waits until no key with one of these words is in etcd.
func noKeys(t *testing.T, s enginetest.Space, words ...string) {
	t.Helper()
	c := s.Client(t)
	for _, word := range words {
		enginetest.Until(t, "no key with "+word, func() bool { return len(s.With(t, c, word)) == 0 })
	}
}

// Promise: a destination whose actor was stopped leaves etcd, its handle says why,
// and its name is free.
func TestDestinationStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		e := s.Begin(t)
		d := enginetest.Register(t, e, senders.Config{})
		m := enginetest.Join(t, e, members.Config{})
		end(e.System(), d.PID())
		enginetest.Until(t, "the name is free", func() bool {
			again, err := e.Register(enginetest.Within(t), senders.Config{Name: d.Name()})
			if err == nil {
				d, again = again, d
				foundOut(t, "send", again.Send(enginetest.Within(t), messages.Message{}))
				noKeys(t, s, "/"+again.ID())
			}
			return err == nil
		})
		enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
		enginetest.Send(t, d, 3)
		if err := d.Flush(enginetest.Within(t)); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

// Promise: a member whose actor was stopped leaves etcd, so that no sender waits for
// it, and Consume says why it returned.
func TestMemberStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		e := s.Begin(t)
		d := enginetest.Register(t, e, senders.Config{})
		gone := enginetest.Join(t, e, members.Config{})
		consumed := enginetest.Aside(func() error {
			return gone.Consume(context.Background(), func(context.Context, messages.Delivery) error { return nil })
		})
		end(e.System(), gone.PID())
		foundOut(t, "consume", enginetest.Outcome(t, "consume", consumed))
		noKeys(t, s, "/"+gone.ID())
		for _, err := range gone.Messages(enginetest.Within(t), false) {
			foundOut(t, "a loop", err)
		}
		enginetest.Until(t, "its actor is forgotten", func() bool { return len(e.Stats().Members) == 0 })
		m := enginetest.Join(t, e, members.Config{ID: gone.ID()})
		enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
		enginetest.Send(t, d, 3)
		if err := d.Flush(enginetest.Within(t)); err != nil {
			t.Errorf("flush: %v", err)
		}
		if err := gone.Leave(enginetest.Within(t)); err != nil {
			t.Errorf("leave: %v", err)
		}
	})
}

// Promise: a subscription whose actor was stopped gives its partitions up, and
// Consume says why it returned.
func TestSubscriptionStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		e := s.Begin(t)
		ctx := enginetest.Within(t)
		topic, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{Partitions: 2}, topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		subscribe := func() *groups.Subscription {
			sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()})
			if err != nil {
				t.Fatal(err)
			}
			return sub
		}
		gone := subscribe()
		consumed := enginetest.Aside(func() error {
			return gone.Consume(context.Background(), func(context.Context, messages.Record) error { return nil })
		})
		end(e.System(), gone.PID())
		foundOut(t, "consume", enginetest.Outcome(t, "consume", consumed))
		foundOut(t, "commit", gone.Commit(ctx))
		noKeys(t, s, "/"+gone.ID(), "/claims/")
		next := subscribe()
		if n := len(next.Partitions()); n != 2 {
			t.Errorf("the next one has %d partitions of 2", n)
		}
	})
}

// Promise: a topic whose actor was stopped ends for its handles and subscriptions,
// which say why; it can be opened again.
func TestTopicStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		e := s.Begin(t)
		ctx := enginetest.Within(t)
		topic, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{}, topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()})
		if err != nil {
			t.Fatal(err)
		}
		consumed := enginetest.Aside(func() error {
			return sub.Consume(context.Background(), func(context.Context, messages.Record) error { return nil })
		})
		pid := e.System().NewLocalPID(enginetest.ActorsOf(e, "topic")[0].ID)
		end(e.System(), pid)
		foundOut(t, "consume", enginetest.Outcome(t, "consume", consumed))
		foundOut(t, "put", topic.Put(ctx, messages.Message{}).Err)
		noKeys(t, s, "/"+sub.ID(), "/claims/")
		again, err := e.Topic(ctx, "orders", topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Put(ctx, messages.Message{}); got.Err != nil {
			t.Errorf("put again: %v", got.Err)
		}
	})
}

// Promise: a subscription whose actor begins again around a topic that is over ends with
// it, though the actor's earlier one was told of that and had not heard.
func TestTopicStoppedBeforeACrash(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	ctx := enginetest.Within(t)
	topic, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{Partitions: 2}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()})
	if err != nil {
		t.Fatal(err)
	}
	consumed := enginetest.Aside(func() error {
		return sub.Consume(context.Background(), func(context.Context, messages.Record) error { return nil })
	})
	root := enginetest.ActorsOf(e, enginetest.Root)[0]
	stopped := make(chan struct{})
	events := e.Events(ctx)
	go func() {
		for event := range events {
			if m, ok := event.(messages.ActorStopped); ok && m.Actor == topic.PID().Id {
				close(stopped)
				return
			}
		}
	}()
	sys := e.System()
	sys.Root.Send(sub.PID(), node.Crash{Err: errors.New("a bug")}) // it hears nothing during its backoff
	sys.Root.Stop(topic.PID())
	enginetest.Await(t, "the end of the topic's actor", stopped)
	sys.Root.Send(sys.NewLocalPID(root.ID), node.Crash{Err: errors.New("a bug")})
	foundOut(t, "consume", enginetest.Outcome(t, "consume", consumed))
	noKeys(t, s, "/"+sub.ID(), "/claims/")
}

// Promise: an engine whose root actor was stopped ends like one that was stopped
// without time: nothing is left in etcd, every handle, Events and Done say so, and
// Stop has nothing to wait for.
func TestRootStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		sys := userSystem(t, nil)
		e := startIn(t, sys, s)
		d := enginetest.Register(t, e, senders.Config{})
		m := enginetest.Join(t, e, members.Config{})
		consumed := enginetest.Aside(func() error {
			return m.Consume(context.Background(), func(context.Context, messages.Delivery) error { return nil })
		})
		events := e.Events(context.Background())
		end(sys, sys.NewLocalPID(enginetest.ActorsOf(e, enginetest.Root)[0].ID))
		enginetest.Await(t, "done", e.Done())
		foundOut(t, "the engine", e.Err())
		foundOut(t, "consume", enginetest.Outcome(t, "consume", consumed))
		foundOut(t, "send", d.Send(enginetest.Within(t), messages.Message{}))
		_, err := e.Register(enginetest.Within(t), senders.Config{Name: "more"})
		foundOut(t, "register", err)
		var last messages.Event
		for last = range events {
		}
		stopped, _ := last.(messages.RuntimeStopped)
		foundOut(t, "the last event", stopped.Err)
		c := s.Client(t)
		if left := append(s.With(t, c, "/"+d.ID()), s.With(t, c, "/"+m.ID())...); len(left) > 0 {
			t.Errorf("these keys are left: %v", left)
		}
		if err := e.Stop(enginetest.Within(t)); err != nil {
			t.Errorf("stop: %v", err)
		}
		enginetest.Until(t, "no actor is left", func() bool { return len(supervisor.Tree(sys)) == 0 })
	})
}

// Promise: an engine gets another session's actor, and another one for callbacks, for
// one that was stopped; what is registered stays.
func TestSessionStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		e := s.Begin(t)
		d := enginetest.Register(t, e, senders.Config{})
		for _, kind := range []string{"session", "callers"} {
			old := enginetest.ActorsOf(e, kind)[0]
			end(e.System(), e.System().NewLocalPID(old.ID))
			enginetest.Until(t, "another "+kind, func() bool {
				now := enginetest.ActorsOf(e, kind)
				return len(now) == 1 && now[0].Since != old.Since
			})
		}
		m := enginetest.Join(t, e, members.Config{})
		enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
		enginetest.Send(t, d, 3)
		if err := d.Flush(enginetest.Within(t)); err != nil {
			t.Errorf("flush: %v", err)
		}
		if err := m.Leave(enginetest.Within(t)); err != nil {
			t.Errorf("leave: %v", err)
		}
	})
}

// Promise: what has no handle of its own is begun again when it was stopped, and the
// messages and records flow on, none lost.
func TestInnerActorsStoppedFromOutside(t *testing.T) {
	for _, kind := range []string{"listener", "pipe", "link", "source", "partition", "consumer"} {
		t.Run(kind, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			ctx := enginetest.Within(t)
			d := enginetest.Register(t, e, senders.Config{})
			topic, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{}, topics.ProducerConfig{})
			if err != nil {
				t.Fatal(err)
			}
			sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()})
			if err != nil {
				t.Fatal(err)
			}
			records := make(chan struct{}, 8)
			consumed := enginetest.Aside(func() error {
				return sub.Consume(context.Background(), func(context.Context, messages.Record) error {
					records <- struct{}{}
					return nil
				})
			})
			if got := topic.Put(ctx, messages.Message{}); got.Err != nil {
				t.Fatal(got.Err)
			}
			enginetest.Await(t, "a record", records)
			m := enginetest.Join(t, e, members.Config{})
			enginetest.Send(t, d, 3) // nobody reads yet
			for _, info := range enginetest.ActorsOf(e, kind) {
				old := info.ID
				enginetest.StopActor(e, info)
				enginetest.Until(t, "another "+kind, func() bool {
					now := enginetest.ActorsOf(e, kind)
					return len(now) == 1 && now[0].ID != old
				})
			}
			enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
			enginetest.Send(t, d, 3)
			if err := d.Flush(ctx); err != nil {
				t.Errorf("flush: %v", err)
			}
			another := enginetest.Join(t, e, members.Config{ID: "another"}) // through the listener
			if n := another.Stats().Links; n != 1 {
				t.Errorf("the next member has %d links", n)
			}
			if got := topic.Put(ctx, messages.Message{}); got.Err != nil {
				t.Errorf("put: %v", got.Err)
			}
			enginetest.Await(t, "the next record", records)
			if err := sub.Unsubscribe(ctx); err != nil {
				t.Errorf("unsubscribe: %v", err)
			}
			if err := enginetest.Outcome(t, "consume", consumed); err != nil {
				t.Errorf("consume: %v", err)
			}
		})
	}
}

// userSystem is an actor system as a user has it.
func userSystem(t *testing.T, logger *slog.Logger) *actor.ActorSystem {
	t.Helper()
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	sys := actor.NewActorSystem(
		actor.WithDeadLetterThrottleInterval(1), // its goroutine lives for so long
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger }))
	t.Cleanup(func() {
		if !sys.IsStopped() {
			sys.Shutdown()
		}
	})
	return sys
}

// startIn begins an engine in a user's system. The caller stops it.
func startIn(t *testing.T, sys *actor.ActorSystem, s enginetest.Space) *actors.Engine {
	t.Helper()
	e, err := actors.Start(enginetest.Within(t), sys, actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys), Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Promise: an engine whose system was shut down first ends in order, and none begins
// in a system that was.
func TestSystemShutDownFirst(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := userSystem(t, nil)
	e := startIn(t, sys, s)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
	enginetest.Send(t, d, 3)
	sys.Shutdown()
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Errorf("stop: %v", err)
	}
	noKeys(t, s, "/"+d.ID(), "/"+m.ID())
	if _, err := actors.Start(enginetest.Within(t), sys, actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys)}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("start in a system that was shut down: %v", err)
	}
}

// Promise: of two engines in one system each ends alone.
func TestTwoEnginesInOneSystem(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := userSystem(t, nil)
	one, two := startIn(t, sys, s), startIn(t, sys, s)
	first := enginetest.Register(t, one, senders.Config{ID: "first"})
	d := enginetest.Register(t, two, senders.Config{ID: "second"})
	m := enginetest.Join(t, two, members.Config{})
	root, _, _ := strings.Cut(first.PID().Id, "/")
	sys.Root.Stop(sys.NewLocalPID(root))
	enginetest.Await(t, "the end of the one", one.Done())
	noKeys(t, s, "/first")
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
	enginetest.Send(t, d, 3)
	if err := d.Flush(enginetest.Within(t)); err != nil {
		t.Errorf("flush of the other: %v", err)
	}
	if err := errors.Join(one.Stop(enginetest.Within(t)), two.Stop(enginetest.Within(t))); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// Promise: an engine works, and ends, though its system got another address after it
// began, as proto.actor's remote gives it one.
func TestSystemGetsAnAddress(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := userSystem(t, nil)
	e := startIn(t, sys, s)
	before := enginetest.Register(t, e, senders.Config{Name: "before"})
	sys.ProcessRegistry.Address = "10.0.0.1:8090"
	after := enginetest.Register(t, e, senders.Config{Name: "after"})
	for _, d := range []*senders.Destination{before, after} {
		m := enginetest.Join(t, e, members.Config{Destination: d.Name()})
		enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
		enginetest.Send(t, d, 3)
		if err := d.Flush(enginetest.Within(t)); err != nil {
			t.Errorf("flush: %v", err)
		}
		sys.Root.Stop(d.PID())
		noKeys(t, s, "/"+d.ID())
	}
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Errorf("stop: %v", err)
	}
	enginetest.Until(t, "no actor is left", func() bool { return len(supervisor.Tree(sys)) == 0 })
}

// Promise: handlers of a Consume that are stopped are followed by others.
func TestHandlersStoppedFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, end func(*actor.ActorSystem, *actor.PID)) {
		s := enginetest.NewSpace(t)
		ctx := enginetest.Within(t)
		e := s.Begin(t)
		stopAll := func() {
			t.Helper()
			var before []supervisor.Info
			enginetest.Until(t, "the handlers are there", func() bool {
				before = enginetest.ActorsOf(e, "handler")
				return len(before) == 2
			})
			for _, info := range before {
				pid := e.System().NewLocalPID(info.ID)
				end(e.System(), pid)
				if err := supervisor.Await(ctx, e.System(), pid); err != nil {
					t.Error(err)
				}
			}
		}
		d := enginetest.Register(t, e, senders.Config{})
		m := enginetest.Join(t, e, members.Config{Concurrency: 2})
		consumed := enginetest.Aside(func() error {
			return m.Consume(ctx, func(context.Context, messages.Delivery) error { return nil })
		})
		stopAll()
		enginetest.Send(t, d, 10)
		if err := d.Flush(ctx); err != nil {
			t.Errorf("flush: %v", err)
		}
		if err := m.Leave(ctx); err != nil {
			t.Errorf("leave: %v", err)
		}
		if err := enginetest.Outcome(t, "consume", consumed); err != nil {
			t.Errorf("consume: %v", err)
		}

		topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Concurrency: 2})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan struct{}, 10)
		consumed = enginetest.Aside(func() error {
			return sub.Consume(ctx, func(context.Context, messages.Record) error {
				got <- struct{}{}
				return nil
			})
		})
		stopAll()
		if r := topic.Put(ctx, messages.Message{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		enginetest.Await(t, "the record", got)
		if err := sub.Unsubscribe(ctx); err != nil {
			t.Errorf("unsubscribe: %v", err)
		}
		if err := enginetest.Outcome(t, "consume", consumed); err != nil {
			t.Errorf("consume of the topic: %v", err)
		}
		if err := topic.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Promise: what becomes due while the actor that has it called is on its way out is called
// by the next one.
func TestCallbacksStoppedFromOutside(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	ctx := enginetest.Within(t)
	if _, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{}, topics.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	put := func(done func(messages.PutResult)) {
		t.Helper()
		topic, err := e.Topic(ctx, "orders", topics.ProducerConfig{}) // one queue of callbacks for each handle
		if err == nil {
			err = topic.PutAsync(ctx, messages.Message{}, done)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	in, out, called := make(chan struct{}), make(chan struct{}), make(chan struct{})
	put(func(messages.PutResult) { close(in); <-out })
	enginetest.Await(t, "a callback", in)
	old := enginetest.ActorsOf(e, "callers")[0]
	enginetest.StopActor(e, old)
	enginetest.Until(t, "it waits for that callback", func() bool {
		now := enginetest.ActorsOf(e, "callers")
		return len(now) == 1 && now[0].State == "stopping"
	})
	put(func(messages.PutResult) { close(called) })
	var handles []messages.TopicStats
	enginetest.Until(t, "the second message is in the log", func() bool {
		handles = e.Stats().Topics
		return len(handles) == 1 && handles[0].Committed >= 2
	})
	close(out)
	enginetest.Await(t, "the callback that was due meanwhile", called)
}
