package topics_test

// Bad input to topics, and handles of what is gone. Promise: each is a typed
// error, at the call, that names what was wrong.

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func TestBadInputIsRefusedAtTheCall(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	topic := makeTopic(t, rt, theTopic, 4)
	small, err := rt.CreateTopic(ctx, "small", penstock.TopicConfig{MaxRecordBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	astray, err := rt.Topic(ctx, theTopic, penstock.PartitionBy(penstock.Manual(func(*penstock.Message, int) int { return 99 })))
	if err != nil {
		t.Fatal(err)
	}
	newAccount().put(t, topic, 0, 40)
	auto := subscribe(t, topic, "auto")
	manual, err := topic.SubscribePartitions(ctx, "manual", []int{0})
	if err != nil {
		t.Fatal(err)
	}

	create := func(name string, cfg penstock.TopicConfig) func() error {
		return func() error { _, err := rt.CreateTopic(ctx, name, cfg); return err }
	}
	ensure := func(name string, cfg penstock.TopicConfig) func() error {
		return func() error { _, err := rt.EnsureTopic(ctx, name, cfg); return err }
	}
	open := func(name string, opts ...penstock.ProducerOption) func() error {
		return func() error { _, err := rt.Topic(ctx, name, opts...); return err }
	}
	update := func(name string, u penstock.TopicUpdate) func() error {
		return func() error { _, err := rt.UpdateTopic(ctx, name, u); return err }
	}
	putTo := func(topic *penstock.Topic, p int, m penstock.Message) func() error {
		return func() error { _, err := topic.PutTo(ctx, p, m); return err }
	}
	put := func(topic *penstock.Topic, m penstock.Message) func() error {
		return func() error { _, _, err := topic.Put(ctx, m); return err }
	}
	read := func(p int, from penstock.StartAt) func() error {
		return func() error {
			for _, err := range topic.Read(ctx, p, from) {
				return err
			}
			return nil
		}
	}
	sub := func(group string, opts ...penstock.SubscribeOption) func() error {
		return func() error { _, err := topic.Subscribe(ctx, group, opts...); return err }
	}
	subTo := func(group string, partitions ...int) func() error {
		return func() error { _, err := topic.SubscribePartitions(ctx, group, partitions); return err }
	}
	reset := func(topic, group string, to penstock.StartAt, opts ...penstock.ResetOption) func() error {
		return func() error { _, err := rt.ResetOffsets(ctx, topic, group, to, opts...); return err }
	}
	value := func(n int) penstock.Message { return penstock.Message{Value: make([]byte, n)} }

	for _, c := range []struct {
		name  string
		call  func() error
		want  error
		names string // what the error must name
	}{
		{"short name", create("ab", penstock.TopicConfig{}), penstock.ErrInvalid, `"ab"`},
		{"empty name", create("", penstock.TopicConfig{}), penstock.ErrInvalid, `""`},
		{"name with a slash", create("a/b/c", penstock.TopicConfig{}), penstock.ErrInvalid, `"a/b/c"`},
		{"name that is not ASCII", ensure("bücher", penstock.TopicConfig{}), penstock.ErrInvalid, "bücher"},
		{"long name", open(strings.Repeat("x", 129)), penstock.ErrInvalid, "129"},
		{"less than no partition", create("orders", penstock.TopicConfig{Partitions: -1}), penstock.ErrInvalid, "-1"},
		{"too many partitions", create("orders", penstock.TopicConfig{Partitions: 1025}), penstock.ErrInvalid, "1025"},
		{"too many to ensure", ensure("orders", penstock.TopicConfig{Partitions: 1025}), penstock.ErrInvalid, "1025"},
		{"unknown compression", create("orders", penstock.TopicConfig{Compression: "rar"}), penstock.ErrInvalid, `"rar"`},
		{"record limit over the largest", create("orders", penstock.TopicConfig{MaxRecordBytes: 1<<20 + 1}), penstock.ErrInvalid, "1048577"},
		{"a topic that exists", create(theTopic, penstock.TopicConfig{}), penstock.ErrTopicExists, theTopic},
		{"buffer that holds no record", open(theTopic, penstock.MaxBuffer(1000)), penstock.ErrInvalid, "1000"},

		{"open what is not", open("nowhere"), penstock.ErrNoTopic, "nowhere"},
		{"update what is not", update("nowhere", penstock.TopicUpdate{Partitions: 2}), penstock.ErrNoTopic, "nowhere"},
		{"describe what is not", func() error { _, err := rt.DescribeTopic(ctx, "nowhere"); return err }, penstock.ErrNoTopic, "nowhere"},
		{"delete what is not", func() error { return rt.DeleteTopic(ctx, "nowhere") }, penstock.ErrNoTopic, "nowhere"},
		{"groups of what is not", func() error { _, err := rt.ListConsumerGroups(ctx, "nowhere"); return err }, penstock.ErrNoTopic, "nowhere"},
		{"group of what is not", func() error { _, err := rt.DescribeConsumerGroup(ctx, "nowhere", "g"); return err }, penstock.ErrNoTopic, "nowhere"},
		{"a group that is not", func() error { _, err := rt.DescribeConsumerGroup(ctx, theTopic, "nobody"); return err }, penstock.ErrNoGroup, "nobody"},
		{"reset of what is not", reset("nowhere", "g", penstock.FromEarliest()), penstock.ErrNoTopic, "nowhere"},
		{"fewer partitions", update(theTopic, penstock.TopicUpdate{Partitions: 3}), penstock.ErrInvalid, "3"},
		{"more partitions than there can be", update(theTopic, penstock.TopicUpdate{Partitions: 1025}), penstock.ErrInvalid, "1025"},

		{"put to a partition that is not", putTo(topic, 4, harness.Numbered(1)), penstock.ErrNoPartition, "4"},
		{"put to partition -1", putTo(topic, -1, harness.Numbered(1)), penstock.ErrNoPartition, "-1"},
		{"a partitioner's wrong answer", put(astray, harness.Numbered(1)), penstock.ErrNoPartition, "99"},
		{"a record over the limit", put(topic, value(1<<20+1)), penstock.ErrTooLarge, "1048576"},
		{"a record over the topic's limit", put(small, value(1001)), penstock.ErrTooLarge, "1000"},
		{"a header name that is not UTF-8", put(topic, penstock.Message{Headers: []penstock.Header{{Name: "\xff"}}}), penstock.ErrInvalid, ""},
		{"one of a batch", func() error {
			results, err := small.PutBatch(ctx, []penstock.Message{value(10), value(1001), value(10)})
			if len(results) != 3 || results[0].Err != nil || !errors.Is(results[1].Err, penstock.ErrTooLarge) || results[2].Err != nil {
				t.Errorf("the results are %+v: only the second is too large", results)
			}
			return err
		}, penstock.ErrTooLarge, "1000"},
		{"asynchronously", func() error { return small.PutAsync(ctx, value(1001), nil) }, penstock.ErrTooLarge, "1000"},

		{"read a partition that is not", read(4, penstock.FromEarliest()), penstock.ErrNoPartition, "4"},
		{"read past the end", read(0, penstock.FromOffset(1000)), penstock.ErrOffsetOutOfRange, "1000"},
		{"a negative offset", read(0, penstock.FromOffset(-1)), penstock.ErrOffsetOutOfRange, "-1"},

		{"group", sub("g g"), penstock.ErrInvalid, `"g g"`},
		{"empty group", sub(""), penstock.ErrInvalid, "group"},
		{"commit all the time", sub("g", penstock.CommitEvery(time.Millisecond)), penstock.ErrInvalid, "1ms"},
		{"partitions at once", sub("g", penstock.PartitionsAtOnce(-1)), penstock.ErrInvalid, "-1"},
		{"fetch nothing", sub("g", penstock.MaxFetched(-1)), penstock.ErrInvalid, "-1"},
		{"revoke at once", sub("g", penstock.RevokeTimeout(time.Millisecond)), penstock.ErrInvalid, "1ms"},
		{"attempts without dead letters", sub("g", penstock.RecordDeadLetters(3, nil)), penstock.ErrInvalid, "3"},
		{"delay that shrinks", sub("g", penstock.RecordRetry(time.Minute, time.Second)), penstock.ErrInvalid, "1m0s"},
		{"no partition named", subTo("g"), penstock.ErrInvalid, "partitions"},
		{"a partition that is not", subTo("g", 0, 7), penstock.ErrNoPartition, "7"},
		{"an automatic group by hand", subTo("auto", 1), penstock.ErrGroupMode, "auto"},
		{"a manual group automatically", sub("manual"), penstock.ErrGroupMode, "manual"},

		{"seek in a partition that is not", func() error { return auto.Seek(ctx, 4, penstock.FromEarliest()) }, penstock.ErrNoPartition, "4"},
		{"seek in another's partition", func() error { return manual.Seek(ctx, 1, penstock.FromEarliest()) }, penstock.ErrFenced, "1"},
		{"seek past the end", func() error { return auto.Seek(ctx, 0, penstock.FromOffset(1000)) }, penstock.ErrOffsetOutOfRange, "1000"},
		{"reset a live group", reset(theTopic, "auto", penstock.FromEarliest()), penstock.ErrGroupLive, "auto"},
		{"reset past the end", reset(theTopic, "auto", penstock.FromOffset(1000), penstock.Force()), penstock.ErrOffsetOutOfRange, "1000"},
		{"reset a partition that is not", reset(theTopic, "auto", penstock.FromEarliest(), penstock.OnlyPartitions(4)), penstock.ErrNoPartition, "4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := harness.Within(t, harness.Soon, "the call", c.call)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.names) {
				t.Errorf("%q does not name %s", err, c.names)
			}
		})
	}
	// And nothing was done: the topics and their records are as they were.
	all, err := rt.ListTopics(ctx)
	if err != nil || len(all) != 2 || all[0].Name != theTopic || all[0].Config.Partitions != 4 {
		t.Errorf("the topics are %+v, %v", all, err)
	}
	d, err := rt.DescribeTopic(ctx, theTopic)
	if err != nil {
		t.Fatal(err)
	}
	var records int64
	for _, p := range d.Partitions {
		records += p.End
	}
	if records != 40 || len(d.Groups) != 2 {
		t.Errorf("%d records and %d groups, want 40 and 2", records, len(d.Groups))
	}
}

// Promise: a second loop, or Poll, on one subscription is ErrBusy.
func TestBadInputTwoReaders(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 1)
	s := subscribe(t, topic, theGroup)
	for range s.Records(harness.Context(t)) {
		if _, err := s.Poll(harness.Context(t), 1); !errors.Is(err, penstock.ErrBusy) {
			t.Errorf("poll in a loop: %v, want ErrBusy", err)
		}
		for _, err := range s.Records(harness.Context(t)) {
			if !errors.Is(err, penstock.ErrBusy) {
				t.Errorf("a loop in a loop: %v, want ErrBusy", err)
			}
		}
		if err := s.Consume(harness.Context(t), func(context.Context, penstock.Record) error { return nil }); !errors.Is(err, penstock.ErrBusy) {
			t.Errorf("consume in a loop: %v, want ErrBusy", err)
		}
		break
	}
}

// Promise: a batch over etcd's request limit is split, not refused, and so is
// one of more records than a batch may have.
func TestBadInputLargeBatchIsSplit(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	for _, shape := range []struct{ records, bytes int }{{64, 100 << 10}, {3, 1<<20 - 100}, {40_000, 0}} {
		var msgs []penstock.Message
		for id := range shape.records {
			m := harness.Numbered(id)
			m.Key = make([]byte, shape.bytes)
			rand.Read(m.Key) // so that it does not compress
			msgs = append(msgs, m)
		}
		results, err := topic.PutBatch(harness.Context(t), msgs)
		if err != nil {
			t.Fatalf("%d records of %d bytes: %v", shape.records, shape.bytes, err)
		}
		next := results[0].Offset
		for i, r := range results {
			if r.Offset != next {
				t.Fatalf("%d records of %d bytes: record %d is at %d, want %d: their order must stay", shape.records, shape.bytes, i, r.Offset, next)
			}
			next++
		}
		i := 0
		for rec, err := range topic.Read(harness.Context(t), 0, penstock.FromOffset(results[0].Offset)) {
			if err != nil {
				t.Fatal(err)
			}
			if string(rec.Value) != string(msgs[i].Value) || string(rec.Key) != string(msgs[i].Key) {
				t.Fatalf("%d records of %d bytes: record %d has other bytes", shape.records, shape.bytes, i)
			}
			if i++; i == len(msgs) {
				break
			}
		}
	}
}

// Promise: a handle of a runtime that has stopped returns ErrClosed, at once.
func TestBadInputClosedHandles(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 2)
	newAccount().put(t, topic, 0, 10)
	left, stays := subscribe(t, topic, "left"), subscribe(t, topic, "stays")
	looped := make(chan error, 1)
	go func() {
		for _, err := range stays.Records(context.Background()) {
			if err != nil {
				looped <- err
				return
			}
		}
		looped <- nil
	}()
	ctx := harness.Context(t)
	unsubscribe(t, left)
	check := func(t *testing.T, what string, call func() error) {
		t.Helper()
		if err := harness.Within(t, harness.Soon, what, call); !errors.Is(err, penstock.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	subscription := func(t *testing.T, s *penstock.Subscription) {
		t.Helper()
		check(t, "Poll", func() error { _, err := s.Poll(ctx, 1); return err })
		check(t, "Commit", func() error { return s.Commit(ctx) })
		check(t, "CommitAsync", func() error {
			done := make(chan error, 1)
			s.CommitAsync(func(err error) { done <- err })
			return <-done
		})
		check(t, "Seek", func() error { return s.Seek(ctx, 0, penstock.FromEarliest()) })
		silent := harness.Within(t, harness.Soon, "Records", func() error {
			for _, err := range s.Records(ctx) {
				return errors.Join(err, errors.New("something came"))
			}
			return nil
		})
		if silent != nil {
			t.Errorf("Records must end silently: %v", silent)
		}
		if err := harness.Within(t, harness.Soon, "Unsubscribe", func() error { return s.Unsubscribe(ctx) }); err != nil {
			t.Errorf("a second Unsubscribe does nothing: %v", err)
		}
		s.Pause()
		s.Resume()
		if owned := s.Partitions(); len(owned) != 0 {
			t.Errorf("it owns %v", owned)
		}
	}
	subscription(t, left)
	if err := harness.Within(t, harness.Patience, "Stop", func() error { return rt.Stop(ctx) }); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t, "the loop's end", looped); err != nil {
		t.Errorf("the loop must end silently: %v", err)
	}
	subscription(t, stays)
	check(t, "Put", func() error { _, _, err := topic.Put(ctx, harness.Numbered(1)); return err })
	check(t, "PutTo", func() error { _, err := topic.PutTo(ctx, 0, harness.Numbered(1)); return err })
	check(t, "PutBatch", func() error {
		results, err := topic.PutBatch(ctx, []penstock.Message{harness.Numbered(1), harness.Numbered(2)})
		if len(results) != 2 {
			t.Errorf("%d results of 2", len(results))
		}
		return err
	})
	check(t, "PutAsync", func() error {
		return topic.PutAsync(ctx, harness.Numbered(1), func(penstock.PutResult) { t.Error("done was called as well") })
	})
	check(t, "Read", func() error {
		for _, err := range topic.Read(ctx, 0, penstock.FromEarliest()) {
			return err
		}
		return nil
	})
	check(t, "Subscribe", func() error { _, err := topic.Subscribe(ctx, "g"); return err })
	check(t, "SubscribePartitions", func() error { _, err := topic.SubscribePartitions(ctx, "g", []int{0}); return err })
	check(t, "CreateTopic", func() error { _, err := rt.CreateTopic(ctx, "another", penstock.TopicConfig{}); return err })
	check(t, "EnsureTopic", func() error { _, err := rt.EnsureTopic(ctx, theTopic, penstock.TopicConfig{}); return err })
	check(t, "Topic", func() error { _, err := rt.Topic(ctx, theTopic); return err })
	check(t, "ListTopics", func() error { _, err := rt.ListTopics(ctx); return err })
	check(t, "DescribeTopic", func() error { _, err := rt.DescribeTopic(ctx, theTopic); return err })
	check(t, "DeleteTopic", func() error { return rt.DeleteTopic(ctx, theTopic) })
}

// Promise: handles of a deleted topic fail typed, in whatever runtime they are,
// and a topic of the same name is a new one.
func TestBadInputDeletedTopic(t *testing.T) {
	ns := penstocktest.Space(t)
	here, there := harness.Runtime(t, ns), harness.Runtime(t, ns)
	ctx := harness.Context(t)
	old := makeTopic(t, here, theTopic, 2)
	handles := []*penstock.Topic{old, openTopic(t, there, theTopic)}
	newAccount().put(t, old, 0, 10)
	ended := make(chan error, 2*len(handles))
	for _, h := range handles {
		s := subscribe(t, h, theGroup)
		go func() {
			for _, err := range s.Records(ctx) {
				if err != nil {
					ended <- err
					return
				}
			}
			ended <- errors.New("no error came last")
		}()
		go func() {
			for _, err := range h.Read(ctx, 0, penstock.FromEarliest()) {
				if err != nil {
					ended <- err
					return
				}
			}
			ended <- errors.New("no error came last")
		}()
	}
	if err := here.DeleteTopic(ctx, theTopic); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		if err := harness.Await(t, "the end of who reads", ended); !errors.Is(err, penstock.ErrTopicDeleted) {
			t.Errorf("who reads: %v, want ErrTopicDeleted", err)
		}
	}
	fresh := makeTopic(t, there, theTopic, 1)
	if fresh.Info().ID == old.Info().ID {
		t.Error("the new topic has the old one's id")
	}
	for _, h := range handles {
		if _, _, err := h.Put(ctx, harness.Numbered(1)); !errors.Is(err, penstock.ErrTopicDeleted) {
			t.Errorf("put: %v, want ErrTopicDeleted", err)
		}
		if _, err := h.Subscribe(ctx, theGroup); !errors.Is(err, penstock.ErrTopicDeleted) {
			t.Errorf("subscribe: %v, want ErrTopicDeleted", err)
		}
	}
	acct := newAccount()
	acct.put(t, fresh, 100, 110)
	if logged := acct.audit(t, here, theTopic); len(logged) != 10 {
		t.Errorf("%d records in the new topic, want its own 10", len(logged))
	}
	if groups, err := here.ListConsumerGroups(ctx, theTopic); err != nil || len(groups) != 0 {
		t.Errorf("the new topic has groups %q, %v", groups, err)
	}
	oldID := old.Info().ID
	for _, prefix := range []string{"/log/", "/groups/", "/offsets/", "/deleting/"} {
		harness.AwaitKeys(t, harness.Client(t), ns+prefix+oldID, "nothing of the old topic", harness.Exactly(nil))
	}
}
