package groups_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

// Promise: each record is moved once by members that transact, while their actors fail,
// members come and leave, and commits are made beside.
func TestTransactionsBesideCrashes(t *testing.T) {
	const records, partitions = 120, 3
	ctx := enginetest.Within(t)
	space := enginetest.NewSpace(t)
	e := space.Begin(t)
	open := func(name string, partitions int, p topics.Partitioner) *topics.Topic {
		topic, err := e.CreateTopic(ctx, name, messages.TopicConfig{Partitions: partitions}, topics.ProducerConfig{Partitioner: p})
		if err != nil {
			t.Fatal(err)
		}
		return topic
	}
	in, out := open("incoming", partitions, topics.RoundRobin()), open("outgoing", 1, topics.ByKey())
	join := func(topic, out *topics.Topic) (*groups.Subscription, <-chan error) {
		move := func(tx *groups.Tx, recs []messages.Record) error {
			for _, r := range recs {
				out.PutIn(tx, []messages.Message{{Value: r.Value}})
			}
			return nil
		}
		sub, err := topic.Subscribe(ctx, groups.Config{Group: "movers"})
		if err != nil {
			t.Fatal(err)
		}
		return sub, enginetest.Aside(func() error { return sub.ConsumeTx(ctx, 3, move) })
	}
	sub, moving := join(in, out)
	arrived := make(chan string, records)
	reading, stop := context.WithCancel(ctx)
	read := enginetest.Aside(func() error {
		for r, err := range out.Read(reading, 0, messages.Earliest()) {
			if err != nil {
				return nil
			}
			arrived <- string(r.Value)
		}
		return nil
	})
	var second *groups.Subscription
	var secondMoving <-chan error
	var got []string
	for i := range records {
		if r := in.Put(ctx, messages.Message{Value: strconv.AppendInt(nil, int64(i), 10)}); r.Err != nil {
			t.Fatal(r.Err)
		}
		switch i {
		case 20, 50:
			enginetest.CrashAll(t, e, "subscription")
		case 30, 60:
			enginetest.CrashAll(t, e, "partition")
		case 40, 70:
			enginetest.CrashAll(t, e, "consumer")
		case 80:
			other := space.Begin(t)
			open := func(name string) *topics.Topic {
				topic, err := other.Topic(ctx, name, topics.ProducerConfig{})
				if err != nil {
					t.Fatal(err)
				}
				return topic
			}
			theirs := open("outgoing")
			second, secondMoving = join(open("incoming"), theirs)
			if err := e.Transact(ctx, func(tx *groups.Tx) error { theirs.PutIn(tx, []messages.Message{{}}); return nil }); !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("a topic of another runtime: %v", err)
			}
		case 100:
			if err := second.Unsubscribe(ctx); err != nil {
				t.Error(err)
			}
			if err := enginetest.Outcome(t, "the second member", secondMoving); err != nil {
				t.Error(err)
			}
		}
	}
	for range records {
		select {
		case v := <-arrived:
			got = append(got, v)
		case <-ctx.Done():
			t.Fatalf("only %d records arrived", len(got))
		}
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		t.Error(err)
	}
	if err := enginetest.Outcome(t, "the first member", moving); err != nil {
		t.Error(err)
	}
	stop()
	_ = enginetest.Outcome(t, "the read", read)
	close(arrived)
	for v := range arrived {
		t.Errorf("record %s arrived again", v)
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != records {
		t.Errorf("%d different records arrived", n)
	}
	g, err := e.DescribeConsumerGroup(ctx, "incoming", "movers")
	if err != nil || g.Lag != 0 {
		t.Errorf("the group lags: %+v, %v", g, err)
	}
	for _, p := range g.Partitions {
		if p.Committed != p.End {
			t.Error(fmt.Sprint(p))
		}
	}
}
