package actors

// How a destination's data path ends, and what is told of what it gives up. Each
// message that was accepted and will not be delivered is counted in its group's
// Dropped, is part of an event, and is part of an *AbandonedError.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
func (o *outlet) drop(d *drops, n, bytes int) {
	d.count += n
	d.bytes += bytes
	if o.telling {
		return
	}
	o.telling = true
	o.emitDrops()
	o.later(o.tellDrops)
}

// tellDrops tells what was dropped since the last time, until nothing was.
func (o *outlet) tellDrops() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.telling = o.emitDrops()
	if o.telling && o.phase != outletClosed {
		o.later(o.tellDrops)
	}
}

// emitDrops reports whether there was anything to tell. mu is held.
func (o *outlet) emitDrops() (told bool) {
	tell := func(d *drops, group, why string) {
		if d.count > 0 {
			o.emit(messages.MessagesDropped{Destination: o.name, Group: group, Count: d.count, Bytes: int64(d.bytes), Why: why})
			*d, told = drops{}, true
		}
	}
	tell(&o.nobody, "", noGroup.why)
	for _, b := range o.pipes {
		tell(&b.untold, b.group, groupFull)
	}
	return told
}

// remove forgets a group and answers what was queued for it.
func (o *outlet) remove(b *backlog) (n, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.emitDrops()
	o.pipes = slices.DeleteFunc(o.pipes, func(x *backlog) bool { return x == b })
	n, bytes = b.clear()
	b.counters.Dropped += uint64(n)
	o.losses.groups += n
	if o.phase == outletDraining && n > 0 {
		o.losses.draining += n
		o.losses.cause = errGroupRemoved
	}
	o.progress()
	return n, bytes
}

// memberPatience is how long a Flush waits for a member of a group that has none
// linked, once all other groups have acked. A member that restarts is back by then.
const memberPatience = 10 * time.Second

// flush waits until everything accepted before the call is settled, in every
// group it was accepted for. What was given up with a group since the flush
// before is an error, once; what was given up with the destination always is.
func (o *outlet) flush(ctx context.Context) error {
	if err := o.settled(ctx, memberPatience); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	lost := o.losses.groups
	o.losses.groups = 0
	switch {
	case o.losses.closed > 0:
		return fmt.Errorf("flush %q: %w: %w", o.name, messages.ErrClosed, o.abandoned(lost))
	case lost > 0:
		return fmt.Errorf("flush %q: %w", o.name, &messages.AbandonedError{Messages: lost, Where: "groups that were removed"})
	}
	return nil
}

// abandoned is what was given up with the destination, and more besides. mu is
// held.
func (o *outlet) abandoned(more int) *messages.AbandonedError {
	return &messages.AbandonedError{Messages: o.losses.closed + more, Where: "destination " + o.name, Err: o.losses.cause}
}

// drain refuses new messages from now on.
func (o *outlet) drain() { o.refuse(nil) }

// refuse takes no new messages from now on, for cause, and goes on to deliver.
func (o *outlet) refuse(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase == outletOpen {
		o.phase = outletDraining
	}
	if o.cause == nil {
		o.cause = cause
	}
	o.progress()
}

// stranded reports whether nothing accepted will be delivered any more where no
// new link comes: it is settled, or waits for groups without a link.
func (o *outlet) stranded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !slices.ContainsFunc(o.pipes, func(b *backlog) bool { return b.count > 0 && (len(b.lanes) > 0 || len(b.dying) > 0) })
}

// close ends the data path for cause. What nobody acked is given up, and close
// answers how much that was. The first cause of a refusal or end is kept.
func (o *outlet) close(cause error) (abandoned int) { return o.end(cause, cause) }

// end is close when callers of Send are told another cause than what is given up
// is. It counts and tells what is given up. Acks that come later count no more.
func (o *outlet) end(cause, why error) (abandoned int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase == outletClosed {
		return 0
	}
	o.phase = outletClosed
	if o.cause == nil {
		o.cause = cause
	}
	if o.cause != nil {
		why = o.cause
	}
	o.emitDrops()
	for _, b := range o.pipes {
		n, bytes := b.abandon()
		if n == 0 {
			continue
		}
		abandoned += n
		b.counters.Dropped += uint64(n)
		o.emit(messages.Abandoned{Destination: o.name, Group: b.group, Count: n, Bytes: int64(bytes), Cause: why})
	}
	if abandoned > 0 {
		o.losses.closed, o.losses.cause = abandoned, why
	}
	o.progress()
	return abandoned
}

// outcome is what Unregister and Stop say of the messages, once the destination is
// closed: nil when nothing was given up while it drained, or with it.
func (o *outlet) outcome() *messages.AbandonedError {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.losses.closed+o.losses.draining == 0 {
		return nil
	}
	o.losses.asked = true
	return o.abandoned(o.losses.draining)
}

// unasked is outcome when nobody has been told of it yet.
func (o *outlet) unasked() *messages.AbandonedError {
	o.mu.Lock()
	asked := o.losses.asked
	o.mu.Unlock()
	if asked {
		return nil
	}
	return o.outcome()
}
