package commitlog

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

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
