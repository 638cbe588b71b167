package messages

// What is sent to groups and into topics, and what a member of a group gets.

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Message is what a caller sends: to a destination's groups, or into a topic.
//
// Its bytes stay the caller's: Send and Put copy them once, before they return.
type Message struct {
	// Key names what the message is about; it may be empty. A topic
	// keeps the order of messages with one key, see ByKey.
	Key []byte
	// Value is the payload, opaque to Penstock.
	Value []byte
	// Headers travel with the message, in this order; names may repeat.
	Headers []Header
	// Time is the sender's, with nanosecond precision; the zero Time means none.
	Time time.Time
	// ExpiresAt is when the message is not handed out any more, with nanosecond
	// precision; the zero Time means never.
	ExpiresAt time.Time
	// ID is the sender's own name for the message, at most MaxIDBytes of UTF-8; it
	// may be empty. A topic with a window of ids, see TopicConfig.DedupeWindow, has
	// each id once in it; elsewhere it only travels along. Give the ids of one
	// producer its name and a slash in front ("till-7/1042"), so that LastID finds
	// them.
	ID string
	// Tombstone says that what Key names is deleted. Such a message has a key and no
	// value. A topic that is compacted, see TopicConfig.Compaction, deletes the records
	// before it that have its key, and the tombstone itself after a while; elsewhere it
	// only travels along.
	Tombstone bool
	// DeliverAt is when a topic gives the message to readers, with nanosecond precision;
	// the zero Time, or one that has passed, is at once. Pipes refuse it. DeliverAfter sets
	// it.
	DeliverAt time.Time

	request uint64 // see Ask
}

// DeliverAfter is m with a DeliverAt of d from now, by this host's clock.
func (m Message) DeliverAfter(d time.Duration) Message {
	m.DeliverAt = time.Now().Add(d)
	return m
}

// Header is one name and value that travels with a message.
type Header struct {
	Name  string
	Value []byte
}

// Check reports whether the record format can carry m unchanged: header names
// must be UTF-8 and Time must lie within what 64-bit nanoseconds around 1970
// hold (1677 to 2262), ID be UTF-8 of MaxIDBytes at most, and a Tombstone have a key and no value. The error wraps ErrInvalid. A Time of exactly
// 1970-01-01T00:00:00Z passes and arrives as none. A DeliverAt must lie within the same,
// and before ExpiresAt.
func (m *Message) Check() error {
	for i := range m.Headers {
		if !utf8.ValidString(m.Headers[i].Name) {
			return fmt.Errorf("header name %q is not UTF-8: %w", m.Headers[i].Name, ErrInvalid)
		}
	}
	if !m.Time.IsZero() && (m.Time.Before(firstTime) || m.Time.After(lastTime)) {
		return fmt.Errorf("time %v is outside %v to %v: %w", m.Time, firstTime, lastTime, ErrInvalid)
	}
	if !m.ExpiresAt.IsZero() && (!m.ExpiresAt.After(firstTime) || m.ExpiresAt.After(lastTime)) {
		return fmt.Errorf("expiry %v is outside %v to %v: %w", m.ExpiresAt, firstTime, lastTime, ErrInvalid)
	}
	if !m.DeliverAt.IsZero() {
		switch {
		case m.DeliverAt.Before(firstTime) || m.DeliverAt.After(lastTime):
			return fmt.Errorf("deliver at %v is outside %v to %v: %w", m.DeliverAt, firstTime, lastTime, ErrInvalid)
		case !m.ExpiresAt.IsZero() && !m.DeliverAt.Before(m.ExpiresAt):
			return fmt.Errorf("deliver at %v, and it expires at %v: %w: nobody would get it", m.DeliverAt, m.ExpiresAt, ErrInvalid)
		}
	}
	if len(m.ID) > MaxIDBytes || !utf8.ValidString(m.ID) {
		return fmt.Errorf("id %.64q of %d bytes: it must be UTF-8 and have at most %d: %w", m.ID, len(m.ID), MaxIDBytes, ErrInvalid)
	}
	if m.Tombstone && (len(m.Key) == 0 || len(m.Value) > 0) {
		return fmt.Errorf("a tombstone with a key of %d bytes and a value of %d: it needs a key, which it deletes, and has no value: %w", len(m.Key), len(m.Value), ErrInvalid)
	}
	return nil
}

// CheckSend is Check for a message of a pipe, which keeps none for later.
func (m *Message) CheckSend() error {
	if !m.DeliverAt.IsZero() {
		return fmt.Errorf("deliver at %v: %w: only a topic delivers later; put the message into one", m.DeliverAt, ErrInvalid)
	}
	return m.Check()
}

// MaxIDBytes is how many bytes a Message's ID can have.
const MaxIDBytes = 256

var (
	firstTime = time.Unix(0, math.MinInt64).UTC()
	lastTime  = time.Unix(0, math.MaxInt64).UTC()
)

// MaxHeaders is how many headers a message of a pipe can have.
const MaxHeaders = 1 << 14

// PayloadSize is how many bytes m is about: key, value, id, and names and values of
// headers, of which an empty one counts a byte. The encoding adds to that, see
// RecordSize and RecordOverhead. It does not allocate.
func PayloadSize(m *Message) int {
	n := len(m.Key) + len(m.Value) + len(m.ID)
	for i := range m.Headers {
		n += max(1, len(m.Headers[i].Name)+len(m.Headers[i].Value))
	}
	return n
}

// Settler hears what became of a delivery. Its methods do not block and are
// safe for concurrent use; the first call for a sequence decides, later ones
// do nothing.
type Settler interface {
	// Ack settles the delivery: it was handled.
	Ack(seq uint64)
	// GiveBack hands the delivery back, which was not handled.
	GiveBack(seq uint64, how GiveBack)
	// InProgress restarts the delivery's AckWait.
	InProgress(seq uint64)
}

// Delivery is one message handed to a member of a group.
//
// A Delivery is a value: copying it is cheap and copies settle the same
// message. Its bytes stay valid without end and keep the frame in memory that
// they came in; Clone detaches them. The methods are safe for concurrent use.
type Delivery struct {
	Payload
	// Destination and Group say which pipe the message came through.
	Destination, Group string
	// Sender is the id of the registered sender it came from.
	Sender string
	// Seq counts deliveries on the link from that sender, from 1.
	Seq uint64
	// Attempt is 1 for the first handling; failed handlings raise it.
	Attempt int
	// Deaths is how often a member may have died over the message: its link died, or
	// its AckWait expired, while the message was in hand.
	Deaths int
	// Redelivered reports whether an earlier delivery of this message may have been
	// seen by somebody: it failed there, or the link died before its ack.
	Redelivered bool
	// Settler hears what becomes of it. It is set by Penstock; a nil Settler makes
	// the methods no-ops, which is handy in tests of handlers.
	Settler Settler
}

// Ack settles the message: it was handled. It does not block.
func (d Delivery) Ack() {
	if d.Settler != nil {
		d.Settler.Ack(d.Seq)
	}
}

// Nack hands the message back, whose handling failed: it is delivered again after a
// delay that grows with each attempt. cause, which may be nil, appears in events and
// with the dead letter. One that wraps ErrReject, or that RetryAfter made, does what it
// does as the error of a handler, see GiveBackOf. It does not block.
func (d Delivery) Nack(cause error) {
	if d.Settler != nil {
		d.Settler.GiveBack(d.Seq, GiveBackOf(cause))
	}
}

// NackAfter is Nack with a delay of its own: it counts as an attempt as well. after is
// at most MaxRetryAfter; a negative one is zero, which is at once. It does not block.
func (d Delivery) NackAfter(after time.Duration, cause error) {
	if d.Settler != nil {
		d.Settler.GiveBack(d.Seq, GiveBack{Verb: VerbNack, After: boundRetry(after), Cause: cause})
	}
}

// Release hands the message back that nobody tried to handle: it is delivered again at
// once, and no attempt counts. It does not block.
func (d Delivery) Release() {
	if d.Settler != nil {
		d.Settler.GiveBack(d.Seq, GiveBack{Verb: VerbRelease})
	}
}

// Reject hands the message back that will never be handled: it becomes a dead letter at
// once. cause, which may be nil, appears with it. A request becomes none: whoever waits
// for the reply gets a *RemoteError with the cause. It does not block.
func (d Delivery) Reject(cause error) {
	if d.request != 0 && d.refuse(cause) {
		return
	}
	if d.Settler != nil {
		d.Settler.GiveBack(d.Seq, GiveBack{Verb: VerbReject, Cause: cause})
	}
}

// InProgress asks for another AckWait before the message is given to another
// member. It does not block.
func (d Delivery) InProgress() {
	if d.Settler != nil {
		d.Settler.InProgress(d.Seq)
	}
}

// Clone is the delivery with bytes of its own, so that keeping it does not
// keep the frame it came in.
func (d Delivery) Clone() Delivery {
	d.Payload = d.Payload.Clone()
	return d
}
