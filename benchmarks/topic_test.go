package benchmarks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// What idle partitions and groups take, and how long much of them takes.

const manyPartitions = 1000

// bounded is a context for everything that is sure to end.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// create makes a topic, for as long as the test, and opens it. Records go round.
func create(t testing.TB, rt *penstock.Runtime, name string, partitions int, opts ...penstock.ProducerOption) *penstock.Topic {
	t.Helper()
	opts = append([]penstock.ProducerOption{penstock.PartitionBy(penstock.RoundRobin())}, opts...)
	topic, err := rt.CreateTopic(bounded(t), name, penstock.TopicConfig{Partitions: partitions}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := rt.DeleteTopic(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return topic
}

func open(t testing.TB, rt *penstock.Runtime, name string) *penstock.Topic {
	t.Helper()
	topic, err := rt.Topic(bounded(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// fill puts n small records and waits for etcd.
func fill(t testing.TB, topic *penstock.Topic, n int) {
	t.Helper()
	ctx := bounded(t)
	for range n {
		if err := topic.PutAsync(ctx, penstock.Message{Value: []byte("a small record")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := topic.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t testing.TB, topic *penstock.Topic, group string) *penstock.Subscription {
	t.Helper()
	sub, err := topic.Subscribe(bounded(t), group)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// takeAll takes n records, finishes and commits them.
func takeAll(ctx context.Context, sub *penstock.Subscription, n int) error {
	for {
		recs, err := sub.Poll(ctx, n)
		if err != nil {
			return err
		}
		if n -= len(recs); n > 0 {
			continue
		}
		// Poll finishes what the one before answered, and there is no next.
		if err := sub.Commit(ctx, recs...); err != nil {
			return err
		}
		return sub.Commit(ctx)
	}
}

func drain(t testing.TB, sub *penstock.Subscription, n int) {
	t.Helper()
	if err := takeAll(bounded(t), sub, n); err != nil {
		t.Fatal(err)
	}
}

// A partition that was put into and read from once, and then nothing: what it
// takes of a producing process and of a consuming one.
func TestIdlePartition(t *testing.T) {
	skipUnlessMeasurable(t)
	const limit = 32 << 10
	puts, reads := start(t), start(t)
	// What is shared is there.
	small := create(t, puts, "small", 4)
	fill(t, small, 4)
	drain(t, subscribe(t, open(t, reads, "small"), "g"), 4)

	before := settled()
	topic := create(t, puts, "large", manyPartitions)
	fill(t, topic, manyPartitions)
	producing := settled().minus(before).per(manyPartitions)
	t.Logf("a producer's %d partitions: %v each", manyPartitions, producing)

	before = settled()
	sub := subscribe(t, open(t, reads, "large"), "g")
	claimed := settled().minus(before).per(manyPartitions)
	t.Logf("a consumer's %d partitions, claimed: %v each", manyPartitions, claimed)
	drain(t, sub, manyPartitions)
	consuming := settled().minus(before).per(manyPartitions)
	t.Logf("a consumer's %d partitions, read: %v each", manyPartitions, consuming)
	if producing.heap+consuming.heap > limit {
		t.Errorf("an idle partition takes %d bytes of a producer's heap and %d of a consumer's, the limit is %d together", producing.heap, consuming.heap, limit)
	}
	if err := sub.Unsubscribe(bounded(t)); err != nil {
		t.Error(err)
	}
}

// Idle partitions cost no time: none has a watch, a timer or a commit.
func TestIdlePartitionsCPU(t *testing.T) {
	skipUnlessMeasurable(t)
	if load.CPU() == 0 {
		t.Skip("this system does not tell")
	}
	const watched = 3 * time.Second
	rt := start(t)
	topic := create(t, rt, "large", manyPartitions)
	fill(t, topic, manyPartitions)
	drain(t, subscribe(t, topic, "g"), manyPartitions)
	settled()
	used := load.CPU()
	<-time.After(watched)
	used = load.CPU() - used
	t.Logf("%d idle partitions: %s of CPU in %s, %.2f%% of a core", manyPartitions, used, watched, 100*used.Seconds()/watched.Seconds())
	if limit := watched / 20; used > limit {
		t.Errorf("%d idle partitions used %s of CPU in %s, the limit is %s", manyPartitions, used, watched, limit)
	}
}

// One consumer of a thousand partitions: how long until it has claimed them,
// read a record of each, committed, and left.
func TestScaleThousandPartitions(t *testing.T) {
	skipUnlessMeasurable(t)
	const limit = 10 * time.Second
	puts, reads := start(t), start(t)
	topic := create(t, puts, "large", manyPartitions)
	began := time.Now()
	fill(t, topic, manyPartitions)
	filled := time.Since(began)
	opened := open(t, reads, "large")
	began = time.Now()
	sub := subscribe(t, opened, "g")
	claimed := time.Since(began)
	if n := len(sub.Partitions()); n != manyPartitions {
		t.Errorf("it has %d partitions", n)
	}
	began = time.Now()
	drain(t, sub, manyPartitions)
	read := time.Since(began)
	began = time.Now()
	if err := sub.Unsubscribe(bounded(t)); err != nil {
		t.Fatal(err)
	}
	left := time.Since(began)
	t.Logf("%d partitions: a record into each %s, claimed %s, read and committed %s, left %s", manyPartitions, filled, claimed, read, left)
	if all := claimed + read + left; all > limit {
		t.Errorf("it took %s, the limit is %s", all, limit)
	}
}

// Many groups in one process read a topic once.
func TestScaleHundredGroups(t *testing.T) {
	skipUnlessMeasurable(t)
	const groups, partitions, records, size = 100, 4, 20_000, 512
	const slack = 16 << 20
	puts, reads := start(t), start(t)
	topic := create(t, puts, "shared", partitions)
	opened := open(t, reads, "shared")
	subs := make([]*penstock.Subscription, groups)
	before := settled()
	began := time.Now()
	each(t, groups, func(ctx context.Context, i int) (err error) {
		subs[i], err = opened.Subscribe(ctx, fmt.Sprintf("g%d", i))
		return err
	})
	joined := time.Since(began)
	t.Logf("%d groups of %d partitions joined in %s: %v for each group", groups, partitions, joined, settled().minus(before).per(groups))

	body := make([]byte, size)
	ctx := bounded(t)
	for range records {
		if err := topic.PutAsync(ctx, penstock.Message{Value: body}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := topic.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	over := make(chan error, groups)
	for _, sub := range subs {
		go func() { over <- takeAll(ctx, sub, records) }()
	}
	for range subs {
		if err := <-over; err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	t.Logf("%d groups took %d records each in %s, %.0f a second", groups, records, took, float64(groups*records)/took.Seconds())
	if got := settled().minus(before); got.heap > groups*partitions*(32<<10)+slack {
		t.Errorf("%d groups take %v when they have read everything", groups, got)
	}
	began = time.Now()
	each(t, groups, func(ctx context.Context, i int) error { return subs[i].Unsubscribe(ctx) })
	t.Logf("all left in %s", time.Since(began))
}

// Members come and go; every partition has an owner again soon, and each member
// its share. A machine that stands still for a moment may spoil two of three.
func TestScaleRebalance(t *testing.T) {
	skipUnlessMeasurable(t)
	const members, partitions, limit = 8, 100, 2 * time.Second
	puts := start(t)
	topic := create(t, puts, "moving", partitions)
	fill(t, topic, partitions)
	var opened []*penstock.Topic
	for range members {
		opened = append(opened, open(t, start(t), "moving"))
	}
	for try := 1; ; try++ {
		came, left := rebalance(t, opened, fmt.Sprint("g", try), partitions)
		t.Logf("%d partitions: %d members more after %s, one less after %s", partitions, members-1, came, left)
		if max(came, left) <= limit {
			return
		}
		if try == 3 {
			t.Fatalf("the limit is %s", limit)
		}
	}
}

// rebalance lets one member take all partitions, the others come, and the first
// one leave, and answers how long the shares took to be equal again.
func rebalance(t *testing.T, opened []*penstock.Topic, group string, partitions int) (came, left time.Duration) {
	t.Helper()
	members := len(opened)
	subs := make([]*penstock.Subscription, members)
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	over := make(chan error, members)
	join := func(ctx context.Context, i int) (err error) {
		if subs[i], err = opened[i].Subscribe(ctx, group); err != nil {
			return err
		}
		go func() {
			over <- subs[i].Consume(reading, func(context.Context, penstock.Record) error { return nil })
		}()
		return nil
	}
	balanced := func(live []*penstock.Subscription) func() bool {
		return func() bool {
			owned := 0
			for _, s := range live {
				n := len(s.Partitions())
				if n < partitions/len(live) || n > partitions/len(live)+1 {
					return false
				}
				owned += n
			}
			return owned == partitions
		}
	}
	each(t, 1, join)
	until(t, "the first member's share", balanced(subs[:1]))
	began := time.Now()
	each(t, members-1, func(ctx context.Context, i int) error { return join(ctx, i+1) })
	until(t, "equal shares", balanced(subs))
	came = time.Since(began)
	began = time.Now()
	if err := subs[0].Unsubscribe(bounded(t)); err != nil {
		t.Fatal(err)
	}
	until(t, "equal shares of the rest", balanced(subs[1:]))
	left = time.Since(began)
	each(t, members-1, func(ctx context.Context, i int) error { return subs[i+1].Unsubscribe(ctx) })
	for range members {
		if err := <-over; err != nil {
			t.Errorf("consuming ended: %v", err)
		}
	}
	return came, left
}
