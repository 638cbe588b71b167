package plain

// What a peer would say if it could: which messages are its own now, and how many more it
// may be sent. Pure.

import (
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/transport/frame"
)

// windowBytes is how much may be sent at once, besides the messages that the connection
// takes: a peer that reads nothing holds that up until it is noticed.
const windowBytes = 256 << 10

// tally counts what one peer was sent. A message is settled when it is written.
type tally struct {
	window uint64 // messages
	bytes  uint64
}

// opens grants the first window.
func (t *tally) opens() frame.Ack { return t.grant(0) }

func (t *tally) grant(sent uint64) frame.Ack {
	return frame.Ack{Cumulative: sent, CreditMessages: sent + t.window, CreditBytes: t.bytes + windowBytes}
}

// wrote settles a batch, and grants the next.
func (t *tally) wrote(b *sendq.Batch) frame.Ack {
	t.bytes += uint64(len(b.Records))
	return t.grant(b.First + uint64(b.Count) - 1)
}

// took settles the first of a batch.
func (t *tally) took(b *sendq.Batch, taken int) frame.Ack {
	return frame.Ack{Cumulative: b.First + uint64(taken) - 1}
}

// stalls settles the first of a batch, and takes back what is granted.
func (t *tally) stalls(b *sendq.Batch, taken int) frame.Ack {
	a := t.took(b, taken)
	a.Withdraw = true
	return a
}
