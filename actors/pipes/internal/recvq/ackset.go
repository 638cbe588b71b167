package recvq

// Which deliveries of a link are settled: a member's record of what it
// handled, and what its acks say. The owner's lock guards it.

import (
	"slices"

	"github.com/penstock-io/penstock/transport/frame"
)

// AckSet is a set of sequences from 1: everything up to Cumulative, and the
// ranges above it, sorted, apart from one another.
type AckSet struct {
	Cumulative uint64
	Ranges     []frame.Range
	Count      uint64 // sequences in the set
}

// Add puts seq into the set and reports whether it was new.
func (a *AckSet) Add(seq uint64) bool {
	if seq == a.Cumulative+1 {
		a.Cumulative++
		a.Count++
		if len(a.Ranges) > 0 && a.Ranges[0].From == seq+1 {
			a.Cumulative = a.Ranges[0].To
			a.Ranges = slices.Delete(a.Ranges, 0, 1)
		}
		return true
	}
	if seq <= a.Cumulative {
		return false
	}
	at, found := slices.BinarySearchFunc(a.Ranges, seq, func(r frame.Range, s uint64) int {
		switch {
		case r.To < s:
			return -1
		case r.From > s:
			return 1
		}
		return 0
	})
	if found {
		return false
	}
	a.Count++
	joinsLeft := at > 0 && a.Ranges[at-1].To+1 == seq
	joinsRight := at < len(a.Ranges) && a.Ranges[at].From == seq+1
	switch {
	case joinsLeft && joinsRight:
		a.Ranges[at-1].To = a.Ranges[at].To
		a.Ranges = slices.Delete(a.Ranges, at, at+1)
	case joinsLeft:
		a.Ranges[at-1].To = seq
	case joinsRight:
		a.Ranges[at].From = seq
	default:
		a.Ranges = slices.Insert(a.Ranges, at, frame.Range{From: seq, To: seq})
	}
	return true
}

// Has reports whether seq is in the set.
func (a *AckSet) Has(seq uint64) bool {
	if seq <= a.Cumulative {
		return true
	}
	for _, r := range a.Ranges {
		if seq <= r.To {
			return seq >= r.From
		}
	}
	return false
}

// Gaps visits the sequences up to last that are not in the set.
func (a *AckSet) Gaps(last uint64, visit func(seq uint64)) {
	next := a.Cumulative + 1
	for _, r := range a.Ranges {
		for ; next < r.From && next <= last; next++ {
			visit(next)
		}
		next = r.To + 1
	}
	for ; next <= last; next++ {
		visit(next)
	}
}
