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

// lowest is the first sequence that is out. There must be one.
func (f *flight) lowest() uint64 { return f.items[f.head].first }

// land removes the sequences from..to and visits what of them was still out.
func (f *flight) land(from, to uint64, visit func(span)) {
	at, _ := slices.BinarySearchFunc(f.items[f.head:], from, func(x flown, seq uint64) int {
		if x.last() < seq {
			return -1
		}
		return 1
	})
	at += f.head
	var before, after flown
	end := at
	for ; end < len(f.items) && f.items[end].first <= to; end++ {
		x := f.items[end]
		if x.first < from {
			head, tail := x.cut(int(from - x.first))
			before, x = flown{x.first, head}, flown{from, tail}
		}
		if x.last() > to {
			head, tail := x.cut(int(to - x.first + 1))
			after, x = flown{to + 1, tail}, flown{x.first, head}
		}
		visit(x.span)
	}
	if end > at && before.c != nil {
		f.items[at] = before
		at++
	}
	switch {
	case after.c == nil:
	case end > at:
		end--
		f.items[end] = after
	default:
		f.items = slices.Insert(f.items, at, after)
		end = at
	}
	f.drop(at, end)
}

// drop removes the items at..end-1.
func (f *flight) drop(at, end int) {
	switch {
	case at >= end:
	case at == f.head:
		clear(f.items[at:end])
		f.head = end
	default:
		f.items = slices.Delete(f.items, at, end)
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
