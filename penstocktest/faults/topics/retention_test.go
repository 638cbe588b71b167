package topics_test

// Records that are deleted: by limits of their topic, which the keeper sees to, and by
// calls. Promise: what is deleted is what was asked for, and nothing else is touched,
// whatever ends or is set back meanwhile; who stood there continues and is told.

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// limited makes a topic with limits.
func limited(t *testing.T, rt *penstock.Runtime, cfg penstock.TopicConfig) *penstock.Topic {
	t.Helper()
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, cfg, penstock.PartitionBy(penstock.RoundRobin()))
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// putNumbered puts records with these numbers, each alone in its batch where lone.
func putNumbered(t *testing.T, topic *penstock.Topic, from, to int, lone bool) {
	t.Helper()
	for id := from; id < to; id++ {
		if err := topic.PutAsync(harness.Context(t), harness.Numbered(id), nil); err != nil {
			t.Fatal(err)
		}
		if lone {
			flush(t, topic)
		}
	}
	flush(t, topic)
}

func flush(t *testing.T, topic *penstock.Topic) {
	t.Helper()
	if err := topic.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// partitionsOf describes a topic until its partitions are as wanted.
func partitionsOf(t *testing.T, rt *penstock.Runtime, what string, wanted func(p penstock.PartitionInfo) bool) []penstock.PartitionInfo {
	t.Helper()
	var last []penstock.PartitionInfo
	harness.Eventually(t, what, func() bool {
		d, err := rt.DescribeTopic(harness.Context(t), theTopic)
		if err != nil {
			return false
		}
		last = d.Partitions
		return !slices.ContainsFunc(last, func(p penstock.PartitionInfo) bool { return !wanted(p) })
	})
	return last
}

// readable reads what a partition has, without a hole, and returns the offsets.
func readable(t *testing.T, rt *penstock.Runtime, partition int) (offsets []int64) {
	t.Helper()
	topic := openTopic(t, rt, theTopic)
	d, err := rt.DescribeTopic(harness.Context(t), theTopic)
	if err != nil {
		t.Fatal(err)
	}
	if p := d.Partitions[partition]; p.Start == p.End {
		return nil
	}
	end := d.Partitions[partition].End
	for rec, err := range topic.Read(harness.Context(t), partition, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		if offsets = append(offsets, rec.Offset); rec.Offset >= end-1 {
			break
		}
	}
	return offsets
}

// A group that is behind a topic's limit misses what is deleted and is told how much; a
// change of the limits holds within some seconds; the lag is never negative.
func TestLimitsAndWhoIsBehind(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	told := penstocktest.Record(t, rt)
	topic := limited(t, rt, penstock.TopicConfig{MaxRecords: 40})
	sub := subscribe(t, topic, theGroup, penstock.MaxFetched(1<<20))
	sub.Pause()
	putNumbered(t, topic, 0, 60, true)
	partitionsOf(t, rt, "the oldest 20 are deleted", func(p penstock.PartitionInfo) bool { return p.Start == 20 })
	if g := groupOf(t, rt, theTopic, theGroup); g.Lag != 40 {
		t.Errorf("the lag is %d, want 40", g.Lag)
	}
	sub.Resume()
	polled(t, sub, 40)
	if _, err := rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{MaxRecords: penstock.NoLimit, MaxAge: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	partitionsOf(t, rt, "everything is old", func(p penstock.PartitionInfo) bool { return p.Start == p.End })
	subscribe(t, topic, "late")
	putNumbered(t, topic, 60, 61, true)
	if _, err := rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{MaxAge: penstock.NoLimit}); err != nil {
		t.Fatal(err)
	}
	for _, g := range []string{theGroup, "late"} {
		if g := groupOf(t, rt, theTopic, g); g.Lag < 0 {
			t.Errorf("the lag of %s is %d", g.Group, g.Lag)
		}
	}
	trimmed := uint64(0)
	for _, e := range told.Events() {
		if e, ok := e.(messages.TopicTrimmed); ok {
			trimmed += uint64(e.Records)
		}
	}
	if s := rt.Stats().Keeper; !s.Keeping || s.TrimmedRecords < 60 {
		t.Errorf("counted: %+v; told of %d", s, trimmed)
	}
}

// A group whose offset was trimmed away before it came back continues at the start, and
// the event says how many records it has missed.
func TestMissedRecordsAreCounted(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := makeTopic(t, rt, theTopic, 1)
	putNumbered(t, topic, 0, 30, true)
	first := subscribe(t, topic, theGroup)
	polled(t, first, 10)
	if err := first.Commit(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	unsubscribe(t, first)
	at := groupOf(t, rt, theTopic, theGroup).Partitions[0].Committed
	done, err := topic.Truncate(harness.Context(t), penstock.FromOffset(25))
	if err != nil || len(done) != 1 || done[0].Start != 25 || done[0].From != 0 {
		t.Fatalf("truncated: %+v, %v", done, err)
	}
	if g := groupOf(t, rt, theTopic, theGroup); g.Lag != 5 {
		t.Errorf("the lag is %d, want 5", g.Lag)
	}
	told := penstocktest.Record(t, rt)
	second := subscribe(t, topic, theGroup)
	if recs := polled(t, second, 5); recs[0].Offset != 25 {
		t.Errorf("continues at %d, want 25", recs[0].Offset)
	}
	e := penstocktest.WaitEvent[messages.RecordsMissed](t, told, harness.Patience, nil)
	if e.From != at || e.To != 25 || e.Count != 25-at || e.Group != theGroup {
		t.Errorf("told %+v, want from %d", e, at)
	}
}

// The keeper is killed while it deletes, and another process becomes the keeper when its
// lease has ended. Nothing above the limits is left for long, and all that is left can be
// read.
func TestKeeperIsKilled(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	if err := makeTopic(t, rt, theTopic, 2).Close(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	const most = 200
	if _, err := rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{MaxRecords: most}); err != nil {
		t.Fatal(err)
	}
	acct := newAccount()
	spec := childSpec{Role: roleProducer, Endpoints: []string{harness.Etcd.Endpoint()}, Space: ns, Topic: theTopic, LeaseTTL: 2 * time.Second}
	spec.Name = "first"
	first := spawn(t, spec, acct)
	first.says(t, "ready")
	first.tell(t, "put 0")
	partitionsOf(t, rt, "the keeper deletes", func(p penstock.PartitionInfo) bool { return p.Start > most })
	spec.Name = "second"
	second := spawn(t, spec, acct)
	second.says(t, "ready")
	second.tell(t, "put 1000000")
	key := keys.Space(ns).Keeper()
	c := harness.Client(t)
	before, err := c.Get(harness.Context(t), key)
	if err != nil || len(before.Kvs) != 1 {
		t.Fatal("the keeper's key: ", err)
	}
	first.kill(t)
	killed, err := rt.DescribeTopic(harness.Context(t), theTopic)
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "another keeper", func() bool {
		now, err := c.Get(harness.Context(t), key)
		return err == nil && len(now.Kvs) == 1 && now.Kvs[0].CreateRevision != before.Kvs[0].CreateRevision
	})
	partitionsOf(t, rt, "it deletes", func(p penstock.PartitionInfo) bool {
		return p.Start > killed.Partitions[p.Partition].End
	})
	second.stop(t)
	// The last keeper has left; the next one does what is left.
	reader := harness.Runtime(t, ns)
	openTopic(t, reader, theTopic)
	partitionsOf(t, rt, "the rest", func(p penstock.PartitionInfo) bool { return p.End-p.Start <= most })
	for p := range 2 {
		if got := readable(t, reader, p); int64(len(got)) != got[len(got)-1]-got[0]+1 {
			t.Errorf("partition %d: %d records from %d to %d", p, len(got), got[0], got[len(got)-1])
		}
	}
}

// An etcd is restored under the keeper: the start goes back, batches are others. Nothing
// that is within the limits is deleted, and the keeper goes on.
func TestKeeperAfterARestore(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	const most = 30
	topic := limited(t, rt, penstock.TopicConfig{MaxRecords: most})
	putNumbered(t, topic, 0, 50, true)
	partitionsOf(t, rt, "20 are deleted", func(p penstock.PartitionInfo) bool { return p.Start == 20 })
	etcd.BackUp()
	putNumbered(t, topic, 50, 90, true)
	partitionsOf(t, rt, "60 are deleted", func(p penstock.PartitionInfo) bool { return p.Start == 60 })
	etcd.Restore()
	if p := partitionsOf(t, rt, "it is restored", func(penstock.PartitionInfo) bool { return true })[0]; p.Start != 20 || p.End != 50 {
		t.Errorf("restored: %+v", p)
	}
	putNumbered(t, topic, 90, 100, true)
	partitionsOf(t, rt, "30 are deleted", func(p penstock.PartitionInfo) bool { return p.Start == 30 && p.End == 60 })
	late := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	if got := readable(t, late, 0); len(got) != most || got[0] != 30 {
		t.Errorf("readable are %v", got)
	}
}

// Retention until done: what all groups have committed is deleted, and nothing before.
func TestRetainedUntilDone(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := limited(t, rt, penstock.TopicConfig{Retention: penstock.RetainUntilDone})
	putNumbered(t, topic, 0, 20, true)
	fast, slow := subscribe(t, topic, "fast"), subscribe(t, topic, "slow")
	commit := func(s *penstock.Subscription, n int) {
		t.Helper()
		recs := polled(t, s, n)
		if err := s.Commit(harness.Context(t), recs[len(recs)-1]); err != nil {
			t.Fatal(err)
		}
	}
	commit(fast, 20)
	commit(slow, 10)
	partitionsOf(t, rt, "10 are deleted", func(p penstock.PartitionInfo) bool { return p.Start == 10 })
	commit(slow, 10)
	partitionsOf(t, rt, "all are deleted", func(p penstock.PartitionInfo) bool { return p.Start == 20 })
}

// A topic that refuses what is too much answers with ErrTopicFull, in whichever process,
// and takes more when there is room.
func TestFullTopicRefuses(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := limited(t, rt, penstock.TopicConfig{MaxRecords: 5, Discard: penstock.DiscardNew})
	other := openTopic(t, harness.Runtime(t, ns), theTopic)
	ctx := harness.Context(t)
	for id := range 5 {
		if _, _, err := topic.Put(ctx, harness.Numbered(id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []*penstock.Topic{topic, other} {
		if _, _, err := h.Put(ctx, harness.Numbered(5)); !errors.Is(err, penstock.ErrTopicFull) {
			t.Errorf("the sixth: %v", err)
		}
	}
	if _, err := topic.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "room", func() bool {
		_, _, err := other.Put(ctx, harness.Numbered(6))
		return err == nil
	})
	if _, err := rt.UpdateTopic(ctx, theTopic, penstock.TopicUpdate{Discard: penstock.DiscardOld}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the update", func() bool {
		return topic.Info().Config.Discard == penstock.DiscardOld && other.Info().Config.Discard == penstock.DiscardOld
	})
	putNumbered(t, topic, 7, 20, true)
}

// A topic's TTL holds for records that are read, at once and for those that are there.
func TestTTLOfATopic(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := limited(t, rt, penstock.TopicConfig{MaxRecordBytes: 1 << 19})
	ctx := harness.Context(t)
	old, young := harness.Numbered(0), harness.Numbered(1)
	old.Time = time.Now().Add(-time.Hour)
	for _, m := range []penstock.Message{young, old, young} { // the first keeps the others
		if _, _, err := topic.Put(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rt.UpdateTopic(ctx, theTopic, penstock.TopicUpdate{TTL: 30 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the update", func() bool { return topic.Info().Config.TTL == 30*time.Minute })
	expired := make(chan penstock.Record, 3)
	sub := subscribe(t, topic, theGroup, penstock.RecordExpired(func(_ context.Context, r penstock.Record) { expired <- r }))
	for _, r := range polled(t, sub, 2) {
		if r.Offset == 1 {
			t.Error("handed out is what has expired")
		}
	}
	if r := harness.Await(t, "what expired", expired); r.Offset != 1 || !r.Expired() {
		t.Errorf("expired is %d", r.Offset)
	}
	for r, err := range topic.Read(ctx, 0, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Expired() != (r.Offset == 1) {
			t.Errorf("offset %d: expired %v", r.Offset, r.Expired())
		}
		if r.Offset == 2 {
			break
		}
	}
}

// Records that have expired by themselves are deleted, in a topic without limits too: at the
// beginning of a partition with their batches, elsewhere from them. What has not expired
// stays, with its offset.
func TestExpiredRecordsAreDeleted(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"in the entry": 10, "in bodies": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			rt := harness.Runtime(t, ns)
			topic := makeTopic(t, rt, theTopic, 1)
			gone, late := time.Now().Add(-2*time.Minute), time.Now().Add(-10*time.Second) // the keeper waits a minute
			put := func(expiries ...time.Time) {
				batch := make([]penstock.Message, len(expiries))
				for i, at := range expiries {
					batch[i] = penstock.Message{Value: bytes.Repeat([]byte{'x'}, size), ExpiresAt: at}
				}
				if results, err := topic.PutBatch(harness.Context(t), batch); err != nil {
					t.Fatal(results, err)
				}
			}
			put(gone)
			put(gone, gone)
			put(time.Time{}, gone, late) // offsets 3 to 5
			put(gone)
			put(late, time.Now().Add(time.Hour)) // 7 and 8
			harness.Eventually(t, "what has expired is gone", func() bool { return rt.Stats().Keeper.ExpiredRecords == 2 })
			if p := partitionsOf(t, rt, "the beginning", func(p penstock.PartitionInfo) bool { return p.Start == 3 })[0]; p.End != 9 {
				t.Errorf("it ends at %d", p.End)
			}
			var left []int64
			var bytes int
			for r, err := range topic.ReadTo(harness.Context(t), 0, penstock.FromEarliest(), 9) {
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Value) > 0 {
					left = append(left, r.Offset)
				}
				bytes += len(r.Value)
			}
			if !slices.Equal(left, []int64{3, 5, 7, 8}) || bytes != 4*size {
				t.Errorf("left are %v, of %d bytes", left, bytes)
			}
		})
	}
}

// Records that are deleted by offset or key are given to nobody: not from memory, not
// from etcd, not in a batch with others. Their neighbours keep their offsets.
func TestDeletedRecordsAreGivenToNobody(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"in the entry": 10, "in bodies": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			rt := harness.Runtime(t, ns)
			topic := makeTopic(t, rt, theTopic, 2)
			ctx := harness.Context(t)
			// A reader at the end has the process keep fresh batches in memory.
			warm := make(chan int64, 100)
			reading, stop := context.WithCancel(ctx)
			defer stop()
			go func() {
				for r, err := range topic.Read(reading, 0, penstock.FromEarliest()) {
					if err != nil {
						return
					}
					warm <- r.Offset
				}
			}()
			value := bytes.Repeat([]byte("v"), size)
			for _, k := range []string{"a", "b", "c", "a", "d", "b"} {
				for p := range 2 {
					if _, err := topic.PutTo(ctx, p, penstock.Message{Key: []byte(k), Value: value}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for want := range int64(6) {
				if got := harness.Await(t, "the warm reader", warm); got != want {
					t.Fatalf("read %d, want %d", got, want)
				}
			}
			if n, err := topic.DeleteRecords(ctx, map[int][]int64{0: {1, 2}, 1: {4}}); n != 3 || err != nil {
				t.Fatalf("deleted %d, %v", n, err)
			}
			if n, err := topic.DeleteKey(ctx, []byte("a")); n != 4 || err != nil {
				t.Fatalf("deleted %d of key a, %v", n, err)
			}
			if n, err := topic.DeleteRecords(ctx, map[int][]int64{0: {0, 1}}); n != 0 || err != nil {
				t.Errorf("deleted again %d, %v", n, err)
			}
			if _, err := topic.DeleteRecords(ctx, map[int][]int64{0: {6}}); !errors.Is(err, penstock.ErrOffsetOutOfRange) {
				t.Errorf("past the end: %v", err)
			}
			want := [][]int64{{4, 5}, {1, 2, 5}}
			cold := harness.Runtime(t, ns)
			for p := range 2 {
				harness.Eventually(t, "this process has heard of it", func() bool { return slices.Equal(readable(t, rt, p), want[p]) })
				if got := readable(t, cold, p); !slices.Equal(got, want[p]) {
					t.Errorf("partition %d has %v, want %v", p, got, want[p])
				}
			}
			sub := subscribe(t, openTopic(t, cold, theTopic), theGroup, penstock.CommitEvery(20*time.Millisecond))
			recs := polled(t, sub, 5)
			if err := sub.Commit(ctx, recs...); err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				if !slices.Contains(want[r.Partition], r.Offset) || string(r.Key) == "a" {
					t.Errorf("handed out is %d/%d", r.Partition, r.Offset)
				}
			}
			unsubscribe(t, sub)
			if g := groupOf(t, rt, theTopic, theGroup); g.Lag != 0 {
				t.Errorf("the lag is %d", g.Lag)
			}
			if left := cold.Stats().Subscriptions; len(left) > 0 && left[0].Expired > 0 {
				t.Errorf("counted as expired: %+v", left)
			}
			// Nothing of them is left in etcd but in its history.
			resp, err := harness.Client(t).Get(ctx, ns, clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range resp.Kvs {
				if size < 100 && strings.Contains(string(kv.Value), "\n\x01a\x12") {
					t.Errorf("the key a is left in %s", kv.Key)
				}
			}
		})
	}
}
