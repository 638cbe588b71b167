package penstock

// What pipes carry and report. An alias stands for a type of package
// messages, so its comment shows the fields and methods; a test compares them.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Message is what a caller sends: to the groups of a destination, or into a topic.
//
//	type Message struct {
//		Key       []byte    // what the message is about; may be empty. ByKey chooses a topic's partition by it
//		Value     []byte    // the content, opaque to Penstock
//		Headers   []Header  // in this order; names may repeat
//		Time      time.Time // the sender's, in nanoseconds; the zero Time means none
//		ExpiresAt time.Time // when it is not handed out any more; the zero Time means never
//		ID        string    // the sender's own name for it, of up to 256 bytes; may be empty
//		Tombstone bool      // what Key names is deleted; then there is a Key and no Value
//		DeliverAt time.Time // when a topic gives it to readers; the zero Time is at once. Pipes refuse it: ErrInvalid
//	}
//
//	func (m Message) DeliverAfter(d time.Duration) Message // m with a DeliverAt of d from now, by this host's clock
//	func (m *Message) Check() error                        // ErrInvalid: a name or the ID is not UTF-8 or too long, a time is outside 1677 to 2262, a Tombstone has no Key or a Value, or it expires before it is delivered
//	func (m *Message) CheckSend() error                    // the same for a pipe: ErrInvalid with a DeliverAt as well
//
// A topic with a window of ids, see TopicConfig, has each ID once in it; elsewhere an ID
// only travels along. So does a Tombstone, but in a topic that is compacted by key.
//
// A message that expires is given up by its sender when it is about to be sent, for the
// first time or again, and by a member when it is about to be handed out, each by the clock
// of its own machine: one that is wrong by a second expires it a second early or late. A
// handler that has it is not disturbed. PipeStats and MemberStats count it, and
// OnExpired is told. A subscription passes over a record that has expired when it would
// hand it out, for the first time or again: the record counts as handled,
// SubscriptionStats count it, and RecordExpired is told. It stays in the log, and
// Topic.Read yields it.
//
// Its bytes stay the caller's: Send and the puts copy them before they return.
type Message = messages.Message

// Header is one name and value that travels with a message. The name is UTF-8.
//
//	type Header struct {
//		Name  string
//		Value []byte
//	}
type Header = messages.Header

// Payload is what a received message says. Delivery and Record embed it.
//
//	type Payload struct {
//		Key      []byte // what the message is about, or empty
//		Value    []byte // the content
//		UnixNano int64  // the sender's time, in nanoseconds since 1970 UTC; 0 is none
//	}
//
//	func (p Payload) ExpiresAt() time.Time               // when it is not handed out any more, in UTC, or the zero Time
//	func (p Payload) DeliverAt() time.Time               // when a topic was to deliver it, in UTC, or the zero Time
//	func (p Payload) PutOffset() (offset int64, ok bool) // where its put placed it, if it was delivered later: it is at another offset since
//	func (p Payload) Expired() bool                      // whether that is over, by this machine's clock
//	func (p Payload) ID() string                         // the sender's own name for it, or empty
//	func (p Payload) IDBytes() []byte                    // the same without a copy, nil for none
//	func (p Payload) Tombstone() bool                    // whether it says that what its Key names is deleted
//	func (p Payload) Time() time.Time                    // UnixNano as a time in UTC, or the zero Time
//	func (p Payload) Header(name string) ([]byte, bool)  // the first header of that name
//	func (p Payload) Headers() iter.Seq2[string, []byte] // all of them, in the sender's order
//	func (p Payload) HeaderCount() int
//	func (p Payload) Message() Message                   // the same without its ID, to be sent again; its bytes are shared
//	func (p Payload) Clone() Payload                     // the same with bytes of its own
//
// Its bytes, and those that its methods return, belong to the buffer in which it
// came: they stay valid without end and keep that buffer in memory. A Payload is a
// value and can be read concurrently. PayloadOf makes one for a test of a handler.
type Payload = messages.Payload

// PayloadOf is the payload that m has when it is received: for tests of handlers.
// Key and Value share m's bytes; headers are copied.
func PayloadOf(m *Message) Payload { return messages.PayloadOf(m) }

// Delivery is one message handed to a member of a group, to be acked.
//
//	type Delivery struct {
//		Payload                   // Key, Value, Time, Headers
//		Destination, Group string // the pipe through which it came
//		Sender             string // the id of the registered sender
//		Seq                uint64 // counts deliveries on the link from that sender, from 1
//		Attempt            int    // 1 for the first handling; a failed one raises it
//		Deaths             int    // how often its link died, or its AckWait expired, while it was in hand
//		Redelivered        bool   // somebody may have seen it before: a handling failed or a link died before the ack
//		Settler            Settler
//	}
//
//	func (d Delivery) Ack()                                         // it was handled
//	func (d Delivery) Nack(cause error)                             // it failed: an attempt; it comes again after a delay that grows
//	func (d Delivery) NackAfter(after time.Duration, cause error)   // the same after a delay of its own
//	func (d Delivery) Release()                                     // nobody tried: no attempt; it comes again at once
//	func (d Delivery) Reject(cause error)                           // nobody ever will: a dead letter at once
//	func (d Delivery) Requested() bool                              // reports whether the sender waits for a reply
//	func (d Delivery) Reply(m Message) error                        // replies to a request, and acks; else it is Ack
//	func (d Delivery) InProgress()                                  // begins the AckWait again
//	func (d Delivery) Clone() Delivery                              // the same with bytes of its own; it settles the same message
//
// Reply returns ErrTooLarge when m is more than the sender's MaxMessageSize allows,
// ErrInvalid when m cannot be encoded or the request is settled, ErrBusy when 16 MiB of
// replies wait to be written to that sender, and ErrClosed when its link is gone: another
// member gets the request then. With an error it settles nothing. A rejected request is no
// dead letter: its requester gets the cause.
//
// None of them blocks, and all can be called from any goroutine. The first that
// settles the message counts; later ones do nothing. A cause, which may be nil, is in
// events and in the dead letter; to Nack it can be what a handler may return, see
// ErrReject and RetryAfter. NackAfter waits at most 24 h; a negative delay is none.
// Settler is set by the runtime; where it is nil, as in a test of a handler, they do
// nothing.
//
// A Delivery is a value: copies settle the same message. Its bytes stay valid
// without end and keep the frame in memory in which they came, of up to 60 KiB where its
// messages have up to 7.5 KiB, else of up to 264 KiB or one message; but see
// ReuseBuffers. Clone frees the frame.
type Delivery = messages.Delivery

// Settler hears what became of the deliveries of one link. Its methods do not block
// and are safe for concurrent use. A test of a handler can give a Delivery one of
// its own.
//
//	type Settler interface {
//		Ack(seq uint64)
//		GiveBack(seq uint64, how GiveBack)
//		InProgress(seq uint64)
//	}
type Settler = messages.Settler

// GiveBack says how a delivery is given back that was not handled.
//
//	type GiveBack struct {
//		Verb  Verb          // VerbNack, VerbRelease or VerbReject
//		After time.Duration // of what is VerbNack: the delay asked for, 1 ns to 24 h; 0 is the delay that grows
//		Cause error         // or nil
//	}
type GiveBack = messages.GiveBack

// GiveBackOf returns what the error of a handler means: VerbReject where it wraps
// ErrReject, VerbNack with a delay where it wraps what RetryAfter made, else VerbNack. It is
// for tests of handlers, and for middleware.
func GiveBackOf(err error) GiveBack { return messages.GiveBackOf(err) }

// Verb is how a delivery is given back: VerbNack, VerbRelease or VerbReject.
//
//	func (v Verb) String() string // "nacked", "released", "rejected"
type Verb = messages.Verb

// The verbs of a GiveBack.
const (
	// VerbNack: its handling failed. That counts as an attempt, and it is tried again
	// after a delay.
	VerbNack = messages.VerbNack
	// VerbRelease: nobody tried to handle it. It comes again at once, and nothing counts.
	VerbRelease = messages.VerbRelease
	// VerbReject: it will never be handled. It becomes a dead letter at once.
	VerbReject = messages.VerbReject
)

// Event is one of the structs of package messages that say what happened, such as
// messages.MemberLinked, messages.Redelivered or messages.SessionLost. Switch on its
// type. messages.EventName, EventLevel and EventAttrs say how it is logged.
type Event = messages.Event

// Handler handles one message for Member.Consume. A nil error acks it; an error or
// a panic nacks it, to be tried again, but see ErrReject and RetryAfter. ctx ends when the message has been given to
// another member (AckWait) or when Consume ends.
type Handler func(ctx context.Context, d Delivery) error

// DeadLetter is a message that failed as often as MaxAttempts allows, that members died
// over as often as MaxDeaths allows, or that a member rejected, for the function given to
// DeadLetters. Its bytes are its own.
//
//	type DeadLetter struct {
//		Message            Message
//		Destination, Group string
//		Attempts           int    // handlings that failed; a rejection is none
//		Deaths             int    // how often a member may have died over it
//		Rejected           bool   // a member rejected it
//		Cause              string // the error of the last handling, or what the last death was
//	}
type DeadLetter = messages.DeadLetter

// ExpiredMessage is a message whose ExpiresAt passed before a member of the group got it,
// for the function given to OnExpired. Its bytes are its own.
//
//	type ExpiredMessage struct {
//		Message            Message
//		Destination, Group string
//		Attempts           int // how often a handling had failed
//	}
type ExpiredMessage = messages.ExpiredMessage

// Parked is a copy of what would be a DeadLetter where no DeadLetters were given. The
// message itself is settled when it was rejected; else it is tried again.
//
//	type Parked struct {
//		Message  Message
//		Group    string
//		Attempts int    // handlings that failed by then
//		Deaths   int    // how often a member may have died over it by then
//		Rejected bool   // a member rejected it
//		Cause    string // the error of the last handling, or what the last death was
//	}
type Parked = messages.Parked

// Mode says what a group of a destination promises: AtLeastOnce, AtMostOnce, Failover or
// KeyAffinity. The first join or declaration decides it.
//
//	func (m Mode) Known() bool   // reports whether it is one of the four
//	func (m Mode) Ordered() bool // reports whether it is Failover or KeyAffinity
type Mode = messages.Mode

// The modes of a group.
const (
	// AtLeastOnce: a message is settled when a member acks it. What a member has not
	// acked when it fails goes to another, so duplicates happen and losses do not.
	AtLeastOnce = messages.AtLeastOnce
	// AtMostOnce: a message is settled when it is written to a link. What a failing
	// member had is lost, and nothing comes twice.
	AtMostOnce = messages.AtMostOnce
	// Failover is AtLeastOnce, and one member at a time gets all messages of a sender, in the
	// order in which they were sent: the member that joined first of those that are linked to
	// the sender and read. Others take over in order when it leaves, fails or stops reading,
	// and it does not get them back while its successor is there. See docs/order.md.
	Failover = messages.Failover
	// KeyAffinity is AtLeastOnce, and one member at a time gets the messages of a key of a
	// sender, in the order in which they were sent. Keys spread evenly over the members that
	// read, and few of them move when a member comes or goes. Messages without a key go to
	// any member, in no order. See docs/order.md.
	KeyAffinity = messages.KeyAffinity
)

// QueuePolicy says what Send does while a group's queue is full, see MaxQueue:
// QueueBlock, QueueDropOldest or QueueError. The first join or declaration decides it.
//
//	func (p QueuePolicy) Known() bool // reports whether it is one of the three
type QueuePolicy = messages.QueuePolicy

// The queue policies of a group.
const (
	// QueueBlock: Send waits for room until its context ends.
	QueueBlock = messages.QueueBlock
	// QueueDropOldest: Send does not wait. The oldest message that is not on a link
	// is dropped; when all are, the new one is.
	QueueDropOldest = messages.QueueDropOldest
	// QueueError: Send returns ErrGroupFull, and no group gets the message.
	QueueError = messages.QueueError
)

// PlainGroup is the name in counters and events of the stock nanomsg peers that
// PlainListen serves. No group of members can have it.
const PlainGroup = messages.PlainGroup

// Forever as KeepFor keeps a group without members until DeleteGroup removes it.
const Forever time.Duration = messages.Forever

// Engine is the same runtime for code that works with actors: see package actors.
// It has the methods CreateTopic, CreateTopicAt, DeclareGroup, DeleteConsumerGroup, DeleteGroup,
// DeleteTopic, DescribeDestination, DescribeConsumerGroup, DescribeTokens, DescribeTopic, Destination, Done,
// EnsureTopic, Err, Events, Health, Instrument, Join, Lease, ListDestinations,
// ListConsumerGroups, ListTopics, Member, PauseConsumerGroup, PauseGroup, Producer, Register,
// ResetOffsets, ResumeConsumerGroup, ResumeGroup, RevokeTokens, RotateTokens, Schedules, Stats, Stop, Stopped, Stopping, Subscription,
// System, Topic, Transact, Tree and UpdateTopic.
type Engine = actors.Engine
