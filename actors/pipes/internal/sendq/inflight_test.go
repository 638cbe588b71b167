package sendq

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// outThere is one record of a inflight's model.
type outThere struct {
	link uint64
	listed
}

func sentRecords(items []sentSpan) (out []outThere) {
	for _, f := range items {
		for i := range f.len() {
			out = append(out, outThere{f.first + uint64(i), listed{f.c, f.from + uint32(i), f.seq + uint64(i), f.nacks}})
		}
	}
	return out
}

func TestInflightIsAListOfSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f inflight
		var model []outThere
		c := filled(make([]int, 16)...)
		sent, seq, at := uint64(0), uint64(0), uint32(0)
		add := func() {
			n := uint32(rapid.IntRange(1, 5).Draw(t, "n"))
			if at+n > 16 {
				c, at = filled(make([]int, 16)...), 0
			}
			// A hole in the pipe's sequence, or another history, is a seam.
			seq += uint64(rapid.IntRange(0, 5).Draw(t, "hole") / 5)
			s := span{c: c, from: at, to: at + n, seq: seq + 1, nacks: uint16(rapid.IntRange(0, 5).Draw(t, "nacks") / 5)}
			f.add(sent+1, s)
			for i := range uint64(n) {
				model = append(model, outThere{sent + 1 + i, listed{c, at + uint32(i), s.seq + i, s.nacks}})
			}
			at += n
			sent += uint64(n)
			seq += uint64(n)
		}
		remove := func() {
			from := rapid.Uint64Range(0, sent+1).Draw(t, "from")
			to := rapid.Uint64Range(0, sent+1).Draw(t, "to")
			if rapid.Bool().Draw(t, "one") {
				to = from
			}
			if to < from {
				from, to = to, from
			}
			var removed []sentSpan
			next := from
			f.remove(from, to, func(x *sentSpan) { removed = append(removed, sentSpan{first: next, span: x.span}) })
			var want, rest []outThere
			for _, x := range model {
				if x.link >= from && x.link <= to {
					want = append(want, x)
				} else {
					rest = append(rest, x)
				}
			}
			got := sentRecords(removed)
			if !slices.EqualFunc(got, want, func(a, b outThere) bool { return a.listed == b.listed }) {
				t.Fatalf("%d to %d removed %v, want %v", from, to, got, want)
			}
			model = rest
		}
		for range rapid.IntRange(0, 80).Draw(t, "moves") {
			if rapid.IntRange(0, 2).Draw(t, "move") == 0 {
				add()
			} else {
				remove()
			}
			if f.empty() != (len(model) == 0) {
				t.Fatalf("empty %t with %d out", f.empty(), len(model))
			}
			if got := sentRecords(slices.Collect(f.all())); !slices.Equal(got, model) {
				t.Fatalf("out are %v, want %v", got, model)
			}
		}
		all := sentRecords(f.takeAll())
		if !slices.Equal(all, model) || !f.empty() {
			t.Fatalf("all are %v, want %v", all, model)
		}
	})
}

func TestInflightInOrderDoesNotGrow(t *testing.T) {
	c := filled(make([]int, 64)...)
	var f inflight
	for i := range uint64(100_000) {
		at := uint32(i % 64)
		f.add(i+1, span{c: c, from: at, to: at + 1, seq: 2 * i})
		if i >= 16 {
			f.remove(i-16, i-16, func(*sentSpan) {})
		}
	}
	if len(f.items) > 1000 {
		t.Errorf("a window of 16 in a slice of %d", len(f.items))
	}
}

// Promise: what is settled out of order costs no look at the others, and its place is used
// again, though the first message stays out.
func TestInflightOutOfOrderDoesNotGrow(t *testing.T) {
	c := filled(make([]int, 64)...)
	var f inflight
	for i := range uint64(100_000) {
		at := uint32(i % 64)
		f.addKeyed(sentSpan{first: i + 1, span: span{c: c, from: at, to: at + 1, seq: 2 * i}})
		if i >= 16 {
			f.remove(i-14, i-14, func(*sentSpan) {})
		}
	}
	if f.lowest() != 1 || f.count != 16 || len(f.items) > 1000 {
		t.Errorf("%d are out from %d on, in a slice of %d", f.count, f.lowest(), len(f.items))
	}
}
