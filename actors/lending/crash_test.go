package lending_test

// Promise: a bug in an actor that lends or borrows loses no record, leaves nobody waiting,
// and leaves nothing behind in etcd.

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

func TestActorsThatLendCrash(t *testing.T) {
	for _, kind := range []string{"subscription", "consumer", "destination", "pipe", "link", "member", "source"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			crashes(t, kind)
		})
	}
}

// crashes crashes actors of a kind while three subscriptions in two processes handle
// records, and has all end in order.
func crashes(t *testing.T, kind string) {
	c := &crew{space: enginetest.NewSpace(t), did: make(map[int64][]string), news: make(chan struct{}, 1)}
	c.engine = c.space.Begin(t)
	topic, err := c.engine.EnsureTopic(enginetest.Within(t), theTopic, messages.TopicConfig{Partitions: 4}, actors.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c.topic = topic
	one, two := c.space.Begin(t), c.space.Begin(t)
	var handled atomic.Int64
	var ends []<-chan error
	var subs []*actors.Subscription
	for name, e := range map[string]*actors.Engine{"one": one, "also one": one, "two": two} {
		sub, err := c.try(t, c.open(t, e), strings.ReplaceAll(name, " ", "-"))
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
		ends = append(ends, enginetest.Aside(func() error {
			return sub.Consume(context.Background(), func(context.Context, messages.Record) error {
				time.Sleep(time.Millisecond)
				handled.Add(1)
				return nil
			})
		}))
	}
	total, crashed := 0, 0
	put := func(n int) {
		total += n
		c.put(t, unkeyed(n)...)
	}
	done := func() {
		t.Helper()
		enginetest.Until(t, fmt.Sprintf("%d records are committed", total), func() bool {
			g, err := c.engine.DescribeConsumerGroup(enginetest.Within(t), theTopic, theGroup)
			if err != nil {
				return false
			}
			sum := 0
			for _, p := range g.Partitions {
				sum += int(max(p.Committed, 0))
			}
			return sum == total
		})
	}
	for range 2 {
		put(300)
		at := handled.Load()
		enginetest.Until(t, "records flow", func() bool { return handled.Load() > at+20 })
		for _, e := range []*actors.Engine{one, two} {
			crashed += len(enginetest.Crash(e, kind))
		}
		done()
	}
	if crashed == 0 {
		t.Fatalf("there is no %s to crash", kind)
	}
	put(100)
	done()
	for i, sub := range subs {
		if err := sub.Unsubscribe(enginetest.Within(t)); err != nil {
			t.Errorf("%s: %v", sub.ID(), err)
		}
		if err := enginetest.Outcome(t, "Consume", ends[i]); err != nil {
			t.Errorf("%s: consume: %v", sub.ID(), err)
		}
	}
	client := c.space.Client(t)
	enginetest.Until(t, "what was lent over is gone from etcd", func() bool {
		left := c.space.With(t, client, "~")
		for _, key := range left {
			if !strings.Contains(key, "/groups/") {
				return false
			}
		}
		return true
	})
}
