package sendq

// What a link has sent and its member has not settled. The queue's lock guards it.

import (
	"slices"

	"github.com/penstock-io/penstock/transport/frame"
)

// sentSpan is a span on its way, under the link sequence of its first record.
type sentSpan struct {
	first uint64
	span
}

func (f sentSpan) last() uint64 { return f.first + uint64(f.len()) - 1 }

// inflight is the unsettled part of a link's window, in link sequence.
type inflight struct {
	items []sentSpan
	head  int
	count int // records
}

func (f *inflight) empty() bool { return f.head == len(f.items) }

// add adds s, whose records got the link sequences from first on.
func (f *inflight) add(first uint64, s span) {
	f.count += s.len()
	if n := len(f.items); n > f.head && f.items[n-1].last()+1 == first && f.items[n-1].follows(s) {
		f.items[n-1].to = s.to
		return
	}
	if f.head > 32 && f.head*2 >= len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, sentSpan{first, s})
}

// suspected reports whether what is out counts a death.
func (f *inflight) suspected() bool { return !f.empty() && f.items[f.head].deaths > 0 }

// lowest is the first sequence that is out. There must be one.
func (f *inflight) lowest() uint64 { return f.items[f.head].first }

// remove takes out the sequences from..to and visits what of them was still out.
func (f *inflight) remove(from, to uint64, visit func(span)) {
	at, _ := slices.BinarySearchFunc(f.items[f.head:], from, func(x sentSpan, seq uint64) int {
		if x.last() < seq {
			return -1
		}
		return 1
	})
	at += f.head
	var before, after sentSpan
	end := at
	for ; end < len(f.items) && f.items[end].first <= to; end++ {
		x := f.items[end]
		if x.first < from {
			head, tail := x.cut(int(from - x.first))
			before, x = sentSpan{x.first, head}, sentSpan{from, tail}
		}
		if x.last() > to {
			head, tail := x.cut(int(to - x.first + 1))
			after, x = sentSpan{to + 1, tail}, sentSpan{x.first, head}
		}
		f.count -= x.len()
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
func (f *inflight) drop(at, end int) {
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

// within counts the sequences of r that are out.
func (f *inflight) within(r frame.Range) (n int) {
	for _, x := range f.items[f.head:] {
		if from, to := max(x.first, r.From), min(x.last(), r.To); from <= to {
			n += int(to - from + 1)
		}
	}
	return n
}

// takeAll empties f and returns what was in it, in link sequence.
func (f *inflight) takeAll() []sentSpan {
	out := slices.Clone(f.items[f.head:])
	*f = inflight{}
	return out
}
