package socket

// Which side of a pipe an end of a connection is, who may send what, and what each
// knows of the other.

import (
	"fmt"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// Peer is what the handshake proved about the other side.
type Peer struct {
	// ID is the sender's registered id, or the member's.
	ID string
	// Incarnation is the destination's, as the sender told it.
	Incarnation string
	// MaxMessage is the largest record the sender sends, in bytes as
	// messages.RecordSize counts them.
	MaxMessage uint64
}

// role is which side of the pipe a connection's end is.
type role uint8

const (
	roleSender role = iota
	roleMember
)

// controlFrame is the largest Nack, Drain, Bye or Ping.
const controlFrame = 4 << 10

// admits refuses a frame that has no place at r once the connection is open, or is
// larger than its kind can be.
func (r role) admits(k frame.Kind, size int) error {
	if !r.expects(k) {
		return fmt.Errorf("%w: %s frame on an open connection", frame.ErrProtocol, k)
	}
	if k != frame.KindData && k != frame.KindAck && size > controlFrame {
		return fmt.Errorf("%w: %s frame of %d bytes, the limit is %d: %w", frame.ErrProtocol, k, size, controlFrame, messages.ErrTooLarge)
	}
	return nil
}

// expects says whether a frame of that kind may arrive at r once the
// connection is open.
func (r role) expects(k frame.Kind) bool {
	switch k {
	case frame.KindPing, frame.KindDrain, frame.KindBye:
		return true
	case frame.KindData:
		return r == roleMember
	case frame.KindAck, frame.KindNack:
		return r == roleSender
	}
	return false
}
