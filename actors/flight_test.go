package actors

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// outThere is one record of a flight's model.
type outThere struct {
	link uint64
	listed
}

func flownRecords(items []flown) (out []outThere) {
	for _, f := range items {
		for i := range f.len() {
			out = append(out, outThere{f.first + uint64(i), listed{f.c, f.from + uint32(i), f.seq + uint64(i), f.nacks}})
		}
	}
	return out
}

func TestFlightIsAListOfSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f flight
		var model []outThere
		c := filled(make([]int, 16)...)
		sent, seq, at := uint64(0), uint64(0), uint32(0)
		launch := func() {
			n := uint32(rapid.IntRange(1, 5).Draw(t, "n"))
			if at+n > 16 {
				c, at = filled(make([]int, 16)...), 0
			}
			// A hole in the pipe's sequence, or another history, is a seam.
			seq += uint64(rapid.IntRange(0, 5).Draw(t, "hole") / 5)
			s := span{c: c, from: at, to: at + n, seq: seq + 1, nacks: uint16(rapid.IntRange(0, 5).Draw(t, "nacks") / 5)}
			f.launch(sent+1, s)
			for i := range uint64(n) {
				model = append(model, outThere{sent + 1 + i, listed{c, at + uint32(i), s.seq + i, s.nacks}})
			}
			at += n
			sent += uint64(n)
			seq += uint64(n)
		}
		land := func() {
			from := rapid.Uint64Range(0, sent+1).Draw(t, "from")
			to := rapid.Uint64Range(0, sent+1).Draw(t, "to")
			if rapid.Bool().Draw(t, "one") {
				to = from
			}
			if to < from {
				from, to = to, from
			}
			var landed []flown
			next := from
			f.land(from, to, func(s span) { landed = append(landed, flown{next, s}) })
			var want, rest []outThere
			for _, x := range model {
				if x.link >= from && x.link <= to {
					want = append(want, x)
				} else {
					rest = append(rest, x)
				}
			}
			got := flownRecords(landed)
			if !slices.EqualFunc(got, want, func(a, b outThere) bool { return a.listed == b.listed }) {
				t.Fatalf("%d to %d landed %v, want %v", from, to, got, want)
			}
			model = rest
		}
		for range rapid.IntRange(0, 80).Draw(t, "moves") {
			if rapid.IntRange(0, 2).Draw(t, "move") == 0 {
				launch()
			} else {
				land()
			}
			if f.empty() != (len(model) == 0) {
				t.Fatalf("empty %t with %d out", f.empty(), len(model))
			}
			if got := flownRecords(f.items[f.head:]); !slices.Equal(got, model) {
				t.Fatalf("out are %v, want %v", got, model)
			}
		}
		all := flownRecords(f.all())
		if !slices.Equal(all, model) || !f.empty() {
			t.Fatalf("all are %v, want %v", all, model)
		}
	})
}

func TestFlightInOrderDoesNotGrow(t *testing.T) {
	c := filled(make([]int, 64)...)
	var f flight
	for i := range uint64(100_000) {
		at := uint32(i % 64)
		f.launch(i+1, span{c: c, from: at, to: at + 1, seq: 2 * i})
		if i >= 16 {
			f.land(i-16, i-16, func(span) {})
		}
	}
	if len(f.items) > 1000 {
		t.Errorf("a window of 16 in a slice of %d", len(f.items))
	}
}
