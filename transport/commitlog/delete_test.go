package commitlog

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// populate gives a topic some of every kind of key it can have.
func populate(t testing.TB, l *Log, info messages.TopicInfo) {
	t.Helper()
	var ops []clientv3.Op
	add := func(key, value string) { ops = append(ops, clientv3.OpPut(key, value)) }
	for p := range info.Config.Partitions {
		add(l.space.Hint(info.ID, p), keys.Offset(0))
		add(l.space.Ticket(info.ID, p, "producer"), "")
		for base := int64(0); base < 2000; base += 1000 {
			add(l.space.IndexEntry(info.ID, p, base), format.Encode(&pb.IndexEntry{Count: 1000, Bytes: 4}))
			add(l.space.Body(info.ID, p, base), "body")
		}
		add(l.space.Committed(info.ID, "group", p), format.Encode(&pb.Committed{Offset: 5}))
		add(l.space.Claim(info.ID, "group", p), format.Encode(&pb.Claim{Member: "m", MemberRevision: 1}))
	}
	add(l.space.ConsumerGroupMeta(info.ID, "group"), format.Encode(&pb.ConsumerGroup{}))
	add(l.space.ConsumerMember(info.ID, "group", "m"), format.Encode(&pb.ConsumerMember{Id: "m"}))
	add(l.space.Assignment(info.ID, "group"), format.Encode(&pb.Assignment{Generation: 1, Partitions: 1}))
	// Keys that no release of ours would write are swept all the same.
	add(l.space.Indexes(info.ID)+"strange", "")
	add(l.space.Log(info.ID)+"from/the/future", "")
	if _, err := l.do(testContext(t), "populate", nil, ops, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteTopic(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	bystander := create(t, l, "bystander", 2)
	populate(t, l, bystander)
	others := len(under(t, l, ""))
	old := create(t, l, "orders", 4)
	populate(t, l, old)

	gone, err := l.DeleteTopic(ctx, "orders")
	if err != nil || gone != old {
		t.Fatalf("%+v, %v; want %+v", gone, err, old)
	}
	if _, err := l.Topic(ctx, "orders"); !errors.Is(err, messages.ErrNoTopic) {
		t.Errorf("got %v", err)
	}
	if left := under(t, l, old.ID); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if n := len(under(t, l, "")); n != others {
		t.Errorf("%d keys of others, there were %d", n, others)
	}
	fresh := create(t, l, "orders", 4)
	if fresh.ID == old.ID || fresh.CreateRevision <= old.CreateRevision {
		t.Errorf("%+v is not another topic than %+v", fresh, old)
	}
}

func TestDeleteWithLostAnswers(t *testing.T) {
	for _, kind := range []faultKind{drop, lose} {
		l, f := startEtcd(t)
		old := create(t, l, "orders", 2)
		populate(t, l, old)
		f.next(fault{kind: kind})
		if _, err := l.DeleteTopic(testContext(t), "orders"); err != nil {
			t.Error(err)
		}
		f.used(t)
		if left := under(t, l, ""); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// When its deleter dies in mid-sweep, any process continues, and two at once are not
// in each other's way.
func TestSweepGoesOn(t *testing.T) {
	for at := 1; at < 8; at++ {
		l, f := startEtcd(t)
		other, _ := logAt(t, l.space)
		old := create(t, l, "orders", 2)
		populate(t, l, old)
		plan := make([]fault, at+1)
		plan[at].kind = drop
		f.next(plan...)
		gone, err := l.DeleteTopic(testContext(t), "orders")
		if !errors.Is(err, messages.ErrUnavailable) || gone != old {
			t.Errorf("at write %d: %+v, %v", at, gone, err)
		}
		f.used(t)
		var wg sync.WaitGroup
		for _, l := range []*Log{l, other} {
			wg.Go(func() {
				if err := l.Sweep(testContext(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if left := under(t, l, ""); len(left) > 0 {
			t.Errorf("at write %d: left %q", at, left)
		}
	}
}

// Whatever has been swept already when a member commits, it leaves nothing.
func TestCommitDuringSweep(t *testing.T) {
	for at, writes := 1, 2; at < writes; at++ {
		l, f := startEtcd(t)
		other, _ := logAt(t, l.space)
		info := create(t, l, "orders", 1)
		me := join(t, l, info, "group", "me")
		c := claimOne(t, l, me, 0)
		if err := commitOne(t, l, me, c.at(1, 0)); err != nil {
			t.Fatal(err)
		}
		fill(t, l, info, 0, 1)
		plan := make([]fault, at+1)
		plan[at].before = func() {
			if err := commitOne(t, other, me, c.at(2, 0)); err != nil && !errors.Is(err, messages.ErrFenced) {
				t.Error(err)
			}
		}
		f.next(plan...)
		before := f.count()
		if _, err := l.DeleteTopic(testContext(t), "orders"); err != nil {
			t.Error(err)
		}
		f.used(t)
		writes = f.count() - before
		if left := under(t, l, info.ID); len(left) > 0 {
			t.Errorf("at write %d: left %q", at, left)
		}
	}
}

// Those who were at it when the topic was deleted, and do not know, leave
// nothing behind the broom.
func TestDeleteWhileOthersWrite(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 4)
	if _, _, err := l.EnsureGroup(ctx, info, "manual", Joining{Manual: true}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	started := make(chan struct{}, 16)
	// each repeats a write until it is refused for good.
	each := func(what string, write func(round int) error) {
		wg.Go(func() {
			for round := 0; ; round++ {
				err := write(round)
				if round == 3 {
					started <- struct{}{}
				}
				switch {
				case errors.Is(err, messages.ErrTopicDeleted), errors.Is(err, ErrRaced), errors.Is(err, messages.ErrNoTopic):
					return
				case err != nil:
					t.Errorf("%s: %v", what, err)
					started <- struct{}{}
					return
				}
			}
		})
	}
	member := join(t, l, info, "manual", "m")
	each("claims and commits", func(int) error {
		claimed, err := l.Claim(ctx, member, 0, []int{0, 1, 2, 3})
		if err != nil {
			return err
		}
		var ps []format.Position
		for _, c := range claimed {
			ps = append(ps, format.Position{Partition: c.Partition, Fence: c.Fence, Offset: c.Offset + 1})
		}
		if _, err := l.Commit(ctx, member, ps); err != nil {
			return err
		}
		_, err = l.Release(ctx, member, ps)
		return err
	})
	each("groups", func(round int) error {
		_, _, err := l.EnsureGroup(ctx, info, fmt.Sprintf("g%d", round), Joining{})
		return err
	})
	each("resets", func(int) error {
		_, err := l.ResetOffsets(ctx, info, "reset", messages.Earliest(), nil, false, true)
		return err
	})
	each("updates", func(round int) error {
		_, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: min(4+round, messages.MaxPartitions), MaxRecordBytes: 1000 + round})
		return err
	})
	for p := range 2 {
		a := l.Partition(info, p).Appender(AppenderConfig{Producer: uint64(p + 1)})
		each("appends", func(round int) error {
			_, err := a.Append(ctx, batchOf(uint64(p+1), uint64(round+1), "value"), true)
			return err
		})
	}
	for range 6 {
		<-started
	}
	if _, err := l.DeleteTopic(ctx, "orders"); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if left := under(t, l, info.ID); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// The strokes of the broom reach every batch, and are not many more than the
// batches need.
func TestStrokes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		largest := rapid.SampledFrom([]int64{1, 10, 1000, messages.MaxBatchRecords}).Draw(t, "largest batch")
		n := rapid.IntRange(1, 20_000).Draw(t, "batches")
		start := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		seed := rapid.Uint64().Draw(t, "seed")
		left := map[int64]bool{}
		bases := make([]int64, n)
		for i, base := 0, start; i < n; i++ {
			bases[i], left[base] = base, true
			seed = seed*6364136223846793005 + 1442695040888963407
			base += 1 + int64(seed>>33)%largest
		}
		requests, next := 0, 0
		for s, ok := newStroke(start), true; ok; {
			var deleted int64
			for ; next < n && bases[next] <= s.last(); next++ {
				if bases[next] < s.from {
					t.Fatalf("the batch at %d was passed over", bases[next])
				}
				delete(left, bases[next])
				deleted++
			}
			if deleted > 16*manyDeleted {
				t.Fatalf("%d in one stroke", deleted)
			}
			requests++
			s, ok = s.next(deleted)
		}
		if len(left) > 0 {
			t.Fatalf("%d of %d batches are left", len(left), n)
		}
		if most := 24 + n/100; requests > most {
			t.Fatalf("%d requests for %d batches of up to %d", requests, n, largest)
		}
	})
	if s, ok := (stroke{from: 1<<63 - 2, width: firstWidth}).next(1); ok {
		t.Errorf("the last offset is not the end: %+v", s)
	}
}

// The most partitions there can be are no matter of minutes.
func TestManyPartitions(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	began := time.Now()
	lap := func() time.Duration { d := time.Since(began).Round(time.Millisecond); began = time.Now(); return d }
	info := create(t, l, "wide", messages.MaxPartitions)
	made, writes := lap(), f.count()
	if writes > 15 {
		t.Errorf("%d requests to make it", writes)
	}
	d, err := l.Describe(ctx, "wide")
	if err != nil || len(d.Partitions) != messages.MaxPartitions {
		t.Fatalf("%d partitions, %v", len(d.Partitions), err)
	}
	described := lap()
	if _, err := l.DeleteTopic(ctx, "wide"); err != nil {
		t.Fatal(err)
	}
	t.Logf("made in %v (%d requests), described in %v, deleted in %v (%d writes)", made, writes, described, lap(), f.count()-writes)
	if left := under(t, l, info.ID); len(left) > 0 {
		t.Errorf("%d left", len(left))
	}
}

// A log of many batches is swept in steps.
func TestSweepInSteps(t *testing.T) {
	l, f := startEtcd(t)
	info := create(t, l, "long", 2)
	for p := range 2 {
		for from := range int64(40) {
			var ops []clientv3.Op
			for i := range int64(60) {
				base := 100 * (60*from + i)
				ops = append(ops,
					clientv3.OpPut(l.space.IndexEntry(info.ID, p, base), format.Encode(&pb.IndexEntry{Count: 100, Bytes: 1})),
					clientv3.OpPut(l.space.Body(info.ID, p, base), "b"))
			}
			if _, err := l.do(testContext(t), "fill", nil, ops, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := f.count()
	if _, err := l.DeleteTopic(testContext(t), "long"); err != nil {
		t.Fatal(err)
	}
	if left := under(t, l, ""); len(left) > 0 {
		t.Errorf("%d left, such as %s", len(left), left[0])
	}
	t.Logf("4,800 batches swept by %d writes", f.count()-before)
	if n := f.count() - before; n < 6 || n > 60 {
		t.Errorf("%d writes", n)
	}
}

func TestCorruptMark(t *testing.T) {
	l, _ := startEtcd(t)
	key := l.space.Deleting("abc")
	put(t, l, key, "\xff")
	put(t, l, l.space.Deleting("def"), mark("x", pb.Deleting_SWEEPING))
	put(t, l, l.space.LogStart("def", 0), keys.Offset(0))
	if err := l.Sweep(testContext(t)); !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), key) {
		t.Errorf("got %v", err)
	}
	if left := under(t, l, "def"); len(left) > 0 {
		t.Errorf("one bad mark kept another topic: %q", left)
	}
}
