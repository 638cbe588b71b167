package commitlog

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// fill appends batches of ten records to a partition; the i-th is of the time i.
func fill(t testing.TB, l *Log, info messages.TopicInfo, p, batches int) {
	t.Helper()
	a := l.Partition(info, p).Appender(AppenderConfig{Producer: 9})
	for i := range int64(batches) {
		s := format.Seal(records(slices.Repeat([]string{"value"}, 10)...), 10, i, i, i, messages.CompressNone, 9, uint64(i+1))
		if base, err := a.Append(testContext(t), s, true); err != nil || base != 10*i {
			t.Fatal(base, err)
		}
	}
}

// trim makes a partition begin at a later batch.
func trim(t testing.TB, l *Log, info messages.TopicInfo, p int, start int64) {
	t.Helper()
	put(t, l, l.space.LogStart(info.ID, p), keys.Offset(start))
	for _, prefix := range []func(string, int, int64) string{l.space.IndexEntry, l.space.Body} {
		if _, err := l.client.Delete(testContext(t), prefix(info.ID, p, 0), clientv3.WithRange(prefix(info.ID, p, start))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResetOffsets(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 3)
	fill(t, l, info, 0, 5)
	fill(t, l, info, 1, 3)
	trim(t, l, info, 0, 20)
	put(t, l, l.space.Committed(info.ID, "group", 1), format.Encode(&pb.Committed{Offset: 12, Base: 10, Fence: 3}))
	put(t, l, l.space.Committed(info.ID, "group", 2), "\xff")
	old := info
	info, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	type changes = []messages.OffsetChange
	change := func(p int, from, to int64) messages.OffsetChange {
		return messages.OffsetChange{Partition: p, From: from, To: to}
	}
	type positions [4][2]int64 // offset and base
	was := positions{{-1, -1}, {12, 10}, {-2, -2}, {-1, -1}}
	for _, c := range []struct {
		name       string
		to         messages.Start
		partitions []int
		dryRun     bool
		changes    changes
		after      positions
	}{
		{"dry run", messages.Latest(), nil, true, changes{change(0, -1, 50), change(1, 12, 30), change(2, -1, 0), change(3, -1, 0)}, was},
		{"one", messages.AtOffset(25), []int{1}, false, changes{change(1, 12, 25)}, positions{{-1, -1}, {25, 20}, {-2, -2}, {-1, -1}}},
		{"earliest", messages.Earliest(), nil, false, changes{change(0, -1, 20), change(1, 25, 0), change(2, -1, 0), change(3, -1, 0)}, positions{{20, 20}, {0, 0}, {0, 0}, {0, 0}}},
		{"latest", messages.Latest(), nil, false, changes{change(0, 20, 50), change(1, 0, 30), change(2, 0, 0), change(3, 0, 0)}, positions{{50, 50}, {30, 30}, {0, 0}, {0, 0}}},
		{"an offset that was trimmed", messages.AtOffset(5), []int{0}, false, changes{change(0, 50, 20)}, positions{{20, 20}, {30, 30}, {0, 0}, {0, 0}}},
		{"a time", messages.AtTime(time.Unix(0, 2)), []int{1, 0}, false, changes{change(0, 20, 20), change(1, 30, 20)}, positions{{20, 20}, {20, 20}, {0, 0}, {0, 0}}},
		{"a time to come", messages.AtTime(time.Unix(0, 100)), nil, false, changes{change(0, 20, 50), change(1, 20, 30), change(2, 0, 0), change(3, 0, 0)}, positions{{50, 50}, {30, 30}, {0, 0}, {0, 0}}},
		{"a time that no record can have", messages.AtTime(time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)), []int{0}, false, changes{change(0, 50, 20)}, positions{{20, 20}, {30, 30}, {0, 0}, {0, 0}}},
		{"a time that no record will have", messages.AtTime(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)), []int{0}, false, changes{change(0, 20, 50)}, positions{{50, 50}, {30, 30}, {0, 0}, {0, 0}}},
		{"none", messages.Earliest(), []int{}, false, nil, positions{{50, 50}, {30, 30}, {0, 0}, {0, 0}}},
	} {
		// The caller may know an older topic with fewer partitions.
		got, err := l.ResetOffsets(ctx, old, "group", c.to, c.partitions, c.dryRun, false)
		if err != nil || !slices.Equal(got, c.changes) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.changes)
		}
		for p, want := range c.after {
			v := value(t, l, l.space.Committed(info.ID, "group", p))
			switch {
			case want[0] == -1 && v == "", want[0] == -2 && v == "\xff":
			case want[0] < 0:
				t.Errorf("%s: partition %d has %q", c.name, p, v)
			default:
				if m, err := format.ParseCommitted("k", []byte(v)); err != nil || m.Offset != want[0] || m.Base != want[1] || !c.dryRun && m.Fence != 0 {
					t.Errorf("%s: partition %d: %v, %v; want %v", c.name, p, m, err, want)
				}
			}
		}
	}

	for _, c := range []struct {
		name       string
		topic      messages.TopicInfo
		group      string
		to         messages.Start
		partitions []int
		want       error
		says       string
	}{
		{"past an end", info, "group", messages.AtOffset(31), []int{1}, messages.ErrOffsetOutOfRange, "31"},
		{"past one end", info, "group", messages.AtOffset(31), nil, messages.ErrOffsetOutOfRange, "31"},
		{"a partition too many", info, "group", messages.Earliest(), []int{4}, messages.ErrNoPartition, "4 of 4"},
		{"a partition twice", info, "group", messages.Earliest(), []int{1, 1}, messages.ErrInvalid, "twice"},
		{"a bad group", info, "", messages.Earliest(), nil, messages.ErrInvalid, "group"},
		{"a topic before", messages.TopicInfo{Name: "orders", ID: info.ID, CreateRevision: 1}, "group", messages.Earliest(), nil, messages.ErrTopicDeleted, "orders"},
		{"no topic", messages.TopicInfo{Name: "elsewhere"}, "group", messages.Earliest(), nil, messages.ErrNoTopic, "elsewhere"},
	} {
		writes := f.count()
		if got, err := l.ResetOffsets(ctx, c.topic, c.group, c.to, c.partitions, false, true); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || len(got) > 0 || f.count() != writes {
			t.Errorf("%s: %+v, %v, %d writes; want %v that says %q", c.name, got, err, f.count()-writes, c.want, c.says)
		}
	}
}

// A group whose members own something is left alone, unless forced.
func TestResetOfALiveGroup(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 100)
	me := join(t, l, info, "group", "me")
	c := claimOne(t, l, me, 70)
	if err := commitOne(t, l, me, c.at(5, 5)); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		name       string
		partitions []int
		dryRun     bool
		changes    int
	}{
		{"all", nil, false, 0},
		{"the one that is claimed", []int{1, 70}, false, 0},
		{"as a dry run", nil, true, 100},
	} {
		got, err := l.ResetOffsets(ctx, info, "group", messages.Earliest(), r.partitions, r.dryRun, false)
		if !errors.Is(err, messages.ErrGroupLive) || len(got) != r.changes {
			t.Errorf("%s: %d changes, %v", r.name, len(got), err)
		}
	}
	if all := under(t, l, "/offsets/"); len(all) != 1 {
		t.Errorf("offsets %q", all)
	}
	if got, err := l.ResetOffsets(ctx, info, "group", messages.Earliest(), []int{1, 2}, false, false); err != nil || len(got) != 2 {
		t.Errorf("partitions that nobody has: %+v, %v", got, err)
	}
	if got, err := l.ResetOffsets(ctx, info, "group", messages.Earliest(), nil, true, true); err != nil || len(got) != 100 || len(under(t, l, "/claims/")) != 1 {
		t.Errorf("a forced dry run: %d, %v", len(got), err)
	}
	got, err := l.ResetOffsets(ctx, info, "group", messages.Earliest(), nil, false, true)
	if err != nil || len(got) != 100 || got[70] != (messages.OffsetChange{Partition: 70, From: 5, To: 0}) {
		t.Fatalf("%+v, %v", got, err)
	}
	// What the member does now about its partition is too late.
	if err := commitOne(t, l, me, c.at(6, 6)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("got %v", err)
	}
	if err := releaseOne(t, l, me, c.at(6, 6)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("got %v", err)
	}
	if again := claimOne(t, l, me, 70); again.Offset != 0 || again.Fence <= c.Fence {
		t.Errorf("%+v", again)
	}
}

// A member that comes between the check and the write is not written over.
func TestResetAgainstAClaim(t *testing.T) {
	for _, partitions := range [][]int{nil, {0, 1}} {
		l, f := startEtcd(t)
		other, _ := logAt(t, l.space)
		info := create(t, l, "orders", 2)
		me := join(t, l, info, "group", "me")
		f.next(fault{before: func() { claimOne(t, other, me, 1) }})
		got, err := l.ResetOffsets(testContext(t), info, "group", messages.Latest(), partitions, false, false)
		if !errors.Is(err, messages.ErrGroupLive) || len(got) > 0 || len(under(t, l, "/offsets/")) > 0 {
			t.Errorf("%v: %+v, %v, %q", partitions, got, err, under(t, l, "/offsets/"))
		}
		f.used(t)
	}
}

func TestResetOfATopicThatIsDeleted(t *testing.T) {
	l, f := startEtcd(t)
	other, _ := logAt(t, l.space)
	info := create(t, l, "orders", 2)
	f.next(fault{before: func() {
		if _, err := other.DeleteTopic(testContext(t), "orders"); err != nil {
			t.Error(err)
		}
	}})
	if got, err := l.ResetOffsets(testContext(t), info, "group", messages.Earliest(), nil, false, true); !errors.Is(err, messages.ErrTopicDeleted) || len(got) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	f.used(t)
	if left := under(t, l, ""); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// An etcd that has an older offset than the member knows of was set back, and its
// log with it: nothing is written over it, by a commit or a release. One that was
// deleted is put back.
func TestCommitKnowsWhatItWrote(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	me := join(t, l, info, "group", "me")
	c := claimOne(t, l, me, 0)
	if c.Known != 0 {
		t.Errorf("nothing was committed, and revision %d is known", c.Known)
	}
	key := l.space.Committed(info.ID, "group", 0)
	ps := []format.Position{c.at(5, 0)}
	commit := func() error {
		t.Helper()
		errs, err := l.Commit(ctx, me, ps)
		if err != nil {
			t.Fatal(err)
		}
		return errs[0]
	}
	offset := func() int64 {
		t.Helper()
		v, err := format.ParseCommitted(key, []byte(value(t, l, key)))
		if err != nil {
			t.Fatal(err)
		}
		return v.Offset
	}
	if err := commit(); err != nil || ps[0].Known == 0 {
		t.Fatal(ps[0].Known, err)
	}
	if again, err := l.Claim(ctx, me, 0, []int{0}); err != nil || again[0].Known != ps[0].Known {
		t.Errorf("%+v, %v; want what was written at %d", again, err, ps[0].Known)
	}
	// A late attempt of an earlier commit went over it.
	put(t, l, key, format.Encode(&pb.Committed{Offset: 3, Fence: c.Fence}))
	ps[0].Offset = 6
	if err := commit(); err != nil || offset() != 6 {
		t.Errorf("over a late one: %v, offset %d", err, offset())
	}
	remove(t, l, key)
	ps[0].Offset = 7
	if err := commit(); err != nil || offset() != 7 {
		t.Errorf("over a deleted one: %v, offset %d", err, offset())
	}
	ps[0].Known += 1000 // what is there is from before
	ps[0].Offset = 8
	if err := commit(); !errors.Is(err, messages.ErrFenced) || offset() != 7 {
		t.Errorf("in an etcd that was set back: %v, offset %d", err, offset())
	}
	errs, err := l.Release(ctx, me, ps)
	if err != nil || !errors.Is(errs[0], messages.ErrFenced) || offset() != 7 {
		t.Errorf("released in an etcd that was set back: %v, %v, offset %d", errs, err, offset())
	}
	ps[0].Offset = -1
	if errs, err = l.Release(ctx, me, ps); err != nil || errs[0] != nil || offset() != 7 {
		t.Errorf("released without an offset: %v, %v, offset %d", errs, err, offset())
	}
}

// Places of several partitions at once are those of each alone, and one that makes no
// sense keeps none of the others.
func TestResolveEach(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 100)
	for p := range 100 {
		fill(t, l, info, p, p%3)
	}
	put(t, l, l.space.LogStart(info.ID, 7), "\xff")
	starts := []messages.Start{
		messages.Earliest(), messages.Latest(), messages.AtOffset(0), messages.AtOffset(7), messages.AtOffset(5), messages.AtTime(time.Unix(1, 0)),
		messages.AtOffset(-1),
	}
	from := func(p int) messages.Start { return starts[p%len(starts)] }
	partitions := upTo(100)
	slices.Reverse(partitions)
	places, err := l.ResolveEach(ctx, info, partitions, from)
	if err != nil || len(places) != len(partitions) {
		t.Fatalf("%d places, %v", len(places), err)
	}
	for i, p := range partitions {
		offset, base, err := l.Partition(info, p).Resolve(ctx, from(p))
		got := places[i]
		for _, class := range []error{messages.ErrCorrupt, messages.ErrOffsetOutOfRange} {
			if errors.Is(got.Err, class) != errors.Is(err, class) {
				t.Errorf("partition %d: %v, alone %v", p, got.Err, err)
			}
		}
		if (got.Err == nil) != (err == nil) || err == nil && (got.Offset != offset || got.Base != base) {
			t.Errorf("partition %d from %s: %+v, alone %d, %d, %v", p, from(p), got, offset, base, err)
		}
	}
	if !errors.Is(places[100-1-7].Err, messages.ErrCorrupt) {
		t.Errorf("a start that is none: %v", places[100-1-7].Err)
	}
	info.ID = "elsewhere"
	if _, err := l.ResolveEach(ctx, info, partitions, from); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("a topic that is gone: %v", err)
	}
}
