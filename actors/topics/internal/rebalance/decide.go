package rebalance

// What a member does about what it sees.

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Member is what a member knows of itself.
type Member struct {
	ID string
	// Revision is the CreateRevision of its key, 0 while the view has not got it.
	// Without one a member claims nothing.
	Revision int64
	// Manual are the partitions that the member named; nil in an automatic group.
	Manual []int
	// Partitions is how many the topic has, as far as this process knows.
	Partitions int
	// Holds are the member's claims.
	Holds map[int]Hold
	// Busy are the partitions that a request to etcd is under way for.
	Busy map[int]struct{}
	// Others are the revisions of others' claims that etcd told of when the member
	// claimed those partitions. Until the view has come that far it says nothing
	// about the partition.
	Others map[int]int64
	// RevokeTimeout is how long the owner before may take to release a partition
	// after an assignment.
	RevokeTimeout time.Duration
	// Process is the token of its own process, "" for one that is not watched.
	Process string
	// Dead are members whose processes were seen to end, by the CreateRevisions that
	// their keys had then. Burying are those whose removal is under way.
	Dead    map[string]int64
	Burying map[string]struct{}
}

// Hold is a claim that a member has, as it knows itself.
type Hold struct {
	Fence          int64
	MemberRevision int64
	// Releasing: the reply to the release says what became of the claim, and the
	// view may show it gone before.
	Releasing bool
}

// Actions are what is to be done now. Their zero value is nothing.
type Actions struct {
	// RestoreSettings: the group's settings are to be written. Each member wrote or
	// found them before it wrote its key, so somebody deleted them.
	RestoreSettings bool
	// Assign is to be written as the group's assignment, or nil.
	Assign *pb.Assignment
	// Moved is how many partitions change hands by Assign.
	Moved int
	// Claim are free partitions that are to be this member's.
	Claim []int
	// Revoke are claims that stand in the way of one of its own.
	Revoke map[int]Revocation
	// Release are partitions that this member is to give back.
	Release []int
	// Lost are partitions that are no longer this member's.
	Lost []int
	// Orphans are claims of this member that it does not know and has no use for.
	Orphans []format.Position
	// Bury are members whose keys are to be removed if they are as in Member.Dead.
	Bury []string
	// Again is after how long to decide again, for what time alone changes; 0 for
	// nothing.
	Again time.Duration
}

// Revocation is the end of somebody else's claim.
type Revocation struct {
	Holder format.Holder
	// Overdue: the claim ends even if its member lives.
	Overdue bool
}

// Decide returns what a member is to do about what it sees, at the time now.
func (v *View) Decide(me Member, now time.Time) Actions {
	s := Actions{Revoke: make(map[int]Revocation)}
	if ages := v.byAge(); me.Revision != 0 && len(ages) > 0 && ages[0] == me.ID {
		if v.settings == 0 {
			s.RestoreSettings = true
		}
		if me.Manual == nil {
			v.assignments(me, ages, &s)
		}
	}
	mine := make(map[int]struct{})
	for _, p := range v.Wanted(me) {
		mine[p] = struct{}{}
	}
	for _, p := range slices.Sorted(maps.Keys(me.Holds)) {
		h := me.Holds[p]
		seen, there := v.claims[p]
		_, wanted := mine[p]
		switch {
		case h.Releasing:
		case v.revision >= h.Fence && (!there || seen.Revision != h.Fence):
			s.Lost = append(s.Lost, p)
		case !wanted && v.plan.modRevision != 0, !wanted && me.Manual != nil, me.Revision != 0 && h.MemberRevision != me.Revision:
			s.Release = append(s.Release, p)
		}
	}
	if me.Revision == 0 {
		return s
	}
	s.Bury = v.burials(me)
	for _, p := range slices.Sorted(maps.Keys(v.claims)) {
		h := v.claims[p]
		_, has := me.Holds[p]
		_, busy := me.Busy[p]
		_, wanted := mine[p]
		if h.Member == me.ID && h.MemberRevision == me.Revision && !has && !busy && !wanted {
			s.Orphans = append(s.Orphans, format.Position{Partition: p, Fence: h.Revision, Offset: -1, Base: -1})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(mine)) {
		_, has := me.Holds[p]
		_, busy := me.Busy[p]
		if has && !slices.Contains(s.Lost, p) || busy || v.revision < me.Others[p] {
			continue
		}
		h, there := v.claims[p]
		late := v.plan.seen.Add(me.RevokeTimeout).Sub(now)
		switch {
		case !there, h.Member == me.ID && h.MemberRevision == me.Revision:
			s.Claim = append(s.Claim, p)
		case v.orphaned(h):
			s.Revoke[p] = Revocation{Holder: h, Overdue: h.Member == ""}
		case me.Manual == nil && late <= 0:
			s.Revoke[p] = Revocation{Holder: h, Overdue: true}
		case me.Manual == nil: // a living other has it, of an earlier assignment
			if s.Again == 0 || late < s.Again {
				s.Again = late
			}
		}
	}
	return s
}

// Wanted returns the partitions that are to be this member's.
func (v *View) Wanted(me Member) (out []int) {
	if me.Manual != nil {
		return me.Manual
	}
	for p, owner := range v.plan.owners {
		if owner == me.ID && p < me.Partitions {
			out = append(out, p)
		}
	}
	return out
}

// assignments gives the partitions out, which is the oldest member's to do, if
// the last assignment no longer fits.
func (v *View) assignments(me Member, ages []string, s *Actions) {
	partitions := max(me.Partitions, v.plan.partitions) // whoever assigned last may have heard of more
	next, moved := Assign(ages, partitions, v.plan.owners)
	if v.plan.modRevision != 0 && v.plan.partitions == partitions && v.names(ages) && maps.Equal(next, v.plan.owners) {
		return
	}
	generation := v.plan.generation + 1
	if v.plan.generation == math.MaxInt64 { // not ours
		generation = 1
	}
	a := &pb.Assignment{Generation: generation, Partitions: uint32(partitions), By: me.ID}
	for _, m := range ages {
		share := &pb.Share{Member: m}
		for p := range partitions {
			if next[p] == m {
				share.Partitions = append(share.Partitions, uint32(p))
			}
		}
		a.Shares = append(a.Shares, share) // without partitions too: the assignment names it
	}
	s.Assign, s.Moved = a, moved
}

// names reports whether the assignment knows exactly these members.
func (v *View) names(members []string) bool {
	for _, m := range members {
		if _, ok := v.plan.named[m]; !ok {
			return false
		}
	}
	return len(v.plan.named) == len(members)
}
