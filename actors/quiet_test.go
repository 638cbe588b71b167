package actors_test

// What a user's own logger and event stream hear of an engine in his actor system.

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// lines collects what a logger writes.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Promise: an orderly life and end is no warning in the logger of the user's system.
func TestOrderlyEndsAreQuiet(t *testing.T) {
	s := enginetest.NewSpace(t)
	warnings := &lines{}
	sys := userSystem(t, slog.New(slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx := enginetest.Within(t)
	one, two := startIn(t, sys, s), startIn(t, sys, s)
	d := enginetest.Register(t, one, senders.Config{})
	other := enginetest.Register(t, one, senders.Config{Name: "other"})
	reads := func(m *members.Member) <-chan error {
		return enginetest.Aside(func() error {
			return m.Consume(context.Background(), func(context.Context, messages.Delivery) error { return nil })
		})
	}
	leaves := enginetest.Join(t, two, members.Config{})
	stays := enginetest.Join(t, two, members.Config{Destination: "other"})
	looped := []<-chan error{reads(leaves), reads(stays)}
	enginetest.Send(t, d, 10)
	enginetest.Send(t, other, 10)
	topic, err := one.CreateTopic(ctx, "topic", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if got := topic.Put(ctx, messages.Message{}); got.Err != nil {
		t.Fatal(got.Err)
	}
	sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()})
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan struct{}, 1)
	looped = append(looped, enginetest.Aside(func() error {
		return sub.Consume(context.Background(), func(context.Context, messages.Record) error {
			handled <- struct{}{}
			return nil
		})
	}))
	enginetest.Await(t, "a record", handled)
	for what, end := range map[string]func() error{
		"unsubscribe": func() error { return sub.Unsubscribe(ctx) },
		"close":       func() error { return topic.Close(ctx) },
		"leave":       func() error { return leaves.Leave(ctx) },
		"unregister":  func() error { return d.Unregister(ctx) },
	} {
		if err := end(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := one.Stop(ctx); err != nil {
		t.Errorf("stop of the sender: %v", err)
	}
	if err := two.Stop(ctx); err != nil {
		t.Errorf("stop of the member: %v", err)
	}
	for _, loop := range looped {
		if err := enginetest.Outcome(t, "consume", loop); err != nil {
			t.Errorf("consume: %v", err)
		}
	}
	for _, e := range []*actors.Engine{one, two} {
		if n := e.Stats().Events["actor_stopped"]; n > 0 {
			t.Errorf("%d actors ended that were not to", n)
		}
	}
	if got := warnings.String(); got != "" {
		t.Errorf("the system's logger has\n%s", got)
	}
}

// stray is a message that no actor of ours knows.
type stray struct{}

// Promise: a user's message to an actor of ours that does not know it is a dead letter
// with its sender, whatever the actor.
func TestStrayMessagesAreDeadLetters(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := userSystem(t, nil)
	ctx := enginetest.Within(t)
	e := startIn(t, sys, s)
	enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
	topic, err := e.CreateTopic(ctx, "topic", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()}); err != nil {
		t.Fatal(err)
	}
	kinds := []string{"engineActor", "session", "callers", "guardian", "listener", "destination", "pipe", "link", "member", "source", "handler", "topic", "partition", "subscription", "consumer"}
	for _, kind := range kinds {
		enginetest.Until(t, "there is a "+kind, func() bool { return len(enginetest.ActorsOf(e, kind)) > 0 })
		to := sys.NewLocalPID(enginetest.ActorsOf(e, kind)[0].ID)
		from := sys.NewLocalPID("a user's")
		letters := make(chan *actor.DeadLetterEvent, 1)
		sub := sys.EventStream.Subscribe(func(event any) {
			if d, ok := event.(*actor.DeadLetterEvent); ok && d.Message == (stray{}) {
				letters <- d
			}
		})
		sys.Root.RequestWithCustomSender(to, stray{}, from)
		select {
		case d := <-letters:
			if !d.PID.Equal(to) || !from.Equal(d.Sender) {
				t.Errorf("%s: a dead letter to %s from %v", kind, d.PID.Id, d.Sender)
			}
		case <-ctx.Done():
			t.Fatalf("%s says nothing", kind)
		}
		sys.EventStream.Unsubscribe(sub)
	}
	if err := e.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// kin is a parent, or a receiver, that hands on what it is told.
type kin struct {
	children map[string]*actor.Props
	pids     chan map[string]*actor.PID
	told     chan any
}

func (k *kin) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		pids := make(map[string]*actor.PID)
		for name, props := range k.children {
			pids[name] = ctx.Spawn(props)
		}
		k.pids <- pids
	case *messages.Revoking:
		ctx.Respond(&messages.Released{})
	case *messages.Delivery:
		m.Ack()
		k.told <- m
	case *messages.RecordDelivery:
		m.Ack()
		k.told <- m
	case *messages.Registered, *messages.Joined, *messages.Opened, *messages.Subscribed, *messages.Assigned, *actor.Terminated:
		k.told <- m
	}
}

// Promise: while both faces start, work, rebalance, leave and stop in order, no message
// between actors of ours is a dead letter.
func TestOrderlyRunsHaveNoDeadLetters(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := userSystem(t, nil)
	ctx := enginetest.Within(t)
	var mu sync.Mutex
	letters := make(map[string]int)
	subscription := sys.EventStream.Subscribe(func(event any) {
		if d, ok := event.(*actor.DeadLetterEvent); ok {
			mu.Lock()
			defer mu.Unlock()
			letters[fmt.Sprintf("%T to %s from %v", d.Message, strings.TrimRight(d.PID.Id, "0123456789"), d.Sender)]++
		}
	})
	defer sys.EventStream.Unsubscribe(subscription)
	one, two := startIn(t, sys, s), startIn(t, sys, s)
	topic, err := one.CreateTopic(ctx, "audit", messages.TopicConfig{Partitions: 4}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}

	// The face of calls.
	d := enginetest.Register(t, one, senders.Config{})
	m, n := enginetest.Join(t, one, members.Config{}), enginetest.Join(t, two, members.Config{Group: "other"})
	var looped []<-chan error
	for _, m := range []*members.Member{m, n} {
		looped = append(looped, enginetest.Aside(func() error {
			return m.Consume(context.Background(), func(context.Context, messages.Delivery) error { return nil })
		}))
	}
	enginetest.Send(t, d, 10)
	if err := d.Flush(ctx); err != nil {
		t.Error(err)
	}
	handled := make(chan struct{}, 100)
	var subs []*groups.Subscription
	for _, e := range []*actors.Engine{one, two} { // the second one rebalances
		h, err := e.Topic(ctx, "audit", topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := h.Subscribe(ctx, groups.Config{Group: "billing", Start: messages.Earliest()})
		if err != nil {
			t.Fatal(err)
		}
		looped = append(looped, enginetest.Aside(func() error {
			return sub.Consume(context.Background(), func(context.Context, messages.Record) error {
				handled <- struct{}{}
				return nil
			})
		}))
		subs = append(subs, sub)
	}
	enginetest.Until(t, "both have partitions", func() bool { return len(subs[0].Partitions()) == 2 && len(subs[1].Partitions()) == 2 })
	for range 8 {
		if got := topic.Put(ctx, messages.Message{}); got.Err != nil {
			t.Fatal(got.Err)
		}
		enginetest.Await(t, "a record", handled)
	}

	// The face of actors.
	k := &kin{pids: make(chan map[string]*actor.PID, 1), told: make(chan any, 1000)}
	receiver := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &kin{pids: make(chan map[string]*actor.PID, 1), told: k.told} }))
	k.children = map[string]*actor.Props{
		"orders": one.Destination(actors.DestinationConfig{Name: "theirs"}),
		"paid":   two.Member(actors.MemberConfig{Destination: "theirs", Group: "paid"}, actors.Receiver{To: receiver}),
		"audit":  one.Producer("audit", nil, actors.ProducerConfig{}),
		"export": one.Subscription("audit", actors.SubscriptionConfig{Group: "export"}, actors.Receiver{To: receiver, AwaitReleased: true}),
		"again":  two.Subscription("audit", actors.SubscriptionConfig{Group: "export"}, actors.Receiver{To: receiver, AwaitReleased: true}),
	}
	parent := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return k }))
	pids := enginetest.Await(t, "the children", k.pids)
	for range 5 {
		enginetest.Await(t, "a child", k.told)
	}
	if got, err := supervisor.Ask[*messages.Published](ctx, sys, pids["orders"], &messages.Publish{Messages: make([]messages.Message, 10)}); err != nil || got.Err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := supervisor.Ask[*messages.PutDone](ctx, sys, pids["audit"], &messages.Put{Messages: make([]messages.Message, 10)}); err != nil || got.Err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := supervisor.Ask[*messages.Flushed](ctx, sys, pids["orders"], &messages.Flush{}); err != nil {
		t.Error(err)
	}
	if _, err := supervisor.Ask[*messages.Left](ctx, sys, pids["again"], &messages.Leave{}); err != nil {
		t.Error(err)
	}
	for ended := false; !ended; { // or its parent would stop who is no more
		_, ended = enginetest.Await(t, "the end of who left", k.told).(*actor.Terminated)
	}

	// The ends.
	for what, end := range map[string]func() error{
		"unsubscribe": func() error { return subs[0].Unsubscribe(ctx) },
		"close":       func() error { return topic.Close(ctx) },
		"leave":       func() error { return m.Leave(ctx) },
		"parent":      func() error { return supervisor.Stop(ctx, sys, parent) },
	} {
		if err := end(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, e := range []*actors.Engine{one, two} {
		if err := e.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	for _, loop := range looped {
		if err := enginetest.Outcome(t, "consume", loop); err != nil {
			t.Errorf("consume: %v", err)
		}
	}
	if err := supervisor.Stop(ctx, sys, receiver); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for what, n := range letters {
		t.Errorf("%d times: %s", n, what)
	}
}
