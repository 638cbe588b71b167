package rebalance

// The group as its keys show it.

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Fact is one key of the group and what it holds.
type Fact struct {
	Key   keys.Key
	Value []byte
	// CreateRevision is that of the key's creation, ModRevision that of its last
	// write.
	CreateRevision, ModRevision int64
}

// View is a group as a member sees it. It may be behind etcd, but it is what the
// group was at its revision.
type View struct {
	revision int64 // of etcd, up to which the view is complete
	settings int64 // CreateRevision of the group's, 0 while there are none
	members  map[string]int64
	leaving  map[string]struct{} // of these, who wants nothing more
	// processes are those of members that can be watched.
	processes map[string]Process
	claims    map[int]format.Holder
	plan      plan
	pause     *[]byte // what the key of the group's pause holds; nil for none
}

// plan is the assignment: who is to own what.
type plan struct {
	modRevision int64 // 0: there is none
	generation  int64
	partitions  int
	owners      map[int]string
	named       map[string]struct{} // members that have a share, empty or not
	seen        time.Time           // when this generation came, on our clock
}

// NewView returns the view of a group of which nothing is known.
func NewView() *View {
	return &View{
		members: make(map[string]int64), leaving: make(map[string]struct{}), processes: make(map[string]Process),
		claims: make(map[int]format.Holder),
	}
}

// Begin takes everything that the group has at a revision, and forgets what the
// view had. Facts that are not of a group are ignored. An assignment of the
// generation that the view had keeps the time at which that came.
func (v *View) Begin(revision int64, facts []Fact, now time.Time) {
	clear(v.members)
	clear(v.leaving)
	clear(v.processes)
	clear(v.claims)
	had := v.plan
	v.plan, v.settings, v.pause = plan{}, 0, nil
	v.revision = revision
	for _, f := range facts {
		v.put(f, now)
	}
	if v.plan.generation == had.generation {
		v.plan.seen = had.seen
	}
}

// Change takes what changed up to a revision: keys that are gone, then keys that
// were written. A key in both was deleted and created again.
func (v *View) Change(revision int64, gone []keys.Key, facts []Fact, now time.Time) {
	v.revision = revision
	for _, k := range gone {
		v.remove(k)
	}
	for _, f := range facts {
		v.put(f, now)
	}
}

func (v *View) remove(k keys.Key) {
	switch k.Kind {
	case keys.KindConsumerMember:
		delete(v.members, k.ID)
		delete(v.leaving, k.ID)
		delete(v.processes, k.ID)
	case keys.KindClaim:
		delete(v.claims, k.Partition)
	case keys.KindAssignment:
		v.plan = plan{}
	case keys.KindConsumerGroupMeta:
		v.settings = 0
	case keys.KindConsumerGroupPaused:
		v.pause = nil
	}
}

func (v *View) put(f Fact, now time.Time) {
	switch f.Key.Kind {
	case keys.KindConsumerMember:
		v.putMember(f)
	case keys.KindClaim:
		h := format.Holder{Revision: f.CreateRevision} // nobody's, if it does not decode
		if c, err := format.ParseClaim("", f.Value); err == nil {
			h.Member, h.MemberRevision, h.Generation = c.Member, c.MemberRevision, c.Generation
		}
		v.claims[f.Key.Partition] = h
	case keys.KindAssignment:
		v.putPlan(f, now)
	case keys.KindConsumerGroupMeta:
		v.settings = f.CreateRevision
	case keys.KindConsumerGroupPaused:
		v.pause = &f.Value
	}
}

// Paused reports whether the group is paused, and what the key of that holds.
func (v *View) Paused() (value []byte, paused bool) {
	if v.pause == nil {
		return nil, false
	}
	return *v.pause, true
}

// putMember takes a member's key. One that does not decode is nobody's place in
// the group.
func (v *View) putMember(f Fact) {
	id := f.Key.ID
	delete(v.leaving, id)
	delete(v.processes, id)
	m, err := format.ParseMember("", f.Value)
	if err != nil {
		delete(v.members, id)
		return
	}
	v.members[id] = f.CreateRevision
	if m.Leaving {
		v.leaving[id] = struct{}{}
	}
	if p, ok := processOf(m); ok {
		v.processes[id] = p
	}
}

// putPlan takes an assignment. One that does not decode is none, but its revision
// counts: the oldest writes another over it.
func (v *View) putPlan(f Fact, now time.Time) {
	a, err := format.ParseAssignment("", f.Value)
	if err != nil {
		v.plan = plan{modRevision: f.ModRevision, generation: v.plan.generation}
		return
	}
	seen := now
	if a.Generation == v.plan.generation {
		seen = v.plan.seen
	}
	v.plan = plan{
		modRevision: f.ModRevision, generation: a.Generation, partitions: int(a.Partitions), seen: seen,
		owners: make(map[int]string), named: make(map[string]struct{}),
	}
	for _, share := range a.Shares {
		v.plan.named[share.Member] = struct{}{}
		for _, p := range share.Partitions {
			v.plan.owners[int(p)] = share.Member
		}
	}
}

// MemberRevision is the CreateRevision of a member's key, 0 while the view has no
// such member.
func (v *View) MemberRevision(id string) int64 { return v.members[id] }

// PlanRevision is the ModRevision of the assignment, 0 while there is none.
func (v *View) PlanRevision() int64 { return v.plan.modRevision }

// Generation is that of the assignment, or of the last one that could be read.
func (v *View) Generation() int64 { return v.plan.generation }

// Members is how many members the group has.
func (v *View) Members() int { return len(v.members) }

// Named reports whether the assignment knows a member, with or without partitions
// for it.
func (v *View) Named(id string) bool {
	_, ok := v.plan.named[id]
	return ok
}

// Taken reports whether a partition is claimed by a living member other than me.
func (v *View) Taken(me Member, p int) bool {
	if _, met := me.Others[p]; met && v.revision < me.Others[p] {
		return true
	}
	h, claimed := v.claims[p]
	return claimed && !v.orphaned(h) && h.Member != me.ID
}

// Unclaimed takes a claim of that revision out of the view: etcd removed it, and
// the view has yet to hear of that.
func (v *View) Unclaimed(p int, revision int64) {
	if v.claims[p].Revision == revision {
		delete(v.claims, p)
	}
}

// orphaned reports whether a claim's member is gone, or is another under its name.
func (v *View) orphaned(h format.Holder) bool {
	return h.Member == "" || v.members[h.Member] != h.MemberRevision
}

// byAge returns the members that stay, oldest first.
func (v *View) byAge() []string {
	staying := maps.Clone(v.members)
	for m := range v.leaving {
		delete(staying, m)
	}
	return slices.SortedFunc(maps.Keys(staying), func(a, b string) int {
		return cmp.Or(cmp.Compare(v.members[a], v.members[b]), strings.Compare(a, b))
	})
}
