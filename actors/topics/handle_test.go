package topics_test

// What a handle does on its own; records that survive failures are tests of package
// penstocktest/faults/topics.

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
)

func create(t *testing.T, e *actors.Engine, partitions int) *topics.Topic {
	t.Helper()
	topic, err := e.CreateTopic(enginetest.Within(t), "orders", messages.TopicConfig{Partitions: partitions}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func put(t *testing.T, topic *topics.Topic, values ...string) {
	t.Helper()
	for _, v := range values {
		if r := topic.PutTo(enginetest.Within(t), 0, messages.Message{Value: []byte(v)}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// firstRead returns what a read yields first.
func firstRead(ctx context.Context, topic *topics.Topic, partition int, from messages.Start) (messages.Record, error) {
	for r, err := range topic.Read(ctx, partition, from) {
		return r, err
	}
	return messages.Record{}, errors.New("the read yields nothing")
}

// Promise: a topic has one actor here, whoever holds it, and ends with the last
// handle.
func TestHandlesShareATopic(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	first := create(t, e, 1)
	second, err := e.Topic(ctx, "orders", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if !first.PID().Equal(second.PID()) {
		t.Errorf("they have %s and %s", first.PID(), second.PID())
	}
	for range 2 { // again, it is nothing
		if err := first.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	put(t, second, "x")
	if r := first.Put(ctx, messages.Message{}); !errors.Is(r.Err, messages.ErrClosed) {
		t.Errorf("a put with a closed handle: %v", r.Err)
	}
	if _, err := firstRead(ctx, first, 0, messages.Earliest()); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("a read with a closed handle: %v", err)
	}
	if n := len(enginetest.ActorsOf(e, "topic")); n != 1 {
		t.Errorf("%d actors of it", n)
	}
	if err := second.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	enginetest.Until(t, "the topic has ended", func() bool { return len(enginetest.ActorsOf(e, "topic")) == 0 })
}

// Promise: Read yields the records from a place on, in order, and waits for more.
func TestRead(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic := create(t, e, 1)
	if _, err := topic.PutBatch(ctx, []messages.Message{{Value: []byte("0")}, {Value: []byte("1")}, {Value: []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	for _, from := range []struct {
		start messages.Start
		first int64
	}{{messages.Earliest(), 0}, {messages.AtOffset(2), 2}} {
		next := from.first
		for r, err := range topic.Read(ctx, 0, from.start) {
			if err != nil || r.Offset != next || string(r.Value) != fmt.Sprint(next) || r.Topic != "orders" || r.Partition != 0 {
				t.Fatalf("from %v came %+v, %v, want offset %d", from.start, r, err, next)
			}
			if next++; next == 3 {
				break
			}
		}
		if next != 3 {
			t.Errorf("from %v the read ended before offset %d", from.start, next)
		}
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	news := make(chan messages.Record, 10)
	over := enginetest.Aside(func() error {
		for r, err := range topic.Read(reading, 0, messages.AtOffset(3)) {
			if err != nil {
				return err
			}
			news <- r
		}
		return nil
	})
	put(t, topic, "3")
	if r := enginetest.Await(t, "the news", news); r.Offset != 3 {
		t.Errorf("then came %+v", r)
	}
	stop()
	if err := enginetest.Outcome(t, "the read", over); !errors.Is(err, context.Canceled) {
		t.Errorf("the read ended with %v", err)
	}
	if _, err := firstRead(ctx, topic, 1, messages.Earliest()); !errors.Is(err, messages.ErrNoPartition) {
		t.Errorf("a partition too high: %v", err)
	}
}

// Promise: what is deleted has ended for whoever holds it. A topic that is made under
// its name is another one.
func TestDeletedTopic(t *testing.T) {
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	e, other := s.Begin(t), s.Begin(t)
	old := create(t, e, 1)
	came := make(chan struct{}, 1)
	reading := enginetest.Aside(func() error {
		for _, err := range old.Read(ctx, 0, messages.Earliest()) {
			if err != nil {
				return err
			}
			came <- struct{}{}
		}
		return nil
	})
	putter, err := other.Topic(ctx, "orders", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, putter, "0")
	enginetest.Await(t, "the record: the reader follows the topic", came)
	if err := e.DeleteTopic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := enginetest.Outcome(t, "the read", reading); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("who reads is told %v", err)
	}
	enginetest.Until(t, "it is known here", func() bool { return old.Ended() != nil })
	if r := old.Put(ctx, messages.Message{}); !errors.Is(r.Err, messages.ErrTopicDeleted) {
		t.Errorf("who puts is told %v", r.Err)
	}
	if _, err := e.Topic(ctx, "orders", topics.ProducerConfig{}); !errors.Is(err, messages.ErrNoTopic) {
		t.Errorf("who opens it is told %v", err)
	}
	again := create(t, e, 1)
	if again.Info().ID == old.Info().ID {
		t.Error("it is the same topic")
	}
	put(t, again, "new")
	if r, err := firstRead(ctx, again, 0, messages.Earliest()); err != nil || string(r.Value) != "new" || r.Offset != 0 {
		t.Errorf("it holds %+v, %v", r, err)
	}
	if _, err := old.OpenAgain(ctx, topics.ProducerConfig{}); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("who opens the old one is told %v", err)
	}
}

// Promise: EnsureTopic makes a topic once, however many call it at a time.
func TestEnsureTopic(t *testing.T) {
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	engines := []*actors.Engine{s.Begin(t), s.Begin(t)}
	ids := make(chan string, 8)
	var all []<-chan error
	for i := range cap(ids) {
		all = append(all, enginetest.Aside(func() error {
			topic, err := engines[i%2].EnsureTopic(ctx, "orders", messages.TopicConfig{}, topics.ProducerConfig{})
			if err == nil {
				ids <- topic.Info().ID
			}
			return err
		}))
	}
	for _, one := range all {
		if err := enginetest.Outcome(t, "ensure", one); err != nil {
			t.Fatal(err)
		}
	}
	id := <-ids
	for range cap(ids) - 1 {
		if other := <-ids; other != id {
			t.Errorf("there are topics %s and %s", id, other)
		}
	}
	if n := engines[0].Stats().Events["topic_created"] + engines[1].Stats().Events["topic_created"]; n != 1 {
		t.Errorf("it was created %d times", n)
	}
}

// Promise: a runtime that was stopped does no administration.
func TestAdministrationAfterStop(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	create(t, e, 1)
	if err := e.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"create": func() error {
			_, err := e.CreateTopic(ctx, "other", messages.TopicConfig{}, topics.ProducerConfig{})
			return err
		},
		"open":     func() error { _, err := e.Topic(ctx, "orders", topics.ProducerConfig{}); return err },
		"list":     func() error { _, err := e.ListTopics(ctx); return err },
		"describe": func() error { _, err := e.DescribeTopic(ctx, "orders"); return err },
		"update":   func() error { _, err := e.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: 2}); return err },
		"delete":   func() error { return e.DeleteTopic(ctx, "orders") },
		"groups":   func() error { _, err := e.ListConsumerGroups(ctx, "orders"); return err },
		"reset": func() error {
			_, err := e.ResetOffsets(ctx, "orders", "billing", messages.Earliest(), topics.ResetConfig{})
			return err
		},
	} {
		if err := call(); !errors.Is(err, messages.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
