package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// batchOf is a batch of values, all of one time.
func batchOf(producer, sequence uint64, values ...string) *format.Sealed {
	return format.Seal(records(values...), len(values), 1, 1, 1, messages.CompressNone, producer, sequence)
}

// join makes a member with a lease of its own.
func join(t testing.TB, l *Log, info messages.TopicInfo, group, member string) Me {
	t.Helper()
	lease, err := l.client.Grant(testContext(t), 120)
	if err != nil {
		t.Fatal(err)
	}
	me := Me{Topic: info, Group: group, Member: member, Lease: lease.ID}
	me.MemberRevision = put(t, l, l.space.ConsumerMember(info.ID, group, member),
		format.Encode(&pb.ConsumerMember{Id: member, Host: "host-" + member, SinceUnixMs: 1700000000000}), clientv3.WithLease(lease.ID))
	return me
}

// leave ends a member as its session's end would: with all its keys at once.
func leave(t testing.TB, l *Log, me Me) {
	t.Helper()
	if _, err := l.client.Revoke(testContext(t), me.Lease); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureGroup(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	deleted := create(t, l, "deleted", 1)
	if _, err := l.DeleteTopic(ctx, "deleted"); err != nil {
		t.Fatal(err)
	}
	again := create(t, l, "deleted", 1)
	put(t, l, l.space.ConsumerGroupMeta(info.ID, "bad"), "\xff")
	for _, c := range []struct {
		name   string
		topic  messages.TopicInfo
		group  string
		manual bool
		made   bool
		want   error
		says   string
	}{
		{"the first decides", info, "auto", false, true, nil, ""},
		{"the same", info, "auto", false, false, nil, ""},
		{"the other mode", info, "auto", true, false, messages.ErrGroupMode, "automatic"},
		{"manual", info, "manual", true, true, nil, ""},
		{"manual and automatic", info, "manual", false, false, messages.ErrGroupMode, "manual"},
		{"a deleted topic", deleted, "auto", false, false, messages.ErrTopicDeleted, "deleted"},
		{"its successor", again, "auto", false, true, nil, ""},
		{"a bad name", info, "a/b", false, false, messages.ErrInvalid, `"a/b"`},
		{"a corrupt group", info, "bad", false, false, messages.ErrCorrupt, "/bad/meta"},
	} {
		_, made, err := l.EnsureGroup(ctx, c.topic, c.group, Joining{Manual: c.manual})
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) || made != c.made {
			t.Errorf("%s: got %v, made %v, want %v, %v", c.name, err, made, c.want, c.made)
		}
	}
	f.next(fault{kind: lose})
	if _, _, err := l.EnsureGroup(ctx, info, "lost", Joining{Manual: true}); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, _, err := l.EnsureGroup(ctx, info, "lost", Joining{Manual: true}); err != nil {
		t.Error(err)
	}
	put(t, l, l.space.Committed(info.ID, "only-offsets", 0), format.Encode(&pb.Committed{}))
	put(t, l, l.space.ConsumerGroups(info.ID)+"x/strange", "")
	groups, err := l.Groups(ctx, info)
	if err != nil || !slices.Equal(groups, []string{"auto", "bad", "lost", "manual", "only-offsets"}) {
		t.Errorf("%q, %v", groups, err)
	}
	if groups, err := l.Groups(ctx, deleted); err != nil || len(groups) > 0 {
		t.Errorf("%q, %v", groups, err)
	}
}

func assignment(generation int64, shares ...*pb.Share) *pb.Assignment {
	return &pb.Assignment{Generation: generation, Partitions: 4, Shares: shares, By: "m", SinceUnixMs: generation}
}

func share(member string, partitions ...uint32) *pb.Share {
	return &pb.Share{Member: member, Partitions: partitions}
}

func TestAssign(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 4)
	me := join(t, l, info, "group", "m")
	stale := me
	stale.MemberRevision--
	elsewhere := me
	elsewhere.Topic.CreateRevision--

	one, err := l.Assign(ctx, me, 0, assignment(1, share("m", 0, 1, 2, 3)))
	if err != nil || one == 0 {
		t.Fatal(one, err)
	}
	for _, c := range []struct {
		name     string
		me       Me
		previous int64
		a        *pb.Assignment
		want     error
		says     string
	}{
		{"from nothing again", me, 0, assignment(2, share("m", 0)), ErrRaced, "another assignment"},
		{"from another revision", me, one - 1, assignment(2, share("m", 0)), ErrRaced, "another assignment"},
		{"by an incarnation before", stale, one, assignment(2, share("m", 0)), ErrRaced, "incarnation"},
		{"in a topic before", elsewhere, one, assignment(2, share("m", 0)), messages.ErrTopicDeleted, "orders"},
		{"without a generation", me, one, assignment(0), messages.ErrInvalid, "generation 0"},
		{"a partition too many", me, one, assignment(2, share("m", 4)), messages.ErrInvalid, "partition 4 of 4"},
		{"a partition twice", me, one, assignment(2, share("m", 1), share("n", 1)), messages.ErrInvalid, "given twice"},
		{"a member twice", me, one, assignment(2, share("m", 1), share("m", 2)), messages.ErrInvalid, "two shares"},
		{"a strange member", me, one, assignment(2, share("a/b", 1)), messages.ErrInvalid, "a/b"},
		{"too many partitions", me, one, &pb.Assignment{Generation: 2, Partitions: 1025}, messages.ErrInvalid, "1025"},
	} {
		if rev, err := l.Assign(ctx, c.me, c.previous, c.a); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d, %v; want %v that says %q", c.name, rev, err, c.want, c.says)
		}
	}
	if there, err := format.ParseAssignment("key", []byte(value(t, l, l.space.Assignment(info.ID, "group")))); err != nil || there.Generation != 1 {
		t.Fatalf("%v, %v", there, err)
	}

	// The answer is lost: the same call again finds that it was done.
	next := assignment(2, share("m", 0, 1), share("n", 2, 3))
	f.next(fault{kind: lose})
	if _, err := l.Assign(ctx, me, one, next); !errors.Is(err, messages.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	two, err := l.Assign(ctx, me, one, next)
	if err != nil || two <= one {
		t.Fatalf("%d, %v", two, err)
	}
	if three, err := l.Assign(ctx, me, two, assignment(3)); err != nil || three <= two {
		t.Errorf("%d, %v", three, err)
	}
	leave(t, l, me)
	if _, err := l.Assign(ctx, me, 0, assignment(4)); !errors.Is(err, ErrRaced) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
}

// Of members that all think that they are the oldest, one assigns.
func TestAssignRace(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 4)
	names := []string{"a", "b", "c", "d"}
	var members []Me
	for _, name := range names {
		members = append(members, join(t, l, info, "group", name))
	}
	var previous int64
	for generation := int64(1); generation <= 10; generation++ {
		var wg sync.WaitGroup
		revisions := make([]int64, len(names))
		for i, me := range members {
			wg.Go(func() {
				rev, err := l.Assign(ctx, me, previous, assignment(generation, share(me.Member, 0)))
				if err != nil && !errors.Is(err, ErrRaced) {
					t.Error(err)
				}
				revisions[i] = rev
			})
		}
		wg.Wait()
		won := slices.DeleteFunc(slices.Clone(revisions), func(rev int64) bool { return rev == 0 })
		if len(won) != 1 {
			t.Fatalf("generation %d: %d have won", generation, len(won))
		}
		previous = won[0]
		there, err := format.ParseAssignment("key", []byte(value(t, l, l.space.Assignment(info.ID, "group"))))
		if err != nil || there.Generation != generation || there.Shares[0].Member != names[slices.Index(revisions, previous)] {
			t.Fatalf("%v, %v", there, err)
		}
	}
}

// begins is where a group begins in partitions, -1 for what is not decided and -2
// for the earliest record.
func begins(b format.Beginning, partitions int) (at []int64) {
	for p := range partitions {
		start, decided := b.In(p)
		offset, isOffset := start.Offset()
		switch {
		case !decided:
			offset = -1
		case !isOffset:
			offset = -2
		}
		at = append(at, offset)
	}
	return at
}

func TestBeginningIsDecidedOnce(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 3)
	fill(t, l, info, 0, 5)
	fill(t, l, info, 1, 3)
	trim(t, l, info, 0, 20)
	known := format.BeginningAt([]int64{7})
	for i, c := range []struct {
		name  string
		join  Joining
		want  error
		begin []int64 // in five partitions; the last two come later
	}{
		{"earliest", Joining{}, nil, []int64{-2, -2, -2, -2, -2}},
		{"latest", Joining{Start: messages.Latest()}, nil, []int64{50, 30, 0, -2, -2}},
		{"an offset, trimmed in one", Joining{Start: messages.AtOffset(0)}, nil, []int64{20, 0, 0, -2, -2}},
		{"an offset that one has not", Joining{Start: messages.AtOffset(25)}, messages.ErrOffsetOutOfRange, nil},
		{"a negative offset", Joining{Start: messages.AtOffset(-1)}, messages.ErrOffsetOutOfRange, nil},
		{"the largest offset", Joining{Start: messages.AtOffset(math.MaxInt64)}, messages.ErrOffsetOutOfRange, nil},
		{"an offset that the others have not", Joining{Manual: true, Named: []int{0, 1}, Start: messages.AtOffset(25)}, nil, []int64{25, 25, -1, -2, -2}},
		{"an offset that one named has not", Joining{Manual: true, Named: []int{0, 2}, Start: messages.AtOffset(25)}, messages.ErrOffsetOutOfRange, nil},
		{"a time", Joining{Start: messages.AtTime(time.Unix(0, 2))}, nil, []int64{20, 20, 0, -2, -2}},
		{"a time long gone", Joining{Start: messages.AtTime(time.Time{})}, nil, []int64{-2, -2, -2, -2, -2}},
		{"put back", Joining{Start: messages.Latest(), Began: &known}, nil, []int64{7, -2, -2, -2, -2}},
	} {
		group := fmt.Sprint("g", i)
		began, made, err := l.EnsureGroup(ctx, info, group, c.join)
		if !errors.Is(err, c.want) || made != (c.want == nil) || err == nil && fmt.Sprint(begins(began, 5)) != fmt.Sprint(c.begin) {
			t.Errorf("%s: %d, made %v, %v; want %d, %v", c.name, begins(began, 5), made, err, c.begin, c.want)
		}
		if c.want != nil {
			if left := under(t, l, "/"+group+"/"); len(left) > 0 {
				t.Errorf("%s: left %q", c.name, left)
			}
			continue
		}
		// Whoever comes later finds that, whatever he wants himself.
		c.join.Start, c.join.Began = messages.Earliest(), nil
		again, made, err := l.EnsureGroup(ctx, info, group, c.join)
		if err != nil || made || fmt.Sprint(begins(again, 5)) != fmt.Sprint(c.begin) {
			t.Errorf("%s, again: %d, made %v, %v", c.name, begins(again, 5), made, err)
		}
	}

	// A group of a version that did not record it.
	put(t, l, l.space.ConsumerGroupMeta(info.ID, "old"), format.Encode(&pb.ConsumerGroup{}))
	began, made, err := l.EnsureGroup(ctx, info, "old", Joining{Start: messages.Latest()})
	if err != nil || !made || begins(began, 1)[0] != -2 {
		t.Errorf("an old group: %d, %v, %v", begins(began, 1), made, err)
	}
	// Settings that somebody deleted change nothing about it.
	remove(t, l, l.space.ConsumerGroupMeta(info.ID, "g1"))
	if began, made, err = l.EnsureGroup(ctx, info, "g1", Joining{}); err != nil || !made || begins(began, 1)[0] != 50 {
		t.Errorf("without settings: %d, %v, %v", begins(began, 1), made, err)
	}
	// A reset of all partitions is a beginning, one of some is none.
	for group, partitions := range map[string][]int{"whole": nil, "part": {0}} {
		if _, err := l.ResetOffsets(ctx, info, group, messages.Latest(), partitions, false, false); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{"whole": -2, "part": 30}[group]
		if began, _, err = l.EnsureGroup(ctx, info, group, Joining{Start: messages.Latest()}); err != nil || begins(began, 2)[1] != want {
			t.Errorf("after a reset of %v: %d, %v", partitions, begins(began, 2), err)
		}
	}
	put(t, l, l.space.Beginning(info.ID, "spoilt"), "\xff")
	if _, _, err := l.EnsureGroup(ctx, info, "spoilt", Joining{}); !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "spoilt/begin") {
		t.Errorf("a spoilt beginning: %v", err)
	}

	// A topic that grows at the moment of the decision, and an answer that is lost.
	f.next(fault{before: func() {
		f.next()
		if _, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: 4}); err != nil {
			t.Error(err)
		}
	}})
	if began, _, err = l.EnsureGroup(ctx, info, "growing", Joining{Start: messages.Latest()}); err != nil || begins(began, 5)[3] != 0 || begins(began, 5)[4] != -2 {
		t.Errorf("in a topic that grew: %d, %v", begins(began, 5), err)
	}
	f.next(fault{kind: lose})
	if _, _, err := l.EnsureGroup(ctx, info, "lost", Joining{Start: messages.Latest()}); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("a lost answer: %v", err)
	}
	fill(t, l, info, 2, 1)
	if began, made, err = l.EnsureGroup(ctx, info, "lost", Joining{Start: messages.Latest()}); err != nil || made || begins(began, 3)[2] != 0 {
		t.Errorf("after a lost answer: %d, %v, %v", begins(began, 3), made, err)
	}
}

// The largest topic has its beginning in one key and two requests.
func TestBeginningOfTheLargestTopic(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", messages.MaxPartitions)
	fill(t, l, info, messages.MaxPartitions-1, 2)
	writes := f.count()
	began, _, err := l.EnsureGroup(ctx, info, "group", Joining{Start: messages.Latest()})
	if err != nil || f.count()-writes != 1 {
		t.Fatal(f.count()-writes, err)
	}
	if at := begins(began, messages.MaxPartitions); at[0] != 0 || at[messages.MaxPartitions-1] != 20 {
		t.Errorf("%d, %d", at[0], at[messages.MaxPartitions-1])
	}
	// Nothing is committed, and what lags is what came since.
	fill(t, l, info, 0, 1)
	g, err := l.DescribeGroup(ctx, info, "group")
	if err != nil || g.Lag != 10 || g.Partitions[messages.MaxPartitions-1].Lag != 0 {
		t.Errorf("lag %d, %v", g.Lag, err)
	}
}
