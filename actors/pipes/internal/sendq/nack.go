package sendq

// What a failed handling leads to.

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// Outcome is what a nack led to.
type Outcome struct {
	Failed    bool // it was out, and counts as a failed handling
	Exhausted bool // it used up its attempts
	Attempt   int
	Due       time.Time // when it is tried again, or zero when it is at once
}

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

// Nack takes a message back that its member could not handle. A returned one
// was not tried and goes out again soon. One that failed too often goes to
// the dead-letter handler; where there is none a copy is kept to be looked at,
// and it is tried on at the longest delay.
func (q *Queue) Nack(b *Backlog, l *Link, n *frame.Nack, now time.Time) (Outcome, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	seq := n.Seq
	if seq == 0 || seq > l.sent {
		return Outcome{}, fmt.Errorf("nack of %d of %d: %w", seq, l.sent, errBadAck)
	}
	var back Outcome
	l.tenure.high = max(l.tenure.high, seq)
	l.out.remove(seq, seq, func(s span) {
		s.again = true
		b.counters.Redelivered++
		if n.Kind == frame.NackReturned || n.Kind == frame.NackExpired {
			if n.Kind == frame.NackExpired && s.deaths < math.MaxUint16 {
				s.deaths++
			}
			back.Due = q.takeReturned(b, s, n.Kind, now)
			return
		}
		back.Failed, s.returns = true, 0
		if s.nacks < math.MaxUint16 {
			s.nacks++
		}
		b.counters.Nacked++
		back.Attempt = int(s.nacks)
		back.Due = now.Add(q.cfg.Retry.Delay(int(s.nacks)))
		if limit := q.cfg.MaxAttempts; limit > 0 && back.Attempt >= limit {
			back.Due = now.Add(q.cfg.Retry.Max)
			back.Exhausted = true
			if q.cfg.DeadLetters {
				b.exhausted = append(b.exhausted, exhausted{s.own(), n.Reason})
				return
			}
			if back.Attempt == limit {
				b.park(s, n.Reason)
			}
		}
		b.postpone(s, back.Due)
	})
	q.wake(b)
	return back, nil
}

// takeReturned queues s again that was given back, and returns when it is due
// where that is not at once. mu is held.
func (q *Queue) takeReturned(b *Backlog, s span, kind uint32, now time.Time) (due time.Time) {
	if s.returns < math.MaxUint16 {
		s.returns++
	}
	b.counters.Returned++
	wait := returnAfter(s.returns)
	switch {
	case wait > 0:
		due = now.Add(wait)
		b.postpone(s, due)
	case kind == frame.NackExpired:
		b.again.insert(s.own())
	default:
		b.again.insert(s)
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
		Attempts: int(d.nacks), Cause: d.reason,
	}, true
}

// DeadLettered ends the oldest exhausted message: the handler took it, or failed and
// it is tried again at the longest delay.
func (q *Queue) DeadLettered(b *Backlog, err error, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(b.exhausted) == 0 {
		return
	}
	d := b.exhausted[0]
	b.exhausted = slices.Delete(b.exhausted, 0, 1)
	if err != nil {
		b.delay(d.span, now.Add(q.cfg.Retry.Max))
		return
	}
	b.counters.DeadLettered++
	b.finish(d.span, fmt.Errorf("send to %q: group %q handled it %d times, the last time: %s: %w", q.name, b.Group, d.nacks, d.reason, messages.ErrDeadLettered))
	q.progress()
}

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
