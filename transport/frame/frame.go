package frame

// The frames as values, and their limits.

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// ErrProtocol: a frame that decodes but has no place there: a wrong kind, for the
// state or the direction, or a peer that cannot be this one's.
var ErrProtocol = errors.New("protocol violation")

// Kind tells the frames apart. The values are the field numbers in pb.Frame.
type Kind uint8

// The kinds of an open connection.
const (
	KindData  Kind = 5
	KindAck   Kind = 6
	KindNack  Kind = 7
	KindPing  Kind = 8
	KindDrain Kind = 9
	KindBye   Kind = 10
	KindReply Kind = 11
)

// The kinds of a handshake.
const (
	KindHello     Kind = 1
	KindChallenge Kind = 2
	KindProof     Kind = 3
	KindWelcome   Kind = 4
)

const kindCount Kind = 12

// Limits.
const (
	// LargestMessage is the largest message of a pipe, in bytes as
	// messages.PayloadSize counts them.
	LargestMessage = 64 << 20
	// Overhead is the most bytes that a frame adds to one record of
	// messages.RecordSize bytes.
	Overhead = 64
	// Largest is the largest frame, in bytes: it holds one record of the largest
	// message.
	Largest = LargestMessage + 64 + 18*messages.MaxHeaders + Overhead
	// MaxAckRanges is how many Ranges an Ack may have, and how many Renewed.
	MaxAckRanges = 1024
)

// DefaultAckWait is the AckWait of a member that says none.
const DefaultAckWait = 30 * time.Second

// LargestRecord is how many bytes a message of up to payload bytes may have once it
// is encoded.
func LargestRecord(payload int) int { return payload + messages.RecordOverhead(payload) }

var kindNames = [kindCount]string{
	KindHello: "hello", KindChallenge: "challenge", KindProof: "proof", KindWelcome: "welcome",
	KindData: "data", KindAck: "ack", KindNack: "nack", KindPing: "ping", KindDrain: "drain", KindBye: "bye",
	KindReply: "reply",
}

// String is the kind's name in lower case.
func (k Kind) String() string {
	if k < kindCount && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Frame is what Decode fills: Kind says which of the others holds something.
// Reuse one Frame for all calls of a loop.
type Frame struct {
	Kind  Kind
	Data  Data
	Ack   Ack
	Nack  Nack
	Drain Drain
	Bye   Bye
	Reply Reply
	Ping  Ping
}

// Data is a run of records on their way to a member.
type Data struct {
	// First is the link sequence of the first record.
	First uint64
	// Count is how many records there are, at least 1.
	Count int
	// Attempts is parallel to the records, or empty when all are first
	// attempts. The next Decode into the frame reuses it.
	Attempts []uint32
	// Redelivered says that somebody may have seen these records before.
	Redelivered bool
	// Deaths is how often a member may have died over each of these records.
	Deaths uint32
	// Records is the run as messages.ConsumeRecord reads it; its outer bounds
	// have been checked. It is fresh memory that belongs to the caller.
	Records []byte
}

// Ack settles records and grants credit; see pb.Ack.
type Ack struct {
	// Cumulative: every sequence up to this one is settled.
	Cumulative uint64
	// Ranges are settled too. Once received they are ascending, apart, and above
	// Cumulative; the next Decode into the frame reuses the slice. There are at most
	// MaxAckRanges.
	Ranges []Range
	// CreditMessages and CreditBytes are totals: how much the sender may have
	// sent on this connection since its Welcome.
	CreditMessages, CreditBytes uint64
	// Withdraw takes back what of the credit is not used, until a later Ack
	// grants credit again.
	Withdraw bool
	// Renewed are sequences whose AckWait begins again, ascending and apart; the
	// next Decode into the frame reuses the slice.
	Renewed []Range
	// AckWait is said with the first credit, in milliseconds on the wire: how
	// long a message may stay unsettled once it was handed out. 0 says nothing,
	// which means DefaultAckWait; negative means without a limit.
	AckWait time.Duration
}

// Range is From, To and all sequences between.
type Range struct{ From, To uint64 }

// Nack hands one record back.
type Nack struct {
	// Seq is its link sequence.
	Seq uint64
	// Kind is why: one of the kinds below. What is not known counts as NackFailed.
	Kind uint32
	// After, of NackFailed, is the delay before the next try, in milliseconds on the
	// wire and at least one; 0 leaves it to the sender. Once received it is at most
	// messages.MaxRetryAfter.
	After time.Duration
	// Reason is for events and dead letters; Wire cuts it at 1 KiB.
	Reason string
}

// The kinds of nack. Only a failed handling counts towards MaxAttempts and waits, and
// only an expired one counts a death. Returned and expired ones go out again at once,
// until that was often.
const (
	NackFailed   uint32 = iota
	NackReturned        // nobody tried
	NackExpired         // it was in hand for AckWait, or when its receiver failed: as when its member had died
	NackRejected        // it will never be handled
	NackLapsed          // its time was over, by its own ExpiresAt: not to be sent again
)

// Reply is what a member says to a record with a request.
type Reply struct {
	// Request is the record's, never 0.
	Request uint64
	// Record is one record as messages.ConsumeRecord reads it, whose outer bounds have
	// been checked; empty when the member refuses. It is fresh memory that belongs to the
	// caller.
	Record []byte
	// Failed says that the member refuses, and Error why, for people; what is sent is cut
	// at 1 KiB.
	Failed bool
	Error  string
}

// Ping is what a ping says on a link of a group that keeps an order; the zero Ping says no
// more than that its sender is there.
type Ping struct {
	// Number, of a member, counts its pings from 1. The sender repeats it.
	Number uint64
	// Heard, of a sender, is the highest Number that it has heard.
	Heard uint64
	// Nacks, of a sender, is how many nacks of this link it had taken when it sent what
	// follows.
	Nacks uint64
}

// Drain asks for the end of the link in order, or replies to that.
type Drain struct {
	// Last is, in a reply, the last sequence that was sent.
	Last uint64
	// Reply tells a reply from a request.
	Reply bool
}

// Bye is the last frame of a connection.
type Bye struct {
	Code pb.Code
	// Reason is for people; Wire cuts it at 1 KiB.
	Reason string
}

// Hello is what a member asks for; see pb.Hello for each field.
type Hello struct {
	// Version is the version of the protocol; socket.Dial sets it.
	Version                    uint32
	Destination, Group, Member string
	Mode                       pb.Mode
	// Window is in messages, WindowBytes in bytes of records.
	Window      uint32
	WindowBytes uint64
	Concurrency uint32
	Policy      pb.QueuePolicy
	// KeepFor has the precision of milliseconds; negative is without end.
	KeepFor time.Duration
	// URL is the URL that was dialled; socket.Dial sets it.
	URL string
	// Level is what the member's release can do; socket.Dial sets it.
	Level pb.Level
	// Zone is where the member runs, or empty. It goes to senders of pb.LevelZones and
	// later only.
	Zone string
	// Own shows a sender of the same runtime that the member is of it; empty to those of other
	// processes.
	Own string
}

// Limits on what a stranger may name; the runtime's own names are shorter.
const (
	maxName   = 255
	maxURL    = 1024
	maxReason = 1024
)

// MaxError is how many bytes of a Reply are why it refuses.
const MaxError = maxReason

// maxOwn is the longest Own, in bytes.
const maxOwn = 64

// Check finds every fault of a Hello: names that are empty or too long, and a zone that
// messages.ValidateZone refuses. What they
// mean is not its business.
func (h *Hello) Check() error {
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
	if len(h.Own) > maxOwn {
		faults = append(faults, fmt.Errorf("hello: own has %d bytes, over the limit of %d", len(h.Own), maxOwn))
	}
	if err := messages.ValidateZone(h.Zone); err != nil {
		faults = append(faults, fmt.Errorf("hello: %w", err))
	}
	return errors.Join(faults...)
}

// Breaks reports whether an error of a frame that came says that the peer broke the protocol:
// the frame does not decode, is larger than it may be, or has no place there. Everything else,
// such as a connection that ends in the middle of a frame, may be the network's doing.
func Breaks(err error) bool {
	return errors.Is(err, ErrProtocol) || errors.Is(err, messages.ErrCorrupt) || errors.Is(err, messages.ErrTooLarge)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("frame: %w: %s", messages.ErrCorrupt, fmt.Sprintf(format, args...))
}

// Unexpected is the error of a frame that its receiver has no use for. It wraps
// ErrProtocol and messages.ErrCorrupt.
func Unexpected(k Kind) error {
	return fmt.Errorf("unexpected %s frame: %w: %w", k, ErrProtocol, messages.ErrCorrupt)
}
