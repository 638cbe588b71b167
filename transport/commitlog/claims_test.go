package commitlog

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// claimOne claims a partition that must be free.
func claimOne(t testing.TB, l *Log, me Me, p int) Claimed {
	t.Helper()
	claimed, err := l.Claim(testContext(t), me, 0, []int{p})
	if err != nil || len(claimed) != 1 || claimed[0].Fence == 0 || claimed[0].Err != nil {
		t.Fatalf("%s claims %d: %+v, %v", me.Member, p, claimed, err)
	}
	return claimed[0]
}

func (c Claimed) at(offset, base int64) format.Position {
	return format.Position{Partition: c.Partition, Fence: c.Fence, Offset: offset, Base: base, Known: c.Known}
}

// commitOne and releaseOne answer what became of the one partition.
func commitOne(t testing.TB, l *Log, me Me, p format.Position) error {
	t.Helper()
	errs, err := l.Commit(testContext(t), me, []format.Position{p})
	if err != nil {
		t.Fatal(err)
	}
	return errs[0]
}

func releaseOne(t testing.TB, l *Log, me Me, p format.Position) error {
	t.Helper()
	errs, err := l.Release(testContext(t), me, []format.Position{p})
	if err != nil {
		t.Fatal(err)
	}
	return errs[0]
}

func committed(t testing.TB, l *Log, me Me, p int) (offset, base, fence int64) {
	t.Helper()
	v := value(t, l, l.space.Committed(me.Topic.ID, me.Group, p))
	if v == "" {
		return -1, -1, -1
	}
	c, err := format.ParseCommitted("committed", []byte(v))
	if err != nil {
		t.Fatal(err)
	}
	return c.Offset, c.Base, c.Fence
}

func TestClaim(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 100)
	me := join(t, l, info, "group", "me")
	me.Generation = 3
	live := join(t, l, info, "group", "live")
	dead := join(t, l, info, "group", "dead")
	back := join(t, l, info, "group", "back")
	claimOne(t, l, live, 1)
	// Claims that outlive their members: as if the lease were another.
	for _, gone := range []Me{dead, back} {
		gone.Lease = me.Lease
		claimOne(t, l, gone, map[string]int{"dead": 2, "back": 3}[gone.Member])
	}
	leave(t, l, dead)
	leave(t, l, back)
	back = join(t, l, info, "group", "back")
	put(t, l, l.space.Committed(info.ID, "group", 4), format.Encode(&pb.Committed{Offset: 42, Base: 40, Fence: 1}))
	put(t, l, l.space.Committed(info.ID, "group", 5), "\xff")
	put(t, l, l.space.Committed(info.ID, "group", 6), format.Encode(&pb.Committed{Offset: -1}))
	put(t, l, l.space.Claim(info.ID, "group", 7), "\xff")
	// An incarnation of me before.
	before := me
	before.MemberRevision--
	put(t, l, l.space.Claim(info.ID, "group", 8), format.Encode(&pb.Claim{Member: "me", MemberRevision: before.MemberRevision}))
	mine := claimOne(t, l, me, 9)

	partitions := upTo(100)
	claimed, err := l.Claim(ctx, me, 0, partitions)
	if err != nil || len(claimed) != 100 {
		t.Fatalf("%d, %v", len(claimed), err)
	}
	for i, c := range claimed {
		want := Claimed{Partition: i, Fence: c.Fence, Offset: -1}
		held := func(m Me, gone bool) {
			want.Fence, want.Offset = 0, -1
			want.Held = &format.Holder{Member: m.Member, MemberRevision: m.MemberRevision, Generation: m.Generation, Gone: gone}
		}
		switch i {
		case 1:
			held(live, false)
		case 2:
			held(dead, true)
		case 3:
			held(Me{Member: "back", MemberRevision: c.Held.MemberRevision}, true)
			if c.Held.MemberRevision >= back.MemberRevision {
				t.Errorf("the claim is of the incarnation %d, the member of %d", c.Held.MemberRevision, back.MemberRevision)
			}
		case 4:
			want.Offset, want.Base = 42, 40
		case 5, 6:
			if !errors.Is(c.Err, messages.ErrCorrupt) || !strings.Contains(c.Err.Error(), l.space.Committed(info.ID, "group", i)) {
				t.Errorf("partition %d: %v", i, c.Err)
			}
			c.Err = nil
		case 7:
			if !errors.Is(c.Err, messages.ErrCorrupt) || !strings.Contains(c.Err.Error(), l.space.Claim(info.ID, "group", i)) {
				t.Errorf("partition %d: %v", i, c.Err)
			}
			c.Err = nil
			held(Me{}, false)
		case 8:
			held(before, true)
			want.Held.Generation = 0
		case 9:
			want.Fence = mine.Fence
		}
		kv, err := l.client.Get(ctx, l.space.Claim(info.ID, "group", i))
		if err != nil {
			t.Fatal(err)
		}
		if want.Held != nil {
			want.Held.Revision = kv.Kvs[0].CreateRevision
		} else if c.Fence != kv.Kvs[0].CreateRevision || kv.Kvs[0].Lease != int64(me.Lease) || kv.Kvs[0].Version != 1 {
			t.Errorf("partition %d has the fence %d: %+v", i, c.Fence, kv.Kvs[0])
		}
		if c.Fence != 0 {
			want.Known = modRevision(t, l, l.space.Committed(info.ID, "group", i))
		}
		if !reflect.DeepEqual(c, want) { //nolint:govet // both errors are nil
			t.Errorf("partition %d: %+v (held by %+v), want %+v (%+v)", i, c, c.Held, want, want.Held)
		}
	}
	if c, err := format.ParseClaim("claim", []byte(value(t, l, l.space.Claim(info.ID, "group", 50)))); err != nil || c.Generation != 3 || c.Member != "me" || c.MemberRevision != me.MemberRevision {
		t.Errorf("%v, %v", c, err)
	}
}

// What a claim is based on must still be so.
func TestClaimGuards(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 4)
	me := join(t, l, info, "group", "me")
	first, err := l.Assign(ctx, me, 0, assignment(1, share("me", 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Assign(ctx, me, first, assignment(2, share("me", 0)))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Me)) Me {
		other := me
		change(&other)
		return other
	}
	noLease := join(t, l, info, "group", "no-lease")
	noLease.Lease = 12345
	gone := join(t, l, info, "group", "gone")
	leave(t, l, gone)
	for _, c := range []struct {
		name       string
		me         Me
		assignment int64
		partitions []int
		want       error
		says       string
	}{
		{"an assignment before", me, first, []int{0}, ErrRaced, "assignment"},
		{"an assignment to come", me, second + 100, []int{0}, ErrRaced, "assignment"},
		{"an incarnation before", with(func(m *Me) { m.MemberRevision-- }), second, []int{0}, ErrRaced, "incarnation"},
		{"a member that never was", with(func(m *Me) { m.Member = "nobody" }), second, []int{0}, ErrRaced, "gone"},
		{"a member that is gone", gone, 0, []int{0}, ErrRaced, "gone"},
		{"a lease that is gone", noLease, 0, []int{0}, ErrRaced, "lease"},
		{"a topic before", with(func(m *Me) { m.Topic.CreateRevision-- }), second, []int{0}, messages.ErrTopicDeleted, "orders"},
		{"a topic that is gone", with(func(m *Me) { m.Topic.Name = "elsewhere" }), second, []int{0}, messages.ErrTopicDeleted, "elsewhere"},
		{"a negative partition", me, second, []int{-1}, messages.ErrNoPartition, "-1"},
		{"a partition too large", me, second, []int{1024}, messages.ErrNoPartition, "1024"},
		{"a partition twice", me, second, []int{2, 2}, messages.ErrInvalid, "twice"},
	} {
		if claimed, err := l.Claim(ctx, c.me, c.assignment, c.partitions); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || len(claimed) > 0 {
			t.Errorf("%s: %+v, %v; want %v that says %q", c.name, claimed, err, c.want, c.says)
		}
	}
	if got := under(t, l, "/claims/"); len(got) > 0 {
		t.Fatalf("something was claimed: %q", got)
	}
	if claimed, err := l.Claim(ctx, me, second, nil); err != nil || len(claimed) != 0 {
		t.Errorf("%+v, %v", claimed, err)
	}

	// The answer is lost: the same call again finds its own claims.
	f.next(fault{kind: lose})
	if _, err := l.Claim(ctx, me, second, []int{0, 1}); !errors.Is(err, messages.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	claimed, err := l.Claim(ctx, me, second, []int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claimed {
		if c.Fence == 0 || c.Held != nil {
			t.Errorf("%+v", c)
		}
	}
	if claimed[0].Fence != claimed[1].Fence || claimed[2].Fence <= claimed[1].Fence {
		t.Errorf("%+v", claimed)
	}
}

func TestCommit(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 100)
	me := join(t, l, info, "group", "me")
	claimed, err := l.Claim(ctx, me, 0, upTo(100))
	if err != nil {
		t.Fatal(err)
	}
	// Of a hundred, some are lost, each in its way.
	other := join(t, l, info, "group", "other")
	remove(t, l, l.space.Claim(info.ID, "group", 10))
	remove(t, l, l.space.Claim(info.ID, "group", 50))
	taken := claimOne(t, l, other, 50)
	var ps []format.Position
	for i, c := range claimed {
		ps = append(ps, c.at(int64(i+1), int64(i)))
	}
	// A fence of 0 must not mean that there is no claim.
	ps[10].Fence = 0
	ps[70].Fence--
	ps[71].Fence = 0
	ps[72].Fence = -1
	writes := f.count()
	errs, err := l.Commit(ctx, me, ps)
	if err != nil || len(errs) != 100 {
		t.Fatal(errs, err)
	}
	if n := f.count() - writes; n != 3 {
		t.Errorf("%d requests", n)
	}
	for i, err := range errs {
		offset, base, fence := committed(t, l, me, i)
		switch i {
		case 10, 50, 70, 71, 72:
			if !errors.Is(err, messages.ErrFenced) || !strings.Contains(err.Error(), fmt.Sprintf("partition %d:", i)) || offset != -1 {
				t.Errorf("partition %d: %v, and %d is committed", i, err, offset)
			}
		default:
			if err != nil || offset != int64(i+1) || base != int64(i) || fence != claimed[i].Fence {
				t.Errorf("partition %d: %v; committed %d %d %d", i, err, offset, base, fence)
			}
		}
	}
	if err := commitOne(t, l, other, taken.at(7, 7)); err != nil {
		t.Error(err)
	}
	// The next owner begins where this one left off, in the moment of its claim.
	leave(t, l, me)
	if c := claimOne(t, l, other, 99); c.Offset != 100 || c.Base != 99 || c.Fence <= taken.Fence {
		t.Errorf("%+v", c)
	}

	for _, c := range []struct {
		name string
		ps   []format.Position
		want error
	}{
		{"a negative offset", []format.Position{{Partition: 1, Fence: 5, Offset: -1}}, messages.ErrInvalid},
		{"a partition twice", []format.Position{{Partition: 1, Fence: 5}, {Partition: 1, Fence: 5}}, messages.ErrInvalid},
		{"a partition too large", []format.Position{{Partition: 1024, Fence: 5}}, messages.ErrNoPartition},
	} {
		if errs, err := l.Commit(ctx, me, c.ps); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, errs, err)
		}
	}
	if errs, err := l.Commit(ctx, me, nil); err != nil || len(errs) != 0 {
		t.Errorf("%v, %v", errs, err)
	}
}

// A request whose outcome is unknown says so of its own partitions only, and can
// be repeated.
func TestCommitWithLostAnswers(t *testing.T) {
	for _, kind := range []faultKind{drop, lose} {
		l, f := startEtcd(t)
		ctx := testContext(t)
		me := join(t, l, create(t, l, "orders", 100), "group", "me")
		claimed, err := l.Claim(ctx, me, 0, upTo(100))
		if err != nil {
			t.Fatal(err)
		}
		var ps []format.Position
		for _, c := range claimed {
			ps = append(ps, c.at(5, 0))
		}
		f.next(fault{}, fault{kind: kind}, fault{})
		errs, err := l.Commit(ctx, me, ps)
		if !errors.Is(err, messages.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		f.used(t)
		for i, err := range errs {
			if unknown := i >= nestedInOne && i < 2*nestedInOne; unknown != errors.Is(err, messages.ErrUnavailable) || !unknown && err != nil {
				t.Errorf("partition %d: %v", i, err)
			}
		}
		errs, err = l.Commit(ctx, me, ps)
		if err := errors.Join(append(errs, err)...); err != nil {
			t.Error(err)
		}
		if offset, _, _ := committed(t, l, me, nestedInOne); offset != 5 {
			t.Errorf("committed %d", offset)
		}
	}
}

func TestRelease(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 4)
	me, other := join(t, l, info, "group", "me"), join(t, l, info, "group", "other")
	free := func(p int) bool { return value(t, l, l.space.Claim(info.ID, "group", p)) == "" }

	c := claimOne(t, l, me, 0)
	if err := releaseOne(t, l, me, c.at(10, 8)); err != nil || !free(0) {
		t.Errorf("%v, free %v", err, free(0))
	}
	if offset, base, fence := committed(t, l, me, 0); offset != 10 || base != 8 || fence != c.Fence {
		t.Errorf("committed %d %d %d", offset, base, fence)
	}
	// Twice is once.
	if err := releaseOne(t, l, me, c.at(10, 8)); err != nil {
		t.Error(err)
	}
	// But what was not released is not taken for it.
	if err := releaseOne(t, l, me, c.at(11, 8)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("got %v", err)
	}
	if err := commitOne(t, l, me, c.at(11, 8)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("got %v", err)
	}
	next := claimOne(t, l, other, 0)
	if next.Offset != 10 || next.Base != 8 || next.Fence <= c.Fence {
		t.Errorf("%+v", next)
	}
	// Still twice is once: the successor has not committed.
	if err := releaseOne(t, l, me, c.at(10, 8)); err != nil || free(0) {
		t.Errorf("%v, free %v", err, free(0))
	}
	if err := commitOne(t, l, other, next.at(20, 20)); err != nil {
		t.Fatal(err)
	}
	if err := releaseOne(t, l, me, c.at(20, 20)); !errors.Is(err, messages.ErrFenced) || free(0) {
		t.Errorf("%v, free %v", err, free(0))
	}

	// Without an offset only the claim goes.
	c = claimOne(t, l, me, 1)
	for range 2 {
		if err := releaseOne(t, l, me, c.at(-1, 0)); err != nil || !free(1) {
			t.Errorf("%v, free %v", err, free(1))
		}
	}
	if offset, _, _ := committed(t, l, me, 1); offset != -1 {
		t.Errorf("committed %d", offset)
	}
	// A corrupt offset is no proof of a release.
	put(t, l, l.space.Committed(info.ID, "group", 1), "\xff")
	if err := releaseOne(t, l, me, c.at(5, 0)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("got %v", err)
	}

	// One that is fenced does not keep the others.
	a, b := claimOne(t, l, me, 2), claimOne(t, l, me, 3)
	remove(t, l, l.space.Claim(info.ID, "group", 2))
	errs, err := l.Release(ctx, me, []format.Position{a.at(5, 5), b.at(6, 6)})
	if err != nil || !errors.Is(errs[0], messages.ErrFenced) || errs[1] != nil || !free(3) {
		t.Errorf("%v, %v, free %v", errs, err, free(3))
	}

	// A lost answer.
	for _, kind := range []faultKind{drop, lose} {
		c = claimOne(t, l, me, 2)
		f.next(fault{kind: kind})
		if _, err := l.Release(ctx, me, []format.Position{c.at(30, 30)}); !errors.Is(err, messages.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if err := releaseOne(t, l, me, c.at(30, 30)); err != nil || !free(2) {
			t.Errorf("%v, free %v", err, free(2))
		}
	}
}

func TestRevoke(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 4)
	me := join(t, l, info, "group", "me")
	live := join(t, l, info, "group", "live")
	// Claims of members that are gone, under a lease that is not.
	gone, back := join(t, l, info, "group", "gone"), join(t, l, info, "group", "back")
	for i, m := range []Me{live, gone, back} {
		m.Lease = live.Lease
		claimOne(t, l, m, i)
	}
	leave(t, l, gone)
	leave(t, l, back)
	join(t, l, info, "group", "back")
	put(t, l, l.space.Claim(info.ID, "group", 3), "\xff")
	claimed, err := l.Claim(ctx, me, 0, upTo(4))
	if err != nil {
		t.Fatal(err)
	}
	holder := func(p int, change func(*format.Holder)) format.Holder {
		h := *claimed[p].Held
		change(&h)
		return h
	}
	same := func(*format.Holder) {}
	stale := me
	stale.MemberRevision--
	left := join(t, l, info, "group", "left")
	leave(t, l, left)
	for _, c := range []struct {
		name    string
		me      Me
		p       int
		h       format.Holder
		overdue bool
		want    bool
		err     error
	}{
		{"of a live member", me, 0, holder(0, same), false, false, nil},
		{"of another claim", me, 1, holder(1, func(h *format.Holder) { h.Revision-- }), true, false, nil},
		{"of no claim", me, 1, holder(1, func(h *format.Holder) { h.Revision = 0 }), true, false, nil},
		{"by an incarnation before", stale, 1, holder(1, same), true, false, ErrRaced},
		{"by a member that is gone", left, 1, holder(1, same), true, false, ErrRaced},
		{"in no partition", me, -1, holder(1, same), true, false, messages.ErrNoPartition},
		{"of a claim that cannot be read", me, 3, holder(3, same), false, false, nil},
		{"of a member that is gone", me, 1, holder(1, same), false, true, nil},
		{"of the same again", me, 1, holder(1, same), false, false, nil},
		{"of a member that came back", me, 2, holder(2, same), false, true, nil},
		{"of one that is overdue", me, 0, holder(0, same), true, true, nil},
		{"of an overdue claim that cannot be read", me, 3, holder(3, same), true, true, nil},
	} {
		had := value(t, l, l.space.Claim(info.ID, "group", max(c.p, 0))) != ""
		did, err := l.Revoke(ctx, c.me, c.p, c.h, c.overdue)
		if did != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", c.name, did, err)
		}
		if has := value(t, l, l.space.Claim(info.ID, "group", max(c.p, 0))) != ""; has != (had && !c.want) {
			t.Errorf("%s: there is a claim: %v", c.name, has)
		}
	}
}

// Revoking what has just been released and claimed again changes nothing.
func TestRevokeRace(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	me, old, next := join(t, l, info, "group", "me"), join(t, l, info, "group", "old"), join(t, l, info, "group", "next")
	for range 30 {
		first := claimOne(t, l, old, 0)
		seen, err := l.Claim(ctx, me, 0, []int{0})
		if err != nil || seen[0].Held == nil {
			t.Fatal(seen, err)
		}
		var wg sync.WaitGroup
		var revoked bool
		var released error
		wg.Go(func() {
			var err error
			if revoked, err = l.Revoke(ctx, me, 0, *seen[0].Held, true); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			errs, err := l.Release(ctx, old, []format.Position{first.at(5, 5)})
			if err != nil {
				t.Error(err)
				return
			}
			released = errs[0]
		})
		wg.Wait()
		// Exactly one of the two took the claim away. A repeated release with the
		// same offset counts as done, so only its first may be fenced.
		if _, _, fence := committed(t, l, old, 0); (fence == first.Fence) == revoked || revoked && released == nil {
			t.Fatalf("revoked %v, released %v, committed under %d of %d", revoked, released, fence, first.Fence)
		}
		second := claimOne(t, l, next, 0)
		if did, err := l.Revoke(ctx, me, 0, *seen[0].Held, true); did || err != nil {
			t.Fatalf("the claim of another was revoked: %v, %v", did, err)
		}
		if err := releaseOne(t, l, next, second.at(5, 5)); err != nil {
			t.Fatal(err)
		}
	}
}

// Members that fight for partitions: at any time each has one owner, and who
// lost one can commit no more.
func TestOwnersNeverOverlap(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	const members, partitions, rounds = 6, 3, 25
	info := create(t, l, "orders", partitions)
	var mu sync.Mutex
	type commit struct{ fence, offset int64 }
	var wg sync.WaitGroup
	owners := make([]map[int64]string, partitions) // fence → member
	for p := range owners {
		owners[p] = map[int64]string{}
	}
	commits := make([]atomic.Int64, partitions)
	enough := func() bool {
		for p := range commits {
			if commits[p].Load() < rounds {
				return false
			}
		}
		return true
	}
	for i := range members {
		me := join(t, l, info, "group", fmt.Sprintf("m%d", i))
		wg.Go(func() {
			for round := 0; !enough(); round++ {
				claimed, err := l.Claim(ctx, me, 0, upTo(partitions))
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range claimed {
					if c.Held != nil {
						// Every other is impatient.
						if i%2 == 0 && round%3 == 0 {
							if _, err := l.Revoke(ctx, me, c.Partition, *c.Held, true); err != nil {
								t.Error(err)
							}
						}
						continue
					}
					mu.Lock()
					if before, ok := owners[c.Partition][c.Fence]; ok && before != me.Member {
						t.Errorf("partition %d: the fence %d is of %s and %s", c.Partition, c.Fence, before, me.Member)
					}
					owners[c.Partition][c.Fence] = me.Member
					mu.Unlock()
					offset := max(c.Offset, 0) + 1
					ps := []format.Position{c.at(offset, 0)}
					errs, err := l.Commit(ctx, me, ps)
					if err != nil || errs[0] != nil && !errors.Is(errs[0], messages.ErrFenced) {
						t.Error(errs, err)
						return
					}
					if errs[0] == nil {
						commits[c.Partition].Add(1)
					}
					if round%2 == 0 {
						if _, err := l.Release(ctx, me, ps); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}
		})
	}
	wg.Wait()
	// etcd's own history is the judge: what was committed, and which claim there
	// was at that moment.
	now, err := l.client.Get(ctx, l.space.Topic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		var last commit
		revision := now.Header.Revision
		for n := 0; ; n++ {
			at, err := l.client.Get(ctx, l.space.Committed(info.ID, "group", p), clientv3.WithRev(revision))
			if err != nil {
				t.Fatal(err)
			}
			if len(at.Kvs) == 0 {
				if n < rounds {
					t.Errorf("partition %d: %d commits only", p, n)
				}
				break
			}
			kv := at.Kvs[0]
			c, err := format.ParseCommitted(string(kv.Key), kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			claim, err := l.client.Get(ctx, l.space.Claim(info.ID, "group", p), clientv3.WithRev(kv.ModRevision-1))
			if err != nil {
				t.Fatal(err)
			}
			if len(claim.Kvs) != 1 || claim.Kvs[0].CreateRevision != c.Fence {
				t.Fatalf("partition %d: at %d a commit with the fence %d, and the claim is %+v", p, kv.ModRevision, c.Fence, claim.Kvs)
			}
			if n > 0 && (c.Fence > last.fence || c.Offset > last.offset) {
				t.Fatalf("partition %d: after %+v of %s came %+v", p, c, owners[p][c.Fence], last)
			}
			if owners[p][c.Fence] == "" {
				t.Fatalf("partition %d: nobody knows the fence %d", p, c.Fence)
			}
			last = commit{c.Fence, c.Offset}
			revision = kv.ModRevision - 1
		}
	}
}

// modRevision is a key's, 0 without one.
func modRevision(t testing.TB, l *Log, key string) int64 {
	t.Helper()
	resp, err := l.client.Get(testContext(t), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		return kv.ModRevision
	}
	return 0
}

// A member is buried as it was seen, by one who is a member, and not by itself.
func TestBury(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	me, dead := join(t, l, info, "group", "me"), join(t, l, info, "group", "dead")
	claim := claimOne(t, l, dead, 0)
	stale := me
	stale.MemberRevision--
	for _, c := range []struct {
		name     string
		me       Me
		member   string
		revision int64
		want     bool
		err      error
	}{
		{"another incarnation", me, "dead", dead.MemberRevision - 1, false, nil},
		{"no revision", me, "nobody", 0, false, nil},
		{"oneself", me, "me", me.MemberRevision, false, nil},
		{"by an incarnation before", stale, "dead", dead.MemberRevision, false, ErrRaced},
		{"as it was seen", me, "dead", dead.MemberRevision, true, nil},
		{"the same again", me, "dead", dead.MemberRevision, false, nil},
	} {
		if did, err := l.Bury(ctx, c.me, c.member, c.revision); did != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", c.name, did, err)
		}
	}
	// It can still finish, until its claim is taken.
	if err := commitOne(t, l, dead, claim.at(5, 5)); err != nil {
		t.Error(err)
	}
	if did, err := l.Revoke(ctx, me, 0, format.Holder{Member: "dead", MemberRevision: dead.MemberRevision, Revision: claim.Fence}, false); !did || err != nil {
		t.Errorf("revoke its claim: %v, %v", did, err)
	}
	if err := commitOne(t, l, dead, claim.at(6, 5)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("it commits after that: %v", err)
	}
	// A lost answer.
	dead = join(t, l, info, "group", "dead")
	f.next(fault{kind: lose})
	if _, err := l.Bury(ctx, me, "dead", dead.MemberRevision); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if did, err := l.Bury(ctx, me, "dead", dead.MemberRevision); did || err != nil {
		t.Errorf("again: %v, %v", did, err)
	}
}

// Promise: who claims a partition knows whether the owner before has released it, and gets
// what was finished and tried behind the offset. A commit that has only that to say is
// written, though the offset is the same.
func TestClaimAfterAnOwnerThatDied(t *testing.T) {
	ctx := testContext(t)
	l, _ := startEtcd(t)
	info := create(t, l, "orders", 1)
	me := join(t, l, info, "group", "me")
	first := claimOne(t, l, me, 0)
	if first.Ungraceful {
		t.Error("nobody was there before")
	}
	p := first.at(5, 0)
	p.Progress = format.Progress{Done: []format.Range{{From: 7, To: 9}}}
	ps := []format.Position{p}
	if errs, err := l.Commit(ctx, me, ps); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	known := ps[0].Known
	ps[0].Known, ps[0].Progress = 0, format.Progress{Done: []format.Range{{From: 6, To: 9}}, Tried: []format.Tried{{Offset: 5, Attempts: 2}}}
	if errs, err := l.Commit(ctx, me, ps); err != nil || errs[0] != nil || ps[0].Known <= known {
		t.Fatalf("with the same offset: %v, %v, known %d after %d", errs, err, ps[0].Known, known)
	}
	if done, err := l.Revoke(ctx, me, 0, format.Holder{Member: "me", MemberRevision: me.MemberRevision, Revision: first.Fence}, true); !done || err != nil {
		t.Fatal(done, err)
	}
	second := claimOne(t, l, me, 0)
	if !second.Ungraceful || second.Offset != 5 || !second.Progress.Equal(ps[0].Progress) {
		t.Errorf("after a revocation: %+v", second)
	}
	if err := releaseOne(t, l, me, second.at(-1, -1)); err != nil {
		t.Fatal(err)
	}
	if third := claimOne(t, l, me, 0); third.Ungraceful || !third.Progress.Equal(ps[0].Progress) {
		t.Errorf("after a release: %+v", third)
	}
	d, err := l.DescribeGroup(ctx, info, "group")
	if err != nil || d.Partitions[0].Committed != 5 {
		t.Errorf("%+v, %v", d, err)
	}
}
