package messages

// Requests and replies: a message that somebody waits for a reply to, what a member says
// to it, and what the requester gets.

import (
	"errors"
	"fmt"
	"time"
)

// Ask is m as a request of that number, by which its sender knows the reply. The number
// travels with the message, whoever gets it in the end. Payload.Message leaves it out.
func Ask(m Message, number uint64) Message {
	m.request = number
	return m
}

// Asked is the number of the request that p is; 0 when nobody waits for a reply.
func Asked(p *Payload) uint64 { return p.request }

// Reply is what a member replied to a request.
//
// Its bytes are the receiver's and stay valid without end.
type Reply struct {
	Payload
	// Group and Member say who replied.
	Group, Member string
}

// RemoteError says that a member refused a request: its handler rejected it.
type RemoteError struct {
	// Group and Member say who refused.
	Group, Member string
	// Text is the error of the handler, at most 1 KiB of it.
	Text string
}

// Error says who refused, and why.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("member %s of group %q refused the request: %s", e.Member, e.Group, e.Text)
}

// Replier is a Settler that can reply to requests.
type Replier interface {
	// Reply sends m, or why the request is refused when that is not nil, to the sender
	// of the request of that number, and acks the delivery.
	Reply(seq, request uint64, m *Message, refused error) error
}

// Requested reports whether the sender waits for a reply.
func (d Delivery) Requested() bool { return d.request != 0 }

// Reply sends m to whoever waits for a reply to this message, and acks the message. It
// does not block, and m's bytes stay the caller's. Where nobody waits for a reply it
// is Ack.
//
// Errors, of a request, with which it is not settled: ErrTooLarge when m is more than a
// message of the destination may be, ErrInvalid when m's Check fails or the delivery is
// settled, ErrBusy when 16 MiB of replies wait to be written to that sender, ErrClosed when
// the link is gone: then another member gets the request, if the group is AtLeastOnce.
func (d Delivery) Reply(m Message) error {
	r, ok := d.Settler.(Replier)
	if d.request == 0 || !ok {
		d.Ack()
		return nil
	}
	return r.Reply(d.Seq, d.request, &m, nil)
}

// refuse tells the requester why nobody will handle its request.
func (d Delivery) refuse(cause error) bool {
	r, ok := d.Settler.(Replier)
	if d.request == 0 || !ok {
		return false
	}
	if cause == nil {
		cause = errRefused
	}
	return r.Reply(d.Seq, d.request, nil, cause) == nil
}

var errRefused = errors.New("rejected without a cause")

// What a destination's actor is asked, and its reply.
type (
	// Request asks a destination to send a message as a request to one group, the only one
	// or that named, and to wait for the reply. The reply is *Replied. It does not wait for
	// what was published before. The bytes of the message belong to the destination until
	// the reply.
	Request struct {
		Message Message
		// Timeout is how long the reply may take, from when the actor has the Request. It must
		// be positive.
		Timeout time.Duration
		// Group is asked; empty is the only one of the destination.
		Group string
	}
	// Replied is the reply to Request, with the errors of penstock.Destination.Request,
	// context.DeadlineExceeded after Timeout, and ErrBusy when 16,384 requests of the
	// actor are under way.
	Replied struct {
		Reply Reply
		Err   error
	}
)
