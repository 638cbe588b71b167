package sendq

// What a failed handling leads to.

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/internal/order"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// Outcome is what a nack led to.
type Outcome struct {
	Failed    bool // it was out, and counts as a failed handling
	Rejected  bool // it was out, and will never be handled
	Exhausted bool // it used up its attempts or deaths
	Attempt   int  // failed handlings
	Deaths    int
	Due       time.Time // when it is tried again, or zero when it is at once or never
}

// Why a message may be what its member died over.
var (
	errLinkDied = errors.New("the link to its member died while it was in hand")
	errKept     = errors.New("its member kept it for longer than AckWait")
)

// Messages that are given back returnsAtOnce times without a handling that failed
// wait for returnDelay, doubled each time up to returnLimit: a member that only
// gives back does not keep its sender busy.
const (
	returnsAtOnce = 16
	returnDelay   = 10 * time.Millisecond
	returnLimit   = time.Second
)

// returnAfter is how long a message waits that was given back that often.
func returnAfter(times uint16) time.Duration {
	switch over := int(times) - returnsAtOnce; {
	case over <= 0:
		return 0
	case over > 7:
		return returnLimit
	default:
		return min(returnLimit, returnDelay<<(over-1))
	}
}

// Nack takes a message back that its member did not handle. A returned one was not
// tried and goes out again soon. One that failed too often goes to the dead-letter
// handler; where there is none a copy is kept to be looked at, and it is tried on at
// the longest delay. So does one that members died over too often. A rejected one goes
// to that handler, too; where there is none a copy is kept, and it is settled.
func (q *Queue) Nack(b *Backlog, l *Link, n *frame.Nack, now time.Time) (Outcome, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	seq := n.Seq
	l.nacks++
	if seq == 0 || seq > l.sent {
		return Outcome{}, fmt.Errorf("nack of %d of %d: %w", seq, l.sent, errBadAck)
	}
	var back Outcome
	l.tenure.high = max(l.tenure.high, seq)
	l.out.remove(seq, seq, func(x *sentSpan) {
		b.leaves(x.lane)
		s := x.span
		if due := s.expires(); n.Kind == frame.NackLapsed && len(due) > 0 && due[0] != 0 {
			q.expire(b, s)
			return
		}
		s.again = true
		if q.cfg.Lends && n.Kind != frame.NackReturned {
			q.comesBack(b, l, s, n)
			return
		}
		switch n.Kind {
		case frame.NackReturned:
			b.counters.Released++
			b.counters.Redelivered++
			q.comesHome(b, s, func(s span) { back.Due = q.takeReturned(b, s, n.Kind, now) })
			q.progress()
		case frame.NackExpired:
			cause := errKept
			if n.Reason != "" {
				cause = errors.New(n.Reason)
			}
			s.died()
			q.countDeaths(b, s, &suspicion{member: l.Member, cause: cause})
			if b.counters.Redelivered++; q.deadly(s) {
				back.Exhausted, back.Due = true, q.exhaust(b, s, cause.Error(), now, time.Time{})
			} else {
				back.Due = q.takeReturned(b, s, n.Kind, now)
			}
		case frame.NackRejected:
			back.Rejected = true
			q.reject(b, s, n.Reason)
		default:
			q.failed(b, s, n, &back, now)
		}
		back.Attempt, back.Deaths = max(back.Attempt, int(s.nacks)), int(s.deaths)
	})
	if b.settings.Mode == messages.Failover && order.Breaks(n.Kind) {
		b.takeBehind(l, seq)
	}
	if b.keyed != nil {
		b.keyed.stir(l, true)
	}
	b.place(l)
	q.wake(b)
	return back, nil
}

// comesBack settles s, which is lent and was not handled. mu is held.
func (q *Queue) comesBack(b *Backlog, l *Link, s span, n *frame.Nack) {
	cause := error(told{n.Reason, nil})
	switch n.Kind {
	case frame.NackExpired:
		s.died()
		q.countDeaths(b, s, &suspicion{member: l.Member, cause: cause})
		cause = &messages.DeathError{Member: l.Member, Cause: cause}
	case frame.NackRejected:
		b.counters.Rejected++
		cause = told{n.Reason, messages.ErrReject}
	default:
		b.counters.Nacked++
		if n.After > 0 {
			cause = messages.RetryAfter(n.After, cause)
		}
	}
	b.finish(s, cause)
	q.progress()
}

// told is an error as a member told it, in words, and what it is.
type told struct {
	reason string
	is     error
}

func (e told) Error() string { return e.reason }
func (e told) Unwrap() error { return e.is }

// failed counts a failed handling. mu is held.
func (q *Queue) failed(b *Backlog, s span, n *frame.Nack, back *Outcome, now time.Time) {
	back.Failed, s.returns = true, 0
	if s.nacks < math.MaxUint16 {
		s.nacks++
	}
	b.counters.Nacked++
	b.counters.Redelivered++
	back.Attempt = int(s.nacks)
	if limit := q.cfg.MaxAttempts; limit > 0 && back.Attempt >= limit {
		back.Exhausted, back.Due = true, q.exhaust(b, s, n.Reason, now, time.Time{})
		return
	}
	back.Due = now.Add(cmp.Or(n.After, q.cfg.Retry.Delay(int(s.nacks))))
	b.postpone(s, back.Due)
}

// exhaust gives s, one message at a limit, to the dead-letter handler. Where there is
// none it is tried on at the longest delay, and a copy is kept when the limit is
// reached. Neither is before rests: a member may hand it out until then. mu is held.
func (q *Queue) exhaust(b *Backlog, s span, reason string, now, rests time.Time) (due time.Time) {
	due = now.Add(q.cfg.Retry.Max)
	if rests.After(due) {
		due = rests
	}
	if q.cfg.DeadLetters {
		b.rests(s)
		x := exhausted{span: s.own(), reason: reason}
		if rests.After(now) {
			heap.Push(&b.delayed, delay{due: rests, span: x.span, leased: true, letter: &x})
		} else {
			b.exhausted = append(b.exhausted, x)
		}
		return due
	}
	if !s.parked {
		b.park(s, reason, false)
		s.parked = true
	}
	b.postpone(s, due)
	return due
}

// reject gives s to the dead-letter handler. Where there is none, a copy is kept and
// s is settled: it would be rejected whenever it is tried. mu is held.
func (q *Queue) reject(b *Backlog, s span, reason string) {
	b.counters.Rejected++
	if q.cfg.DeadLetters {
		b.exhausted = append(b.exhausted, exhausted{span: s.own(), reason: reason, rejected: true})
		return
	}
	b.park(s, reason, true)
	b.finish(s, q.rejectedBy(b, reason))
	q.progress()
}

// suspicion is what a member may have died over.
type suspicion struct {
	member   string
	cause    error
	suspects int // how many messages, from the first, count a death
	died     bool
	now      time.Time
	rests    time.Time // what was out is not sent again before
}

// deadly reports whether s is at the limit of deaths.
func (q *Queue) deadly(s span) bool {
	return q.cfg.MaxDeaths > 0 && int(s.deaths) >= q.cfg.MaxDeaths
}

// countDeaths counts a death of each message of s, and tells. mu is held.
func (q *Queue) countDeaths(b *Backlog, s span, found *suspicion) {
	b.counters.Died += uint64(s.len())
	q.Emit(messages.DeathCounted{
		Destination: q.name, Group: b.Group, Member: found.member, Deaths: int(s.deaths), Cause: found.cause, Count: s.len(),
	})
}

// repeat queues what somebody may have seen again. The first suspects of it count
// a death: they may be why nobody acked. mu is held.
func (q *Queue) repeat(b *Backlog, s span, found *suspicion) {
	s.again = true
	if n := min(found.suspects, s.len()); n > 0 {
		found.suspects -= n
		head, tail := s.cut(n)
		head.died()
		q.countDeaths(b, head, found)
		if q.cfg.Lends {
			b.finish(head, &messages.DeathError{Member: found.member, Cause: found.cause})
			q.progress()
		} else if q.deadly(head) {
			q.exhaustAll(b, head, found)
		} else {
			b.repeat(head, found)
		}
		if s = tail; s.len() == 0 {
			return
		}
	}
	if q.cfg.Lends && found.died && s.deaths == 0 {
		s.died() // its acks may have been on the way: it is sent apart, so that the next death is its own
	}
	q.comesHome(b, s, func(s span) { b.repeat(s, found) })
}

// repeat queues s again, as soon as that may be.
func (b *Backlog) repeat(s span, found *suspicion) {
	if found.rests.After(found.now) {
		b.rests(s)
		heap.Push(&b.delayed, delay{due: found.rests, span: s, leased: true})
	} else {
		b.requeue(s)
	}
}

// exhaustAll exhausts the messages of s, one by one. mu is held.
func (q *Queue) exhaustAll(b *Backlog, s span, found *suspicion) {
	for s.len() > 0 {
		one, rest := s.cut(1)
		due := q.exhaust(b, one, found.cause.Error(), found.now, found.rests)
		if !q.cfg.DeadLetters {
			q.Emit(messages.AttemptsExhausted{
				Destination: q.name, Group: b.Group, Attempt: int(one.nacks), Deaths: int(one.deaths),
				Err: found.cause, Delay: due.Sub(found.now),
			})
		}
		s = rest
	}
}

// takeReturned queues s again that was given back, and returns when it is due
// where that is not at once. mu is held.
func (q *Queue) takeReturned(b *Backlog, s span, kind uint32, now time.Time) (due time.Time) {
	if s.returns < math.MaxUint16 {
		s.returns++
	}
	wait := returnAfter(s.returns)
	switch {
	case wait > 0:
		due = now.Add(wait)
		b.postpone(s, due)
	case kind == frame.NackExpired:
		b.requeue(s.own())
	default:
		b.requeue(s)
	}
	return due
}

// NextExhausted returns the oldest message that waits for the dead-letter handler.
func (q *Queue) NextExhausted(b *Backlog) (messages.DeadLetter, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(b.exhausted) == 0 {
		return messages.DeadLetter{}, false
	}
	d := b.exhausted[0]
	return messages.DeadLetter{
		Message: d.message(), Destination: q.name, Group: b.Group,
		Attempts: int(d.nacks), Deaths: int(d.deaths), Rejected: d.rejected, Cause: d.reason,
	}, true
}

// DeadLettered ends the oldest exhausted message: the handler took it, or failed and
// it is tried again at the longest delay. Of a rejected one only the handler is.
func (q *Queue) DeadLettered(b *Backlog, err error, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(b.exhausted) == 0 {
		return
	}
	d := b.exhausted[0]
	b.exhausted = slices.Delete(b.exhausted, 0, 1)
	if due := now.Add(q.cfg.Retry.Max); err != nil {
		if d.rejected {
			heap.Push(&b.delayed, delay{due: due, span: d.span, letter: &d})
			return
		}
		b.rested(d.span)
		b.delay(d.span, due)
		return
	}
	if !d.rejected {
		b.rested(d.span)
		q.wake(b)
	}
	b.counters.DeadLettered++
	cause := q.rejectedBy(b, d.reason)
	if !d.rejected {
		cause = fmt.Errorf("send to %q: group %q handled it %d times, and members died over it %d times, the last time: %s: %w",
			q.name, b.Group, d.nacks, d.deaths, d.reason, messages.ErrDeadLettered)
	}
	b.finish(d.span, cause)
	q.progress()
}

// rejectedBy is what is told of a message that a member has rejected.
func (q *Queue) rejectedBy(b *Backlog, reason string) error {
	return fmt.Errorf("send to %q: group %q rejected it: %s: %w", q.name, b.Group, reason, rejection{})
}

// rejection is ErrDeadLettered and ErrReject. The reason, a text from the member, says
// already that it rejected the message.
type rejection struct{}

func (rejection) Error() string   { return messages.ErrDeadLettered.Error() }
func (rejection) Unwrap() []error { return []error{messages.ErrDeadLettered, messages.ErrReject} }

// RequeueDue queues what is due for another try and returns when to come again.
func (q *Queue) RequeueDue(b *Backlog, now time.Time) (next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, next := b.requeueDue(now)
	if n > 0 {
		q.wake(b)
	}
	return next
}
