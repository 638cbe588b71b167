package senders

// What the runtime itself sends: messages that it lends, and answers for.

import (
	"context"

	"github.com/penstock-io/penstock/messages"
)

// Lend accepts a message over which members have died that often, under a tag for Recall
// that is not zero. It waits for room, and for a member, until ctx ends. settled is called
// once of a message that was accepted, under a lock: it must not block or call the
// destination. It gets nil for an ack; the error of a handler, as messages.GiveBackOf reads
// it; *messages.DeathError where a member may have died over it; messages.ErrExpired;
// messages.Untried of what was recalled; and *messages.AbandonedError where nobody is left.
func (d *Destination) Lend(ctx context.Context, m *messages.Message, deaths int, tag int64, settled func(error)) error {
	return d.out.Lend(ctx, m, deaths, tag, settled)
}

// Recall has what was lent under a tag settled, as far as no member has begun it. It does
// not block.
func (d *Destination) Recall(tag int64) { d.out.Recall(tag) }

// Gone reports whether the destination has ended and its keys are taken away.
func (d *Destination) Gone() bool { return d.removal.Settled() }

// Abandon ends the destination at once, without waiting for that.
func (d *Destination) Abandon() {
	d.out.Close(nil)
	d.node.Send(d.node.Root, &withdraw{d})
}
