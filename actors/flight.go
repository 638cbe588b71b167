package actors

// What a link has sent and its member has not settled. Pure; the outlet's lock
// guards it.

import "slices"

// flown is a span on its way, under the link sequence of its first record.
type flown struct {
	first uint64
	span
}

func (f flown) last() uint64 { return f.first + uint64(f.len()) - 1 }

// flight is the unsettled part of a link's window, in link sequence.
type flight struct {
	items []flown
	head  int
}

func (f *flight) empty() bool { return f.head == len(f.items) }

// launch adds s, whose records got the link sequences from first on.
func (f *flight) launch(first uint64, s span) {
	if n := len(f.items); n > f.head && f.items[n-1].last()+1 == first && f.items[n-1].follows(s) {
		f.items[n-1].to = s.to
		return
	}
	if f.head > 32 && f.head*2 >= len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, flown{first, s})
}

// land removes the sequences from..to and visits what of them was still out.
func (f *flight) land(from, to uint64, visit func(span)) {
	at, _ := slices.BinarySearchFunc(f.items[f.head:], from, func(x flown, seq uint64) int {
		if x.last() < seq {
			return -1
		}
		return 1
	})
	at += f.head
	for at < len(f.items) && f.items[at].first <= to {
		x := f.items[at]
		var before, after flown
		if x.first < from {
			n := int(from - x.first)
			head, tail := x.cut(n)
			before, x = flown{x.first, head}, flown{from, tail}
		}
		if x.last() > to {
			n := int(to - x.first + 1)
			head, tail := x.cut(n)
			after, x = flown{to + 1, tail}, flown{x.first, head}
		}
		visit(x.span)
		switch {
		case before.c != nil && after.c != nil:
			f.items[at] = before
			f.items = slices.Insert(f.items, at+1, after)
			return
		case before.c != nil:
			f.items[at] = before
			at++
		case after.c != nil:
			f.items[at] = after
			return
		case at == f.head:
			f.items[at] = flown{}
			f.head++
			at++
		default:
			f.items = slices.Delete(f.items, at, at+1)
		}
	}
	if f.empty() {
		f.items, f.head = f.items[:0], 0
		if cap(f.items) > 64 {
			f.items = nil
		}
	}
}

// all empties the flight and answers what was in it, in link sequence.
func (f *flight) all() []flown {
	out := slices.Clone(f.items[f.head:])
	f.items, f.head = nil, 0
	return out
}
