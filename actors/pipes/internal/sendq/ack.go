package sendq

// What a link has sent and its member has not settled; and acks: what a member settles and
// what credit it grants, kept within what it may.

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/penstock-io/penstock/actors/pipes/internal/affinity"
	"github.com/penstock-io/penstock/transport/frame"
)

// settledAtOnce is how many messages an ack settles before it lets others have the
// lock. A range counts for more when many runs are out, because it may move them.
const (
	settledAtOnce = 16 << 10
	runsLikeOne   = 4
)

var errBadAck = fmt.Errorf("an ack of what was never sent: %w", frame.ErrProtocol)

// refuses returns an error when the ack breaks the protocol. The queue's lock is
// held.
func (l *Link) refuses(a *frame.Ack) error {
	top := a.Cumulative
	for _, ranges := range [][]frame.Range{a.Ranges, a.Renewed} {
		if n := len(ranges); n > 0 {
			top = max(top, ranges[n-1].To)
		}
	}
	switch {
	case top > l.sent:
		return fmt.Errorf("up to %d of %d: %w", top, l.sent, errBadAck)
	case a.CreditMessages != 0 && a.CreditMessages < l.granted, a.CreditBytes != 0 && a.CreditBytes < l.grantedSize:
		return fmt.Errorf("credit for %d messages and %d bytes after one for %d and %d: %w",
			a.CreditMessages, a.CreditBytes, l.granted, l.grantedSize, frame.ErrProtocol)
	case a.CreditMessages > math.MaxInt64, a.CreditBytes > math.MaxInt64:
		return fmt.Errorf("credit for %d messages and %d bytes: %w", a.CreditMessages, a.CreditBytes, frame.ErrProtocol)
	}
	return nil
}

// grant takes the member's credit, as far as its window goes. The queue's lock is
// held.
func (l *Link) grant(a *frame.Ack) {
	if a.Withdraw || a.CreditMessages > 0 {
		l.reads = !a.Withdraw
	}
	if a.Withdraw {
		l.credit, l.creditBytes = min(l.credit, l.sent), min(l.creditBytes, l.sentBytes)
		l.granted, l.grantedSize = l.credit, l.creditBytes
	}
	l.granted, l.grantedSize = max(l.granted, a.CreditMessages), max(l.grantedSize, a.CreditBytes)
	settled := a.Cumulative
	for _, r := range a.Ranges {
		settled += r.To - r.From + 1
	}
	l.taken = max(l.taken, settled)
	if l.allowed = 0; a.CreditMessages > settled {
		l.allowed = min(a.CreditMessages-settled, l.window)
	}
	l.credit = max(l.credit, min(a.CreditMessages, l.sent+l.window))
	l.creditBytes = max(l.creditBytes, a.CreditBytes)
}

// Ack settles what the member handled and takes its new credit. An error means
// that the peer breaks the protocol; nothing is settled then. A long one lets
// others have the lock in between.
func (q *Queue) Ack(b *Backlog, l *Link, a *frame.Ack) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := l.refuses(a); err != nil {
		return err
	}
	s := ackWork{q: q, b: b, l: l}
	tried := l.tenure.standing == linkTried
	for !l.out.empty() && l.out.lowest() <= a.Cumulative {
		s.settle(l.out.lowest(), min(a.Cumulative, l.out.lowest()+settledAtOnce-1))
	}
	for _, r := range a.Ranges {
		for from := r.From; from <= r.To; from += settledAtOnce {
			s.settle(from, min(r.To, from+settledAtOnce-1))
		}
	}
	s.tell()
	if s.settled > 0 && tried {
		l.tenure.standing = linkTrusted
	}
	l.tenure.hears(a)
	if l.tenure.standing == linkHung && a.Cumulative == l.sent {
		l.tenure.standing = linkTried
	}
	l.grant(a)
	if b.keyed != nil {
		b.enrol(l)
		b.keyed.stir(l, l.seat.Ready() > 0)
	}
	b.place(l)
	q.wake(b)
	return nil
}

// ackWork is the work of one ack. The queue's lock is held, but for pauses.
type ackWork struct {
	q       *Queue
	b       *Backlog
	l       *Link
	settled int    // messages
	told    int    // of them, counted
	since   uint64 // work since others could have the lock
}

// settle settles the sequences from..to that are out.
func (s *ackWork) settle(from, to uint64) {
	if s.since >= settledAtOnce {
		s.tell()
		s.b.place(s.l)
		s.q.wake(s.b)
		s.q.mu.Unlock()
		s.q.mu.Lock()
		s.since = 0
	}
	s.since += to - from + 1 + uint64(s.l.out.moves())/runsLikeOne
	if k := s.b.keyed; k != nil {
		out := s.l.out.items[s.l.out.at(from):]
		for i := 0; i < len(out) && out[i].first <= to; i++ {
			k.Expect(out[i].lane)
		}
	}
	s.l.out.remove(from, to, s.settleSpan)
}

func (s *ackWork) settleSpan(x *sentSpan) {
	s.settled += x.len()
	s.b.leaves(x.lane)
	s.b.settle(x.span)
}

// tell lets those know who wait for what has been settled.
func (s *ackWork) tell() {
	if s.settled > s.told {
		s.b.counters.Acked += uint64(s.settled - s.told)
		s.told = s.settled
		s.q.progress()
	}
}

// sentSpan is a span on its way, under the link sequence of its first record.
type sentSpan struct {
	first uint64
	span
	lane affinity.Lane // of its key, where it waited in one
}

func (f sentSpan) last() uint64 { return f.first + uint64(f.len()) - 1 }

// inflight is the unsettled part of a link's window, in link sequence. What was settled out of
// order leaves a gap, which has no chunk: the others stay where they are. The first item is
// none.
type inflight struct {
	items []sentSpan
	head  int
	gaps  int  // behind head
	count int  // records
	keyed bool // most spans are one record
}

// gapsKept is how many gaps are left alone, and keptCap how large the slice of what had keys may be that
// is kept while nothing is out.
const (
	gapsKept = 64
	keptCap  = 4096
)

func (f *inflight) empty() bool { return f.head == len(f.items) }

// moves is how many items one range of an ack may have to move.
func (f *inflight) moves() int {
	if f.keyed {
		return 0 // each goes as a whole
	}
	return len(f.items) - f.head
}

// all are the items without gaps.
func (f *inflight) all() iter.Seq[sentSpan] {
	return func(yield func(sentSpan) bool) {
		for _, x := range f.items[f.head:] {
			if x.c != nil && !yield(x) {
				return
			}
		}
	}
}

// add adds s, whose records got the link sequences from first on.
func (f *inflight) add(first uint64, s span) {
	if n := len(f.items); n > f.head && f.items[n-1].lane.IsNone() && f.items[n-1].last()+1 == first && f.items[n-1].follows(s) {
		f.count += s.len()
		f.items[n-1].to = s.to
		return
	}
	f.append(sentSpan{first: first, span: s})
}

// addKeyed adds x, which is of a lane.
func (f *inflight) addKeyed(x sentSpan) {
	f.keyed = true
	f.append(x)
}

func (f *inflight) append(x sentSpan) {
	f.count += x.len()
	if f.head > 32 && f.head*2 >= len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, x)
}

// suspected reports whether what is out counts a death.
func (f *inflight) suspected() bool { return !f.empty() && f.items[f.head].deaths > 0 }

// lowest is the first sequence that is out. There must be one.
func (f *inflight) lowest() uint64 { return f.items[f.head].first }

// at is the index of the first item that ends at a sequence or behind it.
func (f *inflight) at(seq uint64) int {
	at, _ := slices.BinarySearchFunc(f.items[f.head:], seq, func(x sentSpan, seq uint64) int {
		if x.last() < seq {
			return -1
		}
		return 1
	})
	return f.head + at
}

// remove takes out the sequences from..to and visits what of them was still out. visit must
// neither keep what it is given nor change f.
func (f *inflight) remove(from, to uint64, visit func(*sentSpan)) {
	for at := f.at(from); at < len(f.items) && f.items[at].first <= to; at++ {
		x := &f.items[at]
		switch {
		case x.c == nil:
		case x.first < from || x.last() > to:
			var part sentSpan
			part, at = f.split(at, from, to)
			f.count -= part.len()
			visit(&part)
		default:
			f.count -= x.len()
			visit(x)
			x.c = nil
			if at == f.head {
				f.head++
			} else {
				f.gaps++
			}
		}
	}
	f.tidy()
}

// split takes the part from..to out of an item, of which something is left, and returns it,
// and where the last of what is left is.
func (f *inflight) split(at int, from, to uint64) (x sentSpan, last int) {
	x = f.items[at]
	var left [2]sentSpan
	n := 0
	if x.first < from {
		head, tail := x.cut(int(from - x.first))
		left[n], x = sentSpan{first: x.first, span: head}, sentSpan{first: from, span: tail}
		n++
	}
	if x.last() > to {
		head, tail := x.cut(int(to - x.first + 1))
		left[n], x = sentSpan{first: to + 1, span: tail}, sentSpan{first: x.first, span: head}
		n++
	}
	f.items = slices.Replace(f.items, at, at+1, left[:n]...)
	return x, at + n - 1
}

// tidy has no gap be the first item, and closes the others where there are many.
func (f *inflight) tidy() {
	for f.head < len(f.items) && f.items[f.head].c == nil {
		f.head++
		f.gaps--
	}
	switch {
	case f.empty():
		f.items, f.head = f.items[:0], 0
		if cap(f.items) > 64 && (!f.keyed || cap(f.items) > keptCap) {
			f.items = nil
		}
	case f.gaps > gapsKept && 2*f.gaps > len(f.items)-f.head:
		kept := slices.AppendSeq(f.items[:0], f.all())
		clear(f.items[len(kept):])
		f.items, f.head, f.gaps = kept, 0, 0
	}
}

// within counts the sequences of r that are out.
func (f *inflight) within(r frame.Range) (n int) {
	for x := range f.all() {
		if from, to := max(x.first, r.From), min(x.last(), r.To); from <= to {
			n += int(to - from + 1)
		}
	}
	return n
}

// takeAll empties f and returns what was in it, in link sequence.
func (f *inflight) takeAll() []sentSpan {
	out := slices.Collect(f.all())
	*f = inflight{}
	return out
}
