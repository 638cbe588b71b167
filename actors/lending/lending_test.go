package lending_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

const theTopic, theGroup = "work", "workers"

// crew is a topic with one partition, and who has handled what of it.
type crew struct {
	space  enginetest.Space
	engine *actors.Engine
	topic  *actors.Topic

	mu   sync.Mutex
	did  map[int64][]string // who handled a record to its end, by offset
	news chan struct{}
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	c := &crew{space: enginetest.NewSpace(t), did: make(map[int64][]string), news: make(chan struct{}, 1)}
	c.engine = c.space.Begin(t)
	c.topic = c.open(t, c.engine)
	return c
}

// open opens the topic in an engine.
func (c *crew) open(t *testing.T, e *actors.Engine) *actors.Topic {
	t.Helper()
	topic, err := e.EnsureTopic(enginetest.Within(t), theTopic, messages.TopicConfig{}, actors.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// subscribe begins an engine that is a member.
func (c *crew) subscribe(t *testing.T, name string, set ...func(*actors.SubscriptionConfig)) *actors.Subscription {
	t.Helper()
	sub, err := c.try(t, c.open(t, c.space.Begin(t)), name, set...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func (c *crew) try(t *testing.T, topic *actors.Topic, name string, set ...func(*actors.SubscriptionConfig)) (*actors.Subscription, error) {
	cfg := actors.SubscriptionConfig{Group: theGroup, ID: name, Shared: true, CommitEvery: 20 * time.Millisecond}
	for _, f := range set {
		f(&cfg)
	}
	return topic.Subscribe(enginetest.Within(t), cfg)
}

func (c *crew) put(t *testing.T, keys ...string) {
	t.Helper()
	batch := make([]messages.Message, len(keys))
	for i, key := range keys {
		batch[i] = messages.Message{Key: []byte(key), Value: fmt.Append(nil, "value ", i), Headers: []messages.Header{{Name: "n", Value: fmt.Append(nil, i)}}}
	}
	if results, err := c.topic.PutBatch(enginetest.Within(t), batch); err != nil {
		t.Fatal(err, results)
	}
}

// consume has sub handle records aside, until the test ends.
func (c *crew) consume(t *testing.T, sub *actors.Subscription, handle func(context.Context, messages.Record) error) <-chan error {
	t.Helper()
	return enginetest.Aside(func() error {
		return sub.Consume(context.Background(), func(ctx context.Context, r messages.Record) error {
			if handle != nil {
				if err := handle(ctx, r); err != nil {
					return err
				}
			}
			c.handled(sub.ID(), r.Offset)
			return nil
		})
	})
}

func (c *crew) handled(who string, offset int64) {
	c.mu.Lock()
	c.did[offset] = append(c.did[offset], who)
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// until waits until n records are handled.
func (c *crew) until(t *testing.T, n int) {
	t.Helper()
	enginetest.Until(t, fmt.Sprintf("%d records are handled", n), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.did) >= n
	})
}

// once fails unless each of the first n records was handled once, and returns how many each
// member has handled.
func (c *crew) once(t *testing.T, n int) map[string]int {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	shares := make(map[string]int)
	for offset := range int64(n) {
		if who := c.did[offset]; len(who) != 1 {
			t.Errorf("record %d was handled by %q", offset, who)
		}
		for _, who := range c.did[offset] {
			shares[who]++
		}
	}
	return shares
}

func (c *crew) committed(t *testing.T, n int64) {
	t.Helper()
	enginetest.Until(t, fmt.Sprintf("offset %d is committed", n), func() bool {
		g, err := c.engine.DescribeConsumerGroup(enginetest.Within(t), theTopic, theGroup)
		return err == nil && len(g.Partitions) == 1 && g.Partitions[0].Committed == n
	})
}

func unkeyed(n int) []string { return make([]string, n) }

// Promise: members of a shared group that own no partition handle records of it, as they
// were put, and the owner commits what they have finished. What leaves in order repeats
// nothing.
func TestMembersWithoutPartitionsHandleRecords(t *testing.T) {
	const records = 400
	c := newCrew(t)
	var wrong sync.Map
	check := func(_ context.Context, r messages.Record) error {
		time.Sleep(time.Millisecond) // no member can have all
		n, _ := r.Header("n")
		if r.Topic != theTopic || r.Partition != 0 || r.Fence == 0 || r.Attempt != 1 || r.Deaths != 0 ||
			string(r.Value) != "value "+string(n) || string(n) != fmt.Sprint(r.Offset) || r.UnixNano == 0 {
			wrong.Store(r.Offset, fmt.Sprintf("%+v", r))
		}
		r.InProgress()
		return nil
	}
	subs := []*actors.Subscription{c.subscribe(t, "one"), c.subscribe(t, "two"), c.subscribe(t, "three")}
	var ends []<-chan error
	for _, sub := range subs {
		ends = append(ends, c.consume(t, sub, check))
	}
	c.put(t, unkeyed(records)...)
	c.until(t, records)
	c.committed(t, records)
	shares := c.once(t, records)
	for _, sub := range subs {
		if shares[sub.ID()] == 0 {
			t.Errorf("%s has handled nothing: %v", sub.ID(), shares)
		}
	}
	wrong.Range(func(_, r any) bool {
		t.Errorf("record %s", r)
		return true
	})
	for i, sub := range subs {
		if err := sub.Unsubscribe(enginetest.Within(t)); err != nil {
			t.Errorf("%s: %v", sub.ID(), err)
		}
		if err := enginetest.Outcome(t, "Consume", ends[i]); err != nil {
			t.Errorf("%s: consume: %v", sub.ID(), err)
		}
	}
}

// Promise: all members of a group are shared, or none.
func TestSharedIsOfTheWholeGroup(t *testing.T) {
	c := newCrew(t)
	sub := c.subscribe(t, "one")
	if _, err := c.try(t, c.topic, "two", func(s *actors.SubscriptionConfig) { s.Shared = false }); !errors.Is(err, messages.ErrGroupMode) {
		t.Errorf("a member that is not shared: %v", err)
	}
	if err := sub.Unsubscribe(enginetest.Within(t)); err != nil {
		t.Error(err)
	}
}
