package senders

// What the runtime itself sends: messages that it lends, and answers for.

import (
	"context"

	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
)

// Loan is how a message is lent.
type Loan = sendq.Loan

// Lend accepts a message that the caller answers for. It waits for room, and for a member,
// until ctx ends. Loan.Settled is called once of a message that was accepted, under a lock:
// it must not block or call the destination. It gets nil for an ack; the error of a handler,
// as messages.GiveBackOf reads it; *messages.DeathError where a member may have died over
// it; messages.ErrExpired; messages.Untried of what was recalled; and
// *messages.AbandonedError where nobody is left.
func (d *Destination) Lend(ctx context.Context, m *messages.Message, loan Loan) error {
	return d.out.Lend(ctx, m, loan)
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
