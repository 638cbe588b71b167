package actors

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAckSetIsASetOfSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a ackSet
		model := map[uint64]bool{}
		high := uint64(rapid.IntRange(1, 60).Draw(t, "high"))
		for range rapid.IntRange(0, 120).Draw(t, "adds") {
			seq := rapid.Uint64Range(0, high).Draw(t, "seq")
			fresh := seq > 0 && !model[seq]
			if seq > 0 {
				model[seq] = true
			}
			if got := a.add(seq); got != fresh {
				t.Fatalf("adding %d: new %t, want %t", seq, got, fresh)
			}
			checkAckSet(t, &a, model, high)
		}
	})
}

func checkAckSet(t *rapid.T, a *ackSet, model map[uint64]bool, high uint64) {
	t.Helper()
	cumulative := uint64(0)
	for model[cumulative+1] {
		cumulative++
	}
	if a.cumulative != cumulative || a.count != uint64(len(model)) {
		t.Fatalf("cumulative %d, count %d; want %d, %d", a.cumulative, a.count, cumulative, len(model))
	}
	last := a.cumulative
	for _, r := range a.ranges {
		// Apart means that what lies between is not empty.
		if r.from <= last+1 || r.to < r.from {
			t.Fatalf("ranges %v above %d are not sorted and apart", a.ranges, a.cumulative)
		}
		last = r.to
	}
	var gaps, want []uint64
	upTo := high / 2
	a.gaps(upTo, func(seq uint64) { gaps = append(gaps, seq) })
	for seq := uint64(1); seq <= high+1; seq++ {
		if a.has(seq) != model[seq] {
			t.Fatalf("has %d: %t", seq, a.has(seq))
		}
		if seq <= upTo && !model[seq] {
			want = append(want, seq)
		}
	}
	if !slices.Equal(gaps, want) {
		t.Fatalf("gaps up to %d: %v, want %v", upTo, gaps, want)
	}
}

func TestAckSetInOrderNeedsNoRanges(t *testing.T) {
	var a ackSet
	if n := testing.AllocsPerRun(1000, func() { a.add(a.cumulative + 1) }); n != 0 {
		t.Errorf("%g allocations for each ack in order", n)
	}
	if len(a.ranges) != 0 {
		t.Errorf("ranges %v", a.ranges)
	}
}
