package pipegroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

func groupMeta(t interface{ Fatal(...any) }, mode pb.Mode, keep time.Duration) []byte {
	ms := keep.Milliseconds()
	if keep < 0 {
		ms = -1
	}
	value, err := proto.Marshal(&pb.GroupMeta{Mode: mode, Policy: pb.QueuePolicy_BLOCK, KeepForMs: ms})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

var anyMeta = func(*pb.GroupMeta) error { return nil }

func groupAt(prefix string) Keys {
	return Keys{Meta: prefix + "meta", Deserted: prefix + "deserted", Paused: prefix + "paused", Members: prefix + "members/"}
}

// paperEtcd is an etcd on paper: keys of one group, and leases by the clock of
// the test.
type paperEtcd struct {
	now      time.Time
	revision int64
	keys     map[string]discovery.KV
	leases   map[clientv3.LeaseID]*paperLease
	lastID   clientv3.LeaseID
	full     bool
	// before runs before each request: what others do meanwhile.
	before func()
	// gone is told of settings that were removed.
	gone func(value []byte)
}

type paperLease struct {
	ttl time.Duration
	end time.Time
}

func newPaperEtcd() *paperEtcd {
	return &paperEtcd{now: time.Unix(1e9, 0), keys: map[string]discovery.KV{}, leases: map[clientv3.LeaseID]*paperLease{}, before: func() {}, gone: func([]byte) {}}
}

// expire ends the leases that are over.
func (e *paperEtcd) expire() {
	for _, id := range slices.Sorted(maps.Keys(e.leases)) {
		if l := e.leases[id]; l != nil && !e.now.Before(l.end) {
			e.drop(id)
		}
	}
}

func (e *paperEtcd) drop(id clientv3.LeaseID) {
	delete(e.leases, id)
	for key, kv := range e.keys {
		if kv.Lease == id {
			e.remove(key)
		}
	}
}

func (e *paperEtcd) remove(key string) {
	if kv, there := e.keys[key]; there {
		delete(e.keys, key)
		if key == paperGroup.Meta {
			e.gone(kv.Value)
		}
	}
}

func (e *paperEtcd) put(key string, value []byte, lease clientv3.LeaseID) {
	e.revision++
	kv := discovery.KV{Key: key, Value: value, CreateRevision: e.revision, ModRevision: e.revision, Lease: lease}
	if was, there := e.keys[key]; there {
		kv.CreateRevision = was.CreateRevision
	}
	e.keys[key] = kv
}

func (e *paperEtcd) Grant(_ context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	e.before()
	if e.full {
		return nil, rpctypes.ErrNoSpace
	}
	e.lastID++
	d := time.Duration(max(ttl, 2)) * time.Second // etcd's least
	e.leases[e.lastID] = &paperLease{d, e.now.Add(d)}
	return &clientv3.LeaseGrantResponse{ID: e.lastID, TTL: int64(d / time.Second)}, nil
}

func (e *paperEtcd) KeepAliveOnce(_ context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	e.before()
	l := e.leases[id]
	if l == nil {
		return nil, rpctypes.ErrLeaseNotFound
	}
	l.end = e.now.Add(l.ttl)
	return &clientv3.LeaseKeepAliveResponse{ID: id, TTL: int64(l.ttl / time.Second)}, nil
}

func (e *paperEtcd) Revoke(_ context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	e.before()
	e.drop(id)
	return &clientv3.LeaseRevokeResponse{}, nil
}

func (e *paperEtcd) read(_ context.Context, groups []Keys) ([]groupSeen, error) {
	e.before()
	seen := make([]groupSeen, len(groups))
	for i, k := range groups {
		seen[i] = groupSeen{meta: e.keys[k.Meta], mark: e.keys[k.Deserted], members: e.members()}
	}
	return seen, nil
}

func (e *paperEtcd) members() bool {
	for key := range e.keys {
		if key != paperGroup.Meta && key != paperGroup.Deserted {
			return true
		}
	}
	return false
}

func (e *paperEtcd) swap(_ context.Context, k Keys, seen groupSeen, to groupWrite) (bool, error) {
	e.before()
	switch {
	case e.keys[k.Meta].ModRevision != seen.meta.ModRevision, e.keys[k.Deserted].ModRevision != seen.mark.ModRevision,
		to.nobody && e.members():
		return false, nil
	case to.lease != 0 && e.leases[to.lease] == nil:
		return false, rpctypes.ErrLeaseNotFound
	}
	if to.gone {
		e.remove(k.Meta)
	} else {
		e.put(k.Meta, to.meta, to.lease)
	}
	if to.mark == nil {
		e.remove(k.Deserted)
	} else {
		e.put(k.Deserted, to.mark, to.lease)
	}
	return true, nil
}

var paperGroup = groupAt("g/")

// process is one process of the model: a member or a sender, with a session.
type process struct {
	groups *Groups
	key    string
	lease  clientv3.LeaseID
	state  processState
	busy   bool // in the middle of something
}

type processState string

const away, in, frozen processState = "away", "in", "frozen"

const paperTTL = 10 * time.Second

// world plays members and senders of one group against etcd.
type world struct {
	t     *rapid.T
	etcd  *paperEtcd
	keep  time.Duration
	meta  []byte
	procs []*process
	alive time.Time // the last instant at which a member was
	depth int
}

func (w *world) must(err error) {
	if err != nil && !errors.Is(err, rpctypes.ErrNoSpace) && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		w.t.Fatal(err)
	}
}

// between lets others act in the middle of an operation.
func (w *world) between() {
	w.etcd.expire()
	if w.depth > 2 || rapid.IntRange(0, 5).Draw(w.t, "between") > 0 {
		return
	}
	w.act()
}

func (w *world) act() {
	w.depth++
	defer func() { w.depth-- }()
	p := w.procs[rapid.IntRange(0, len(w.procs)-1).Draw(w.t, "who")]
	if p.busy {
		return
	}
	p.busy = true
	defer func() { p.busy = false }()
	what := map[processState][]string{away: {"join", "sender looks"}, in: {"leave", "freeze", "kill", "round", "sender looks"}, frozen: {"thaw", "kill"}}[p.state]
	switch rapid.SampledFrom(what).Draw(w.t, "what") {
	case "join":
		w.join(p)
	case "leave":
		w.leave(p)
	case "freeze":
		w.lived()
		p.state = frozen
	case "kill":
		if p.state == in {
			w.lived()
		}
		w.reborn(p)
	case "thaw":
		p.state = away // until it has said that it is back
		w.session(p)
		w.must(p.groups.round(w.t.Context(), p.groups.all(), groupBatch, func(Event) {}))
		w.settle(p)
	case "round":
		w.must(p.groups.round(w.t.Context(), p.groups.all(), groupBatch, func(Event) {}))
	case "sender looks":
		_, err := p.groups.Desert(w.t.Context(), paperGroup, false)
		w.must(err)
	}
}

func (w *world) lived() { w.alive = w.etcd.now }

// session has the member's key stand under a lease that lives.
func (w *world) session(p *process) {
	if l := w.etcd.leases[p.lease]; l == nil {
		w.etcd.lastID++
		p.lease = w.etcd.lastID
		w.etcd.leases[p.lease] = &paperLease{paperTTL, w.etcd.now.Add(paperTTL)}
	} else {
		l.end = w.etcd.now.Add(l.ttl)
	}
	if w.etcd.keys[p.key].Lease != p.lease {
		w.etcd.put(p.key, nil, p.lease)
	}
}

// settle is the end of a join or return: from then on the member is alive.
func (w *world) settle(p *process) {
	p.state = in
	w.lived()
}

func (w *world) join(p *process) {
	full := w.etcd.full
	w.etcd.full = false
	defer func() { w.etcd.full = full }()
	mine := w.meta
	_, err := p.groups.Attend(w.t.Context(), paperGroup, mine, anyMeta)
	w.must(err)
	w.session(p)
	p.groups.Hold(paperGroup, p.key, mine)
	_, err = p.groups.Attend(w.t.Context(), paperGroup, mine, anyMeta)
	w.must(err)
	w.settle(p)
}

func (w *world) leave(p *process) {
	w.lived()
	p.state = away
	w.must(p.groups.Release(w.t.Context(), paperGroup, p.key))
	w.etcd.remove(p.key)
	delete(w.etcd.leases, p.lease)
	_, err := p.groups.Desert(w.t.Context(), paperGroup, true)
	w.must(err)
}

// reborn replaces a process by another one that knows nothing.
func (w *world) reborn(p *process) {
	i := slices.Index(w.procs, p)
	w.procs[i] = newProcess(w.etcd, fmt.Sprintf("g/members/%d-%d", i, w.etcd.lastID))
	p.state, p.groups.held.all = frozen, map[string]*heldGroup{}
}

func newProcess(e *paperEtcd, key string) *process {
	e.lastID++
	g := newGroups(e, e, paperTTL, "paper")
	g.now = func() time.Time { return e.now }
	return &process{groups: g, key: key, state: away}
}

// pass lets time go by, in which live processes do what they do all the time.
func (w *world) pass(d time.Duration) {
	w.etcd.before = w.etcd.expire
	defer func() { w.etcd.before = w.between }()
	for end := w.etcd.now.Add(d); w.etcd.now.Before(end); {
		w.etcd.now = w.etcd.now.Add(time.Second)
		w.etcd.expire()
		for _, p := range slices.Clone(w.procs) {
			if p.state == in {
				w.session(p)
				if w.etcd.now.Unix()%3 == 0 {
					w.must(p.groups.round(w.t.Context(), p.groups.all(), groupBatch, func(Event) {}))
				}
				if p.state == in {
					w.lived()
				}
			}
		}
	}
}

// TestGroupsAreKept: over joins, ends, freezes, lost leases, senders that come
// and go, and an etcd that is full, no group is removed before KeepFor after the
// last instant at which a member was alive; and when all is over, nothing is left.
func TestGroupsAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newPaperEtcd()
		w := &world{t: t, etcd: e, keep: time.Duration(rapid.SampledFrom([]int{1, 2, 15, 60, -1}).Draw(t, "keep")) * time.Second}
		w.meta = groupMeta(t, pb.Mode_AT_LEAST_ONCE, max(w.keep, -1))
		for i := range 3 {
			w.procs = append(w.procs, newProcess(e, fmt.Sprintf("g/members/%d", i)))
		}
		e.gone = func([]byte) {
			switch since := e.now.Sub(w.alive); {
			case w.keep < 0:
				t.Fatal("a group to be kept forever was removed")
			case !w.alive.IsZero() && since < w.keep:
				t.Fatalf("the group was removed %s after a member lived; its KeepFor is %s", since, w.keep)
			}
		}
		e.before = w.between
		for range rapid.IntRange(1, 12).Draw(t, "acts") {
			e.full = rapid.IntRange(0, 9).Draw(t, "full") == 0
			w.act()
			w.pass(time.Duration(rapid.IntRange(0, 3).Draw(t, "pass")) * max(w.keep/2, 4*time.Second))
		}
		e.before, e.full = e.expire, false
		for _, p := range w.procs {
			if rapid.Bool().Draw(t, "orderly") && p.state == in {
				w.leave(p)
			}
			w.reborn(p)
		}
		if w.keep < 0 {
			return
		}
		e.now = e.now.Add(w.keep + max(w.keep/2, paperTTL) + paperTTL + 4*time.Second)
		e.expire()
		if len(e.keys)+len(e.leases) > 0 {
			t.Fatalf("left behind: %v under %v", e.keys, e.leases)
		}
	})
}

// What a Groups decides about what stands in etcd.
func TestGroupDecisions(t *testing.T) {
	finite, forever := groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Minute), groupMeta(t, pb.Mode_AT_LEAST_ONCE, -1)
	at := func(value []byte, lease clientv3.LeaseID) discovery.KV {
		return discovery.KV{Value: value, ModRevision: 1, Lease: lease}
	}
	for name, c := range map[string]struct {
		seen               groupSeen
		mine               []byte
		attended, deserted groupMove
	}{
		"attended":                   {groupSeen{meta: at(finite, 7)}, finite, groupStays, groupLeased},
		"counted":                    {groupSeen{meta: at(finite, 7), mark: at(nil, 7)}, finite, groupLeased, groupStays},
		"marked, of an earlier time": {groupSeen{meta: at(finite, 7), mark: at(nil, 0)}, finite, groupLeased, groupLeased},
		"marked under another lease": {groupSeen{meta: at(finite, 7), mark: at(nil, 8)}, finite, groupLeased, groupLeased},
		"without lease":              {groupSeen{meta: at(finite, 0)}, finite, groupLeased, groupLeased},
		"forever":                    {groupSeen{meta: at(forever, 0)}, finite, groupStays, groupStays},
		"forever, marked":            {groupSeen{meta: at(forever, 0), mark: at(nil, 0)}, finite, groupBare, groupBare},
		"forever, under a lease":     {groupSeen{meta: at(forever, 7)}, finite, groupBare, groupBare},
		"absent":                     {groupSeen{}, finite, groupLeased, groupLeased},
		"absent, forever mine":       {groupSeen{}, forever, groupBare, groupLeased},
		"bytes of somebody else":     {groupSeen{meta: at([]byte{0xff}, 0)}, finite, groupLeased, groupLeased},
	} {
		if a, d := c.seen.whileAttended(c.mine), c.seen.whileDeserted(); a != c.attended || d != c.deserted {
			t.Errorf("%s: attended %d, deserted %d; want %d, %d", name, a, d, c.attended, c.deserted)
		}
	}
}

// With an etcd of our own: members that die without a word leave no key behind,
// though no process is there to clean up.
func TestGroupOfTheDeadIsRemovedByEtcd(t *testing.T) {
	t.Parallel()
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	k := groupAt(p)
	g := New(c, lease.NewLeases(c), 2*time.Second)
	began := time.Now()
	if _, err := g.Attend(ctx, k, groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Second), anyMeta); err != nil {
		t.Fatal(err)
	}
	etcdtest.Put(t, c, k.Members+"m", "", clientv3.WithLease(etcdtest.Grant(t, c)))
	etcdtest.Eventually(t, "the settings go", func() bool { return etcdtest.Value(t, c, k.Meta) == "" })
	if took := time.Since(began); took < 2900*time.Millisecond {
		t.Errorf("after %s, want KeepFor and the slack", took)
	}
}

// The mark of a group without members is taken back by the process of a member
// that returns, though it lies under a lease that runs.
func TestGroupMarkIsTakenBack(t *testing.T) {
	t.Parallel()
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	k, meta := groupAt(p), groupMeta(t, pb.Mode_AT_LEAST_ONCE, 2*time.Second)
	leases := lease.NewLeases(c)
	g, other := New(c, leases, 2*time.Second), New(c, leases, 2*time.Second)
	etcdtest.Background(t, leases.Run)
	if _, err := g.Attend(ctx, k, meta, anyMeta); err != nil {
		t.Fatal(err)
	}
	g.Hold(k, "m", meta)
	if state, err := other.Desert(ctx, k, false); err != nil || state != Kept {
		t.Fatal(state, err) // it sees no member: ours was frozen
	}
	counted, _, err := discovery.List(ctx, c, p)
	if err != nil || len(counted) != 2 || counted[0].Lease == 0 || counted[0].Lease != counted[1].Lease {
		t.Fatalf("%+v, %v; want settings and mark under one lease", counted, err)
	}
	etcdtest.Background(t, func(ctx context.Context) error { return g.Run(ctx, func(Event) {}) })
	etcdtest.Eventually(t, "the mark goes", func() bool { return etcdtest.Value(t, c, k.Deserted) == "" })
	<-time.After(4 * time.Second) // in which the old lease would have ended
	if etcdtest.Value(t, c, k.Meta) == "" {
		t.Error("the group was removed under a member")
	}
	etcdtest.Del(t, c, k.Meta)
	etcdtest.Eventually(t, "settings that somebody deleted are put back", func() bool { return etcdtest.Value(t, c, k.Meta) != "" })
}

func TestGroupsDelete(t *testing.T) {
	t.Parallel()
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	k, g := groupAt(p), New(c, lease.NewLeases(c), 0)
	if err := g.Delete(ctx, k); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("of none: %v", err)
	}
	if _, err := g.Attend(ctx, k, groupMeta(t, pb.Mode_AT_LEAST_ONCE, -1), anyMeta); err != nil {
		t.Fatal(err)
	}
	etcdtest.Put(t, c, k.Members+"m", "")
	if err := g.Delete(ctx, k); !errors.Is(err, messages.ErrGroupLive) {
		t.Errorf("with a member: %v", err)
	}
	etcdtest.Del(t, c, k.Members+"m")
	if err := g.Delete(ctx, k); err != nil || etcdtest.Value(t, c, k.Meta) != "" {
		t.Error(err)
	}
}

// A group that is deleted leaves nothing behind, its lease neither.
func TestGroupsDeleteTheLease(t *testing.T) {
	e := newPaperEtcd()
	g := newGroups(e, e, time.Second, "here")
	if _, err := g.Attend(t.Context(), paperGroup, groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Hour), anyMeta); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(t.Context(), paperGroup); err != nil || len(e.leases) > 0 {
		t.Errorf("%d leases are left: %v", len(e.leases), err)
	}
}

// After an etcd was wiped, whoever has messages for a group without members puts
// it back, and etcd counts its KeepFor from then.
func TestGroupsRestore(t *testing.T) {
	t.Parallel()
	c, ctx := connect(t, shared.Config()), etcdtest.Context(t)
	for name, keep := range map[string]time.Duration{"a": time.Minute, "b": -1} {
		p := etcdtest.Space(t) + name + "/"
		k, g := groupAt(p), New(c, lease.NewLeases(c), 0)
		want := groupMeta(t, pb.Mode_AT_LEAST_ONCE, keep)
		for range 2 { // what is there stays
			if err := g.Restore(ctx, k, want); err != nil {
				t.Fatal(err)
			}
		}
		kvs, _, err := discovery.List(ctx, c, p)
		switch {
		case err != nil:
			t.Fatal(err)
		case keep < 0 && (len(kvs) != 1 || kvs[0].Lease != 0):
			t.Errorf("kept forever, it stands as %+v", kvs)
		case keep > 0 && (len(kvs) != 2 || kvs[0].Lease == 0 || kvs[0].Lease != kvs[1].Lease):
			t.Errorf("it stands as %+v, want settings and mark under one lease", kvs)
		}
		if state, err := g.Desert(ctx, k, false); err != nil || state != Kept {
			t.Error(state, err)
		}
	}
}

// deniedEtcd refuses reads that ask for one key, or every write.
type deniedEtcd struct {
	*paperEtcd
	key    string
	writes bool
}

func (e *deniedEtcd) read(ctx context.Context, groups []Keys) ([]groupSeen, error) {
	for _, k := range groups {
		if k.Meta == e.key {
			return nil, rpctypes.ErrPermissionDenied
		}
	}
	return e.paperEtcd.read(ctx, groups)
}

func (e *deniedEtcd) swap(ctx context.Context, k Keys, seen groupSeen, to groupWrite) (bool, error) {
	if e.writes {
		return false, rpctypes.ErrPermissionDenied
	}
	return e.paperEtcd.swap(ctx, k, seen, to)
}

// A group that may not be read holds up no other: the leases of those are renewed.
func TestGroupThatIsDeniedHoldsUpNoOther(t *testing.T) {
	e := &deniedEtcd{paperEtcd: newPaperEtcd(), key: groupAt("b/").Meta}
	g := newGroups(e, e, time.Second, "here")
	for _, prefix := range []string{"a/", "b/", "c/"} {
		g.Hold(groupAt(prefix), "m", groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Hour))
	}
	err := g.round(t.Context(), g.all(), groupBatch, func(Event) {})
	if !errors.Is(discovery.Classify("", err), messages.ErrDenied) {
		t.Errorf("the round says %v", err)
	}
	for _, prefix := range []string{"a/", "c/"} {
		if kv := e.keys[groupAt(prefix).Meta]; kv.Lease == 0 {
			t.Errorf("%s is not kept: %+v", prefix, kv)
		}
	}
}

// Who is refused, again and again, leaves no lease behind.
func TestRefusedGroupLeavesNoLease(t *testing.T) {
	e := &deniedEtcd{paperEtcd: newPaperEtcd(), writes: true}
	g := newGroups(e, e, time.Second, "here")
	k := groupAt("a/")
	for range 3 {
		if _, err := g.Attend(t.Context(), k, groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Hour), anyMeta); !errors.Is(err, messages.ErrDenied) {
			t.Fatal(err)
		}
	}
	if len(e.leases) > 0 {
		t.Errorf("%d leases are left", len(e.leases))
	}
}
