package actors

// What a member of a consumer group sees of its group, and what it decides to
// do: give out the partitions, claim its own, give back what is not, put back
// the group's settings. It performs nothing.

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// consumerGroup is a group as its watch shows it.
type consumerGroup struct {
	revision int64 // of etcd, up to which the view is complete
	settings int64 // CreateRevision of the group's, 0 while there are none
	members  map[string]int64
	leaving  map[string]struct{} // of these, who wants nothing more
	claims   map[int]commitlog.Holder
	plan     assignmentView
}

// assignmentView is who is to own what.
type assignmentView struct {
	modRevision int64 // 0: there is none
	generation  int64
	partitions  int
	owners      map[int]string
	named       map[string]struct{} // members that it thought of
	seen        time.Time           // when this generation came, on our clock
}

func newConsumerGroup() *consumerGroup {
	return &consumerGroup{members: make(map[string]int64), leaving: make(map[string]struct{}), claims: make(map[int]commitlog.Holder)}
}

// take applies what the watch says, at the time now.
func (v *consumerGroup) take(space keys.Space, e discovery.WatchEvent, now time.Time) {
	switch m := e.(type) {
	case discovery.Snapshot:
		clear(v.members)
		clear(v.leaving)
		clear(v.claims)
		had := v.plan
		v.plan, v.settings = assignmentView{}, 0
		v.revision = m.Revision
		for _, kv := range m.KVs {
			v.put(space, kv, now)
		}
		if v.plan.generation == had.generation {
			v.plan.seen = had.seen
		}
	case discovery.Delta:
		v.revision = m.Revision
		for _, kv := range m.Deletes {
			v.remove(space, kv)
		}
		for _, kv := range m.Puts {
			v.put(space, kv, now)
		}
	}
}

func (v *consumerGroup) remove(space keys.Space, kv discovery.KV) {
	k, _ := space.Parse(kv.Key)
	switch k.Kind {
	case keys.KindConsumerMember:
		delete(v.members, k.ID)
		delete(v.leaving, k.ID)
	case keys.KindClaim:
		delete(v.claims, k.Partition)
	case keys.KindAssignment:
		v.plan = assignmentView{}
	case keys.KindConsumerGroupMeta:
		v.settings = 0
	}
}

func (v *consumerGroup) put(space keys.Space, kv discovery.KV, now time.Time) {
	k, _ := space.Parse(kv.Key)
	switch k.Kind {
	case keys.KindConsumerMember:
		delete(v.leaving, k.ID)
		m, err := commitlog.ParseMember(kv.Key, kv.Value)
		if err != nil { // somebody else's bytes: nobody's place in the group
			delete(v.members, k.ID)
			return
		}
		v.members[k.ID] = kv.CreateRevision
		if m.Leaving {
			v.leaving[k.ID] = struct{}{}
		}
	case keys.KindClaim:
		h := commitlog.Holder{Revision: kv.CreateRevision} // nobody's, if it does not decode
		if c, err := commitlog.ParseClaim(kv.Key, kv.Value); err == nil {
			h.Member, h.MemberRevision, h.Generation = c.Member, c.MemberRevision, c.Generation
		}
		v.claims[k.Partition] = h
	case keys.KindAssignment:
		a, err := commitlog.ParseAssignment(kv.Key, kv.Value)
		if err != nil { // the oldest writes another over it
			v.plan = assignmentView{modRevision: kv.ModRevision, generation: v.plan.generation}
			return
		}
		seen := now
		if a.Generation == v.plan.generation {
			seen = v.plan.seen
		}
		v.plan = assignmentView{
			modRevision: kv.ModRevision, generation: a.Generation, partitions: int(a.Partitions), seen: seen,
			owners: make(map[int]string), named: make(map[string]struct{}),
		}
		for _, share := range a.Shares {
			v.plan.named[share.Member] = struct{}{}
			for _, p := range share.Partitions {
				v.plan.owners[int(p)] = share.Member
			}
		}
	case keys.KindConsumerGroupMeta:
		v.settings = kv.CreateRevision
	}
}

// byAge are the members that stay, oldest first.
func (v *consumerGroup) byAge() []string {
	staying := maps.Clone(v.members)
	for m := range v.leaving {
		delete(staying, m)
	}
	return slices.SortedFunc(maps.Keys(staying), func(a, b string) int {
		return cmp.Or(cmp.Compare(v.members[a], v.members[b]), strings.Compare(a, b))
	})
}

// gone tells whether a claim's member is not there any more, or another one
// under its name.
func (v *consumerGroup) gone(h commitlog.Holder) bool {
	return h.Member == "" || v.members[h.Member] != h.MemberRevision
}

// taken tells whether a partition is a living member's other than me.
func (v *consumerGroup) taken(me self, p int) bool {
	if _, met := me.held[p]; met && v.revision < me.held[p] {
		return true
	}
	h, there := v.claims[p]
	return there && !v.gone(h) && h.Member != me.id
}

// hold is a claim that this member has, as it knows itself.
type hold struct {
	fence, memberRevision int64
	stage                 holdStage
}

// holdStage says whether a claim is being released: then the answer to that
// tells what became of it, and the watch may show it gone before.
type holdStage uint8

const (
	kept holdStage = iota
	beingReleased
)

// self is what a member knows of itself.
type self struct {
	id         string
	revision   int64 // of its key, 0 while it is not in the view
	manual     []int // partitions it named; nil in an automatic group
	partitions int   // of the topic
	holds      map[int]hold
	busy       map[int]struct{} // partitions that something is being done about
	// held: a claim of somebody else's, of that revision, was met here; until
	// the view has come that far it says nothing about the partition.
	held   map[int]int64
	revoke time.Duration
}

// steps are what is to be done now.
type steps struct {
	settings settingsStep
	assign   *pb.Assignment
	moved    int
	claim    []int
	revoke   map[int]revocation
	release  []int
	lost     []int
	// orphans are claims of this member that it does not know and has no use
	// for.
	orphans []commitlog.Position
	// again is after how long to decide anew, for what time alone changes; 0
	// for nothing.
	again time.Duration
}

// settingsStep says whether the group's settings are to be written. Each member
// has written or found them before it wrote its key, so somebody took them away.
type settingsStep uint8

const (
	leaveSettings settingsStep = iota
	putSettingsBack
)

type revocation struct {
	holder  commitlog.Holder
	overdue bool
}

// decide answers what a member should do about what it sees.
func (v *consumerGroup) decide(me self, now time.Time) steps {
	s := steps{revoke: make(map[int]revocation)}
	if ages := v.byAge(); me.revision != 0 && len(ages) > 0 && ages[0] == me.id {
		if v.settings == 0 {
			s.settings = putSettingsBack
		}
		if me.manual == nil {
			v.assignments(me, ages, &s)
		}
	}
	mine := make(map[int]struct{})
	for _, p := range v.wanted(me) {
		mine[p] = struct{}{}
	}
	for _, p := range slices.Sorted(maps.Keys(me.holds)) {
		h := me.holds[p]
		seen, there := v.claims[p]
		_, wanted := mine[p]
		switch {
		case h.stage == beingReleased:
		case v.revision >= h.fence && (!there || seen.Revision != h.fence):
			s.lost = append(s.lost, p)
		case !wanted && v.plan.modRevision != 0, !wanted && me.manual != nil, me.revision != 0 && h.memberRevision != me.revision:
			s.release = append(s.release, p)
		}
	}
	if me.revision == 0 {
		return s
	}
	for _, p := range slices.Sorted(maps.Keys(v.claims)) {
		h := v.claims[p]
		_, has := me.holds[p]
		_, busy := me.busy[p]
		_, wanted := mine[p]
		if h.Member == me.id && h.MemberRevision == me.revision && !has && !busy && !wanted {
			s.orphans = append(s.orphans, commitlog.Position{Partition: p, Fence: h.Revision, Offset: -1, Base: -1})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(mine)) {
		_, has := me.holds[p]
		_, busy := me.busy[p]
		if has && !slices.Contains(s.lost, p) || busy || v.revision < me.held[p] {
			continue
		}
		h, there := v.claims[p]
		late := v.plan.seen.Add(me.revoke).Sub(now)
		switch {
		case !there, h.Member == me.id && h.MemberRevision == me.revision:
			s.claim = append(s.claim, p)
		case v.gone(h):
			s.revoke[p] = revocation{holder: h, overdue: h.Member == ""}
		case me.manual == nil && late <= 0:
			s.revoke[p] = revocation{holder: h, overdue: true}
		case me.manual == nil: // a living other has it, of an earlier assignment
			if s.again == 0 || late < s.again {
				s.again = late
			}
		}
	}
	return s
}

// wanted are the partitions that are to be this member's.
func (v *consumerGroup) wanted(me self) (out []int) {
	if me.manual != nil {
		return me.manual
	}
	for p, owner := range v.plan.owners {
		if owner == me.id && p < me.partitions {
			out = append(out, p)
		}
	}
	return out
}

// assignments gives the partitions out, which is the oldest member's to do, if
// the last assignment no longer fits.
func (v *consumerGroup) assignments(me self, ages []string, s *steps) {
	partitions := max(me.partitions, v.plan.partitions) // whoever assigned last may have heard of more
	next, moved := assign(ages, partitions, v.plan.owners)
	if v.plan.modRevision != 0 && v.plan.partitions == partitions && v.thoughtOf(ages) && maps.Equal(next, v.plan.owners) {
		return
	}
	generation := v.plan.generation + 1
	if v.plan.generation == math.MaxInt64 { // not ours
		generation = 1
	}
	a := &pb.Assignment{Generation: generation, Partitions: uint32(partitions), By: me.id}
	for _, m := range ages {
		share := &pb.Share{Member: m}
		for p := range partitions {
			if next[p] == m {
				share.Partitions = append(share.Partitions, uint32(p))
			}
		}
		a.Shares = append(a.Shares, share) // without partitions too: it was thought of
	}
	s.assign, s.moved = a, moved
}

// thoughtOf tells whether the assignment knows exactly these members.
func (v *consumerGroup) thoughtOf(members []string) bool {
	for _, m := range members {
		if _, ok := v.plan.named[m]; !ok {
			return false
		}
	}
	return len(v.plan.named) == len(members)
}
