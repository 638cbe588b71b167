package recvq

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAckSetIsASetOfSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a AckSet
		model := map[uint64]bool{}
		high := uint64(rapid.IntRange(1, 60).Draw(t, "high"))
		for range rapid.IntRange(0, 120).Draw(t, "adds") {
			seq := rapid.Uint64Range(0, high).Draw(t, "seq")
			fresh := seq > 0 && !model[seq]
			if seq > 0 {
				model[seq] = true
			}
			if got := a.Add(seq); got != fresh {
				t.Fatalf("adding %d: new %t, want %t", seq, got, fresh)
			}
			checkAckSet(t, &a, model, high)
		}
	})
}

func checkAckSet(t *rapid.T, a *AckSet, model map[uint64]bool, high uint64) {
	t.Helper()
	cumulative := uint64(0)
	for model[cumulative+1] {
		cumulative++
	}
	if a.Cumulative != cumulative || a.Count != uint64(len(model)) {
		t.Fatalf("cumulative %d, count %d; want %d, %d", a.Cumulative, a.Count, cumulative, len(model))
	}
	last := a.Cumulative
	for _, r := range a.Ranges {
		// Apart means that what lies between is not empty.
		if r.From <= last+1 || r.To < r.From {
			t.Fatalf("ranges %v above %d are not sorted and apart", a.Ranges, a.Cumulative)
		}
		last = r.To
	}
	var gaps, want []uint64
	upTo := high / 2
	a.Gaps(upTo, func(seq uint64) { gaps = append(gaps, seq) })
	for seq := uint64(1); seq <= high+1; seq++ {
		if a.Has(seq) != model[seq] {
			t.Fatalf("has %d: %t", seq, a.Has(seq))
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
	var a AckSet
	if n := testing.AllocsPerRun(1000, func() { a.Add(a.Cumulative + 1) }); n != 0 {
		t.Errorf("%g allocations for each ack in order", n)
	}
	if len(a.Ranges) != 0 {
		t.Errorf("ranges %v", a.Ranges)
	}
}
