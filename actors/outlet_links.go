package actors

// The links' side of the outlet: batches out, acks and nacks in.

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// batch is one frame's worth of records.
type batch struct {
	first   uint64 // link sequence of the first record
	count   int
	attempt int
	again   bool
	records []byte // stays as it is until the lane asks for the next batch
}

// attach gives a new link its place in the pipe.
func (o *outlet) attach(b *backlog, l *lane) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b.lanes = append(b.lanes, l)
	o.progress() // a Flush may have waited for it
}

// next answers the lane's next batch, or false when its writer has to wait for
// the bell. It ends the use of the batch before.
func (o *outlet) next(b *backlog, l *lane) (batch, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unpin(l)
	if l.phase == laneClosed {
		return batch{}, false
	}
	l.phase = laneWaiting
	offer, src := l.offer(), b.source()
	if src == nil || !offer.can() {
		return batch{}, false
	}
	others := 0
	if len(b.lanes) > 1 {
		best := b.lanes[o.freest(b, l)]
		if best != l {
			o.call(best)
			return batch{}, false
		}
		for i, x := range o.offers {
			if b.lanes[i] != l && x.can() && x.phase != laneWriting {
				others++
			}
		}
	}
	s := src.take(share(*src.front(), b.queued(), others, offer))
	out := batch{first: l.sent + 1, count: s.len(), attempt: s.attempt(), again: s.again, records: s.bytes()}
	b.batches++
	l.served = b.batches
	l.sent += uint64(s.len())
	l.sentBytes += uint64(s.size())
	l.phase, l.writing = laneWriting, s.c
	s.c.live++
	b.counters.Sent += uint64(s.len())
	if b.settings.Mode == messages.AtMostOnce {
		b.settle(s)
		o.progress()
	} else {
		l.out.launch(out.first, s)
	}
	if others > 0 {
		o.wake(b)
	}
	return out, true
}

// unpin gives up the bytes of the batch whose write is over. mu is held.
func (o *outlet) unpin(l *lane) {
	if l.writing != nil {
		l.writing.release(1)
		l.writing = nil
	}
}

// freest is the index of the lane that the next batch goes to, or -1.
func (o *outlet) freest(b *backlog, asking *lane) int {
	o.offers = o.offers[:0]
	at := -1
	for i, l := range b.lanes {
		o.offers = append(o.offers, l.offer())
		if l == asking {
			at = i
		}
	}
	return freest(o.offers, at)
}

// wake calls the lane that should carry what is queued, if it sleeps. mu is
// held.
func (o *outlet) wake(b *backlog) {
	switch len(b.lanes) {
	case 0:
		return
	case 1:
		if l := b.lanes[0]; l.phase == laneWaiting && b.source() != nil && l.offer().can() {
			o.call(l)
		}
		return
	}
	if b.source() == nil || !slices.ContainsFunc(b.lanes, func(l *lane) bool { return l.phase == laneWaiting }) {
		return
	}
	if best := o.freest(b, nil); best >= 0 {
		o.call(b.lanes[best])
	}
}

func (o *outlet) call(l *lane) {
	if l.phase == laneWaiting {
		l.phase = laneRung
		l.ring()
	}
}

// setback is what a nack led to.
type setback struct {
	failed    bool // it was out, and counts as a failed handling
	exhausted bool // it used up its attempts
	attempt   int
	due       time.Time
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

// nack takes a message back that its member could not handle. A returned one
// was not tried and goes out again soon. One that failed too often goes to
// the dead-letter handler; where there is none a copy is kept to be looked at,
// and it is tried on at the longest delay.
func (o *outlet) nack(b *backlog, l *lane, n *frame.Nack, now time.Time) (setback, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seq := n.Seq
	if seq == 0 || seq > l.sent {
		return setback{}, fmt.Errorf("nack of %d of %d: %w", seq, l.sent, errBadAck)
	}
	var back setback
	l.tenure.high = max(l.tenure.high, seq)
	l.out.land(seq, seq, func(s span) {
		s.again = true
		b.counters.Redelivered++
		if n.Kind == frame.NackReturned || n.Kind == frame.NackExpired {
			if n.Kind == frame.NackExpired && s.deaths < math.MaxUint16 {
				s.deaths++
			}
			back.due = o.takeReturned(b, s, n.Kind, now)
			return
		}
		back.failed, s.returns = true, 0
		if s.nacks < math.MaxUint16 {
			s.nacks++
		}
		b.counters.Nacked++
		back.attempt = int(s.nacks)
		back.due = now.Add(o.cfg.Retry.Delay(int(s.nacks)))
		if limit := o.cfg.MaxAttempts; limit > 0 && back.attempt >= limit {
			back.due = now.Add(o.cfg.Retry.Max)
			back.exhausted = true
			if o.cfg.DeadLetter != nil {
				b.dying = append(b.dying, dying{s.own(), n.Reason})
				return
			}
			if back.attempt == limit {
				b.park(s, n.Reason)
			}
		}
		b.postpone(s, back.due)
	})
	o.wake(b)
	return back, nil
}

// takeReturned queues s again that was given back, and answers when it is due
// where that is not at once. mu is held.
func (o *outlet) takeReturned(b *backlog, s span, kind uint32, now time.Time) (due time.Time) {
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

// nextDying answers the oldest message that waits for the dead-letter handler.
func (o *outlet) nextDying(b *backlog) (messages.DeadLetter, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(b.dying) == 0 {
		return messages.DeadLetter{}, false
	}
	d := b.dying[0]
	return messages.DeadLetter{
		Message: d.message(), Destination: o.name, Group: b.group,
		Attempts: int(d.nacks), Cause: d.reason,
	}, true
}

// buried ends the oldest dying message: the handler took it, or failed and it
// is tried again at the longest delay.
func (o *outlet) buried(b *backlog, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(b.dying) == 0 {
		return
	}
	d := b.dying[0]
	b.dying = slices.Delete(b.dying, 0, 1)
	if err != nil {
		b.delay(d.span, now.Add(o.cfg.Retry.Max))
		return
	}
	b.counters.DeadLettered++
	b.settle(d.span)
	o.progress()
}

// ripen queues what is due for another try and answers when to come again.
func (o *outlet) ripen(b *backlog, now time.Time) (next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, next := b.ripen(now)
	if n > 0 {
		o.wake(b)
	}
	return next
}

// hold stops new batches on l and answers the last sequence it carried: its
// member leaves.
func (o *outlet) hold(b *backlog, l *lane) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.draining = true
	o.wake(b)
	return l.sent
}

// detach ends a link's place and queues again what it had out. Both of its
// goroutines must be gone: no write may still be reading the bytes. died tells
// whether what its member was handling counts a death.
func (o *outlet) detach(b *backlog, l *lane, died bool) (requeued int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.phase == laneClosed {
		return 0
	}
	o.unpin(l)
	l.phase = laneClosed
	b.lanes = slices.DeleteFunc(b.lanes, func(x *lane) bool { return x == l })
	suspects := 0
	if died {
		suspects = l.concurrency
	}
	for _, f := range l.out.all() {
		requeued += f.len()
		b.repeat(f.span, &suspects)
	}
	b.counters.Redelivered += uint64(requeued)
	o.progress()
	o.wake(b)
	return requeued
}
