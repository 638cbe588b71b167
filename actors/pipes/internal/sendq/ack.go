package sendq

// Acks: what a member settles and what credit it grants, kept within what it may.

import (
	"fmt"
	"math"

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
