package socket

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Frames as users of a Conn see them, and who may send which.

// Kind tells the frames apart. The values are the field numbers in pb.Frame.
type Kind uint8

// The kinds that Recv returns. Pings are consumed inside.
const (
	KindData  Kind = 5
	KindAck   Kind = 6
	KindNack  Kind = 7
	KindDrain Kind = 9
	KindBye   Kind = 10

	kindHello     Kind = 1
	kindChallenge Kind = 2
	kindProof     Kind = 3
	kindWelcome   Kind = 4
	kindPing      Kind = 8
	kindCount     Kind = 11
)

var kindNames = [kindCount]string{
	kindHello: "hello", kindChallenge: "challenge", kindProof: "proof", kindWelcome: "welcome",
	KindData: "data", KindAck: "ack", KindNack: "nack", kindPing: "ping", KindDrain: "drain", KindBye: "bye",
}

// String is the kind's name in lower case.
func (k Kind) String() string {
	if k < kindCount && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Frame is what Recv fills: Kind says which of the others holds something.
// Reuse one Frame for all calls of a loop.
type Frame struct {
	Kind  Kind
	Data  Data
	Ack   Ack
	Nack  Nack
	Drain Drain
	Bye   Bye
}

// Data is a run of records on their way to a member.
type Data struct {
	// First is the link sequence of the first record.
	First uint64
	// Count is how many records there are, at least 1.
	Count int
	// Attempts is parallel to the records, or empty when all are first
	// attempts. The next Recv reuses it.
	Attempts []uint32
	// Redelivered tells that somebody may have seen these records before.
	Redelivered bool
	// Records is the run as messages.ConsumeRecord reads it; its outer bounds
	// have been checked. It is fresh memory that belongs to the caller.
	Records []byte
}

// Ack settles records and grants credit; see pb.Ack.
type Ack struct {
	// Cumulative: every sequence up to this one is settled.
	Cumulative uint64
	// Ranges are settled too. On Recv they are ascending, apart, and above
	// Cumulative; the next Recv reuses the slice. There are at most MaxAckRanges.
	Ranges []Range
	// CreditMessages and CreditBytes are totals: how much the sender may have
	// sent on this connection since its Welcome.
	CreditMessages, CreditBytes uint64
	// Withdraw takes back what of the credit is not used, until a later Ack
	// grants credit again.
	Withdraw bool
	// Renewed are sequences whose AckWait begins again, ascending and apart; the
	// next Recv reuses the slice.
	Renewed []Range
	// AckWait is said with the first credit, in milliseconds on the wire: how
	// long a message may stay unsettled once it was handed out. 0 says nothing,
	// which means the default; negative means without a limit.
	AckWait time.Duration
}

// Range is From, To and all sequences between.
type Range struct{ From, To uint64 }

// Nack hands one record back.
type Nack struct {
	// Seq is its link sequence.
	Seq uint64
	// Kind is the member's class of the failure; 0 is an ordinary one.
	Kind uint32
	// Reason is for events and dead letters; SendNack cuts it at 1 KiB.
	Reason string
}

// Drain asks for the end of the link in order, or answers that.
type Drain struct {
	// Last is, in a reply, the last sequence that was sent.
	Last uint64
	// Reply tells an answer from a request.
	Reply bool
}

// Bye is the last frame of a connection.
type Bye struct {
	Code pb.Code
	// Reason is for people; SendBye cuts it at 1 KiB.
	Reason string
}

// Hello is what a member asks for; see pb.Hello for each field.
type Hello struct {
	// Version is set by Dial.
	Version                    uint32
	Destination, Group, Member string
	Mode                       pb.Mode
	// Window is in messages, WindowBytes in bytes of records.
	Window      uint32
	WindowBytes uint64
	Concurrency uint32
	Policy      pb.QueuePolicy
	// KeepFor has the precision of milliseconds; negative is for ever.
	KeepFor time.Duration
	// URL is the URL dialled; Dial sets it.
	URL string
}

// Limits on what a stranger may name; the runtime's own names are shorter.
const (
	maxName   = 255
	maxURL    = 1024
	maxReason = 1024
)

// check finds every fault of a Hello; what names mean is not its business.
func (h *Hello) check() error {
	var faults []error
	name := func(what, v string) {
		if v == "" || len(v) > maxName {
			faults = append(faults, fmt.Errorf("hello: %s has %d bytes, not 1 to %d", what, len(v), maxName))
		}
	}
	name("destination", h.Destination)
	name("group", h.Group)
	name("member", h.Member)
	if len(h.URL) > maxURL {
		faults = append(faults, fmt.Errorf("hello: url has %d bytes, the limit is %d", len(h.URL), maxURL))
	}
	return errors.Join(faults...)
}

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

// MaxAckRanges is how many Ranges an Ack may have, and how many Renewed.
const MaxAckRanges = 1024

// controlFrame is the largest Nack, Drain, Bye or Ping.
const controlFrame = 4 << 10

// admits refuses a frame that has no place at r once the connection is open, or is
// larger than its kind can be.
func (r role) admits(k Kind, size int) error {
	if !r.expects(k) {
		return fmt.Errorf("%w: %s frame on an open connection", ErrProtocol, k)
	}
	if k != KindData && k != KindAck && size > controlFrame {
		return fmt.Errorf("%w: %s frame of %d bytes, the limit is %d: %w", ErrProtocol, k, size, controlFrame, messages.ErrTooLarge)
	}
	return nil
}

// expects says whether a frame of that kind may arrive at r once the
// connection is open.
func (r role) expects(k Kind) bool {
	switch k {
	case kindPing, KindDrain, KindBye:
		return true
	case KindData:
		return r == roleMember
	case KindAck, KindNack:
		return r == roleSender
	}
	return false
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("frame: %w: %s", messages.ErrCorrupt, fmt.Sprintf(format, args...))
}

// clip shortens text that people wrote, so that it cannot blow up a frame.
func clip(s string) string {
	if len(s) > maxReason {
		return s[:maxReason]
	}
	return s
}
