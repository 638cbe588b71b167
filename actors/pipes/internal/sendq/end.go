package sendq

// How a destination's data path ends, and what is told of what it gives up. Each
// message that was accepted and will not be delivered is counted in its group's
// Dropped, is part of an event, and is part of an *AbandonedError.

import (
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/messages"
)

// losses are messages that were accepted and given up.
type losses struct {
	groups   int // with removed groups, since the last Flush
	draining int // with removed groups, since the destination drains
	closed   int // with the destination
	cause    error
	asked    bool // Unregister or Stop was told
}

var errGroupRemoved = errors.New("a group was removed while the rest was delivered")

// drops are messages that a rule gave up and no event has told of yet.
type drops struct{ count, bytes int }

// drop counts what a rule gave up. Events tell of it a few times a second, the
// first one at once. mu is held.
func (q *Queue) drop(d *drops, n, bytes int) {
	d.count += n
	d.bytes += bytes
	if q.telling {
		return
	}
	q.telling = true
	q.emitDrops()
	q.later(q.tellDrops)
}

// tellDrops tells what was dropped since the last time, until nothing was.
func (q *Queue) tellDrops() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.telling = q.emitDrops()
	if q.telling && q.phase != queueClosed {
		q.later(q.tellDrops)
	}
}

// emitDrops reports whether there was anything to tell. mu is held.
func (q *Queue) emitDrops() (told bool) {
	tell := func(d *drops, group, why string) {
		if d.count > 0 {
			q.Emit(messages.MessagesDropped{Destination: q.name, Group: group, Count: d.count, Bytes: int64(d.bytes), Why: why})
			*d, told = drops{}, true
		}
	}
	tell(&q.nobody, "", noGroup.why)
	for _, b := range q.backlogs {
		tell(&b.untold, b.Group, groupFull)
		if d := &b.expired; d.count > 0 {
			q.Emit(messages.MessagesExpired{Destination: q.name, Group: b.Group, Count: d.count, Bytes: int64(d.bytes), Untold: b.unheard})
			*d, b.unheard, told = drops{}, 0, true
		}
	}
	return told
}

// Remove forgets a group, which must have no links, and returns what was queued for
// it.
func (q *Queue) Remove(b *Backlog) (n, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.emitDrops()
	q.backlogs = slices.DeleteFunc(q.backlogs, func(x *Backlog) bool { return x == b })
	q.lookForRequired()
	n, bytes = b.clear(fmt.Errorf("send to %q: %w", q.name, &messages.AbandonedError{Messages: 1, Where: fmt.Sprintf("group %q, which was removed", b.Group)}))
	b.counters.Dropped += uint64(n)
	q.losses.groups += n
	if q.phase == queueDraining && n > 0 {
		q.losses.draining += n
		q.losses.cause = errGroupRemoved
	}
	q.progress()
	return n, bytes
}

// abandonedError is what was given up with the destination, and more besides. mu is
// held.
func (q *Queue) abandonedError(more int) *messages.AbandonedError {
	return &messages.AbandonedError{Messages: q.losses.closed + more, Where: "destination " + q.name, Err: q.losses.cause}
}

// Drain refuses new messages from now on.
func (q *Queue) Drain() { q.Refuse(nil) }

// Refuse takes no new messages from now on, for cause, and delivers the rest.
func (q *Queue) Refuse(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == queueOpen {
		q.phase = queueDraining
	}
	if q.cause == nil {
		q.cause = cause
	}
	q.progress()
}

// Stranded reports whether nothing accepted will be delivered any more where no
// new link comes: it is settled, or waits for groups without a link.
func (q *Queue) Stranded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !slices.ContainsFunc(q.backlogs, func(b *Backlog) bool { return b.count > 0 && (len(b.links) > 0 || b.lettersDue()) })
}

// Close ends the queue for cause. What nobody acked is given up, and Close returns
// how much that was. The first cause of a refusal or end is kept.
func (q *Queue) Close(cause error) (abandoned int) { return q.End(cause, cause) }

// End is Close when callers of Send are told another cause than what is given up
// is. It counts and tells what is given up. Acks that come later count no more.
func (q *Queue) End(cause, why error) (abandoned int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == queueClosed {
		return 0
	}
	q.phase = queueClosed
	close(q.over)
	if q.cause == nil {
		q.cause = cause
	}
	if q.cause != nil {
		why = q.cause
	}
	q.emitDrops()
	for _, b := range q.backlogs {
		n, bytes := b.abandon(fmt.Errorf("send to %q: %w: %w", q.name, messages.ErrClosed,
			&messages.AbandonedError{Messages: 1, Where: fmt.Sprintf("group %q", b.Group), Err: why}))
		if n == 0 {
			continue
		}
		abandoned += n
		b.counters.Dropped += uint64(n)
		if q.cfg.Lends {
			continue // who lent it has it
		}
		q.Emit(messages.Abandoned{Destination: q.name, Group: b.Group, Count: n, Bytes: int64(bytes), Cause: why})
	}
	if abandoned > 0 {
		q.losses.closed, q.losses.cause = abandoned, why
	}
	q.progress()
	return abandoned
}

// Abandoned is what Unregister and Stop say of the messages, once the queue is
// closed: nil when nothing was given up while it drained, or with it.
func (q *Queue) Abandoned() *messages.AbandonedError {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.losses.closed+q.losses.draining == 0 {
		return nil
	}
	q.losses.asked = true
	return q.abandonedError(q.losses.draining)
}

// Unreported is Abandoned when nobody has been told of it yet.
func (q *Queue) Unreported() *messages.AbandonedError {
	q.mu.Lock()
	asked := q.losses.asked
	q.mu.Unlock()
	if asked {
		return nil
	}
	return q.Abandoned()
}

// Draining reports whether the queue takes no more and delivers the rest.
func (q *Queue) Draining() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.phase == queueDraining
}
