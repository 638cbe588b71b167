package plain

// What a member says to a sender, where there is none to hear it: how much may be read.

import (
	"context"
	"sync"

	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

// credit is how much a link's reader may take from a peer. It is the wire of the link's
// reports.
type credit struct {
	mu              sync.Mutex
	messages, bytes uint64        // in all
	moved           chan struct{} // closed when there is more
}

var _ recvq.Wire = (*credit)(nil)

func newCredit() *credit { return &credit{moved: make(chan struct{})} }

// await waits until one more than so many messages, of so many bytes, may be read, or ctx
// ends.
func (c *credit) await(ctx context.Context, messages, bytes uint64) error {
	for {
		c.mu.Lock()
		free, moved := messages < c.messages && bytes < c.bytes, c.moved
		c.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// SendAck takes what is granted. Without a reader nothing is.
func (c *credit) SendAck(a *frame.Ack) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages, c.bytes = a.CreditMessages, a.CreditBytes
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

// SendNack is nothing: what was not handled is lost, which the link has told.
func (c *credit) SendNack(frame.Nack) error { return nil }

// SendReply is nothing: a plain message asks for none.
func (c *credit) SendReply(*frame.Reply) error { return nil }

// SendPing is nothing: the connection shows itself whether it lives.
func (c *credit) SendPing(frame.Ping) error { return nil }

// SendDrain is nothing: the connection is closed instead.
func (c *credit) SendDrain(frame.Drain) error { return nil }

// Leave is nothing.
func (c *credit) Leave(pb.Code, string) {}
