package actors

// Which deliveries of a link are settled: a member's record of what it
// handled, and what its acks say. Pure; the owner's lock guards it.

import "slices"

// seqRange is the sequences from..to, both included.
type seqRange struct{ from, to uint64 }

// ackSet is a set of sequences from 1: everything up to cumulative, and the
// ranges above it, sorted, apart from one another.
type ackSet struct {
	cumulative uint64
	ranges     []seqRange
	count      uint64 // sequences in the set
}

// add puts seq into the set and tells whether it was new.
func (a *ackSet) add(seq uint64) bool {
	if seq == a.cumulative+1 {
		a.cumulative++
		a.count++
		if len(a.ranges) > 0 && a.ranges[0].from == seq+1 {
			a.cumulative = a.ranges[0].to
			a.ranges = slices.Delete(a.ranges, 0, 1)
		}
		return true
	}
	if seq <= a.cumulative {
		return false
	}
	at, found := slices.BinarySearchFunc(a.ranges, seq, func(r seqRange, s uint64) int {
		switch {
		case r.to < s:
			return -1
		case r.from > s:
			return 1
		}
		return 0
	})
	if found {
		return false
	}
	a.count++
	joinsLeft := at > 0 && a.ranges[at-1].to+1 == seq
	joinsRight := at < len(a.ranges) && a.ranges[at].from == seq+1
	switch {
	case joinsLeft && joinsRight:
		a.ranges[at-1].to = a.ranges[at].to
		a.ranges = slices.Delete(a.ranges, at, at+1)
	case joinsLeft:
		a.ranges[at-1].to = seq
	case joinsRight:
		a.ranges[at].from = seq
	default:
		a.ranges = slices.Insert(a.ranges, at, seqRange{seq, seq})
	}
	return true
}

// has tells whether seq is in the set.
func (a *ackSet) has(seq uint64) bool {
	if seq <= a.cumulative {
		return true
	}
	for _, r := range a.ranges {
		if seq <= r.to {
			return seq >= r.from
		}
	}
	return false
}

// gaps visits the sequences up to last that are not in the set.
func (a *ackSet) gaps(last uint64, visit func(seq uint64)) {
	next := a.cumulative + 1
	for _, r := range a.ranges {
		for ; next < r.from && next <= last; next++ {
			visit(next)
		}
		next = r.to + 1
	}
	for ; next <= last; next++ {
		visit(next)
	}
}
