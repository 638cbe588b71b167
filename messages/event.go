package messages

// Events: what happened in a runtime that somebody may want to know. Each is a
// struct with a name in the past tense; log lines are derived from the structs,
// so that no fact is in the log only.

import (
	"context"
	"log/slog"
	"time"
)

// Event is one of the structs of this package; no other package can make one.
// Events are passed by value: switch on SessionLost, not on *SessionLost. They are
// safe to keep and to share. EventName, EventLevel and EventAttrs say how one is
// logged and counted.
type Event interface {
	name() string
	level() slog.Level
	attrs() []slog.Attr
}

// EventName is the kind of e in snake case, such as session_lost: the message of
// its log line and the label of its counter. It does not change between versions.
func EventName(e Event) string { return e.name() }

// EventLevel is the level of the log line of e.
func EventLevel(e Event) slog.Level { return e.level() }

// EventAttrs are the fields of e for a log line, in the order of the struct; empty
// optional ones are left out.
func EventAttrs(e Event) []slog.Attr { return e.attrs() }

// LogEvent writes e as one line: its name, with its attributes. A nil logger
// takes nothing. It blocks as long as the logger's handler does.
func LogEvent(ctx context.Context, logger *slog.Logger, e Event) {
	if logger == nil || !logger.Enabled(ctx, e.level()) {
		return
	}
	logger.LogAttrs(ctx, e.level(), e.name(), e.attrs()...)
}

// Session and registry.

// SessionSuspended: etcd has not confirmed the lease in time. Topics hand out
// nothing new; pipes work as before. SessionRenewed or SessionLost follows.
type SessionSuspended struct {
	Lease int64
	// Err is the last error from etcd, or nil when etcd did not reply.
	Err error
}

// SessionLost: etcd no longer knows the lease, so its keys and claims are gone.
type SessionLost struct {
	Lease int64
}

// SessionRenewed: the session is alive again.
type SessionRenewed struct {
	Lease int64
	// Previous is the same lease after a doubt, the lost one after a loss.
	Previous int64
}

// RegistrationRestored: a key of this runtime was missing and was written again.
type RegistrationRestored struct {
	Key string
	// Why is "deleted by somebody" or "new session", for people.
	Why string
}

// RegistrationTroubled: etcd refuses to have a key of this runtime put right. There is
// one event until the key is right, and it is tried again meanwhile.
type RegistrationTroubled struct {
	Key string
	Err error
}

// RegistryDelayed: the keys of this runtime cannot be looked after at the moment;
// it is tried again.
type RegistryDelayed struct {
	Err error
}

// RegistrationAwaited: a fixed sender or member id, or the destination of a sole
// sender, is held by another process. It is waited for, until its lease ends or shows that it lives.
type RegistrationAwaited struct {
	Key string
	// Holder says who it is, for people.
	Holder string
	// Left is how long its lease stands at most, if it is not renewed.
	Left time.Duration
}

// Destinations and groups, on the sender's side.

// DestinationRegistered: this runtime sends for the destination from now on.
type DestinationRegistered struct {
	Destination string
	// Sender is the id under which it is registered.
	Sender string
	// URLs are where members find it, in the order in which they try them.
	URLs []string
	// Local: the URLs are loopback addresses, as on a machine without a
	// network, so that members elsewhere cannot find it.
	Local bool
}

// SenderMoved: this machine's addresses changed, and members find the sender at
// other URLs from now on. Links that stand are not touched.
type SenderMoved struct {
	Destination string
	Sender      string
	// URLs are where members find it now.
	URLs  []string
	Local bool // as for DestinationRegistered
}

// DestinationUnregistered: this runtime no longer sends for the destination.
type DestinationUnregistered struct {
	Destination string
	Sender      string
}

// GroupFound: messages accepted from now on are for that group as well.
type GroupFound struct {
	Destination, Group string
}

// GroupBegan: a group is new for a sender that has accepted messages already. It follows
// GroupFound.
type GroupBegan struct {
	Destination, Group string
	// Missed is how many messages this sender accepted before, which the group does not
	// get. Those that an earlier group of its name got are among them.
	Missed uint64
}

// GroupRemoved: the pipe of a group ended, with what was queued in it.
type GroupRemoved struct {
	Destination, Group string
	// Unsent and Bytes count the messages that are dropped with it.
	Unsent int
	Bytes  int64
}

// MemberLinked: a member has authenticated itself and is sent messages.
type MemberLinked struct {
	Destination, Group, Member, Sender string
	// Addr is the member's address on the connection.
	Addr string
}

// MemberUnlinked: the link to a member ended.
type MemberUnlinked struct {
	Destination, Group, Member, Sender string
	Addr                               string
	// Cause is nil after an orderly end.
	Cause error
	// Requeued counts the unacked messages that go to another member.
	Requeued int
}

// SenderLinked: a sender has accepted this member.
type SenderLinked struct {
	Destination, Group, Member, Sender string
	// Addr is the URL dialled.
	Addr string
	// Passed is why the URLs that come before that one failed; nil when it was the first.
	Passed error
}

// SenderUnlinked: this member's link to a sender ended.
type SenderUnlinked struct {
	Destination, Group, Member, Sender string
	Addr                               string
	// Cause is nil after an orderly end.
	Cause error
	// Discarded counts the messages that had come and were not handed out; the
	// sender delivers them again.
	Discarded int
}

// LeftGroup: this runtime's membership ended.
type LeftGroup struct {
	Destination, Group, Member string
}

// ConnectionRefused: a connection was refused in its handshake.
type ConnectionRefused struct {
	// Remote is the address of the other side.
	Remote string
	// Reason is a fixed name. "closing" is that of a listener which ends.
	Reason string
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// ProtocolViolated: the other side of a link sent what it may not, such as more
// than its credit, an ack of what was never sent, or a frame that does not decode or is too
// large. The link ends, and its last frame tells the other side why. Of Member and Sender,
// one is this side and the other one is who did it.
type ProtocolViolated struct {
	Destination, Group, Member, Sender string
	// Addr is the address of the other side.
	Addr string
	Err  error
}

// What became of messages.

// Redelivered: messages that somebody may have seen were queued again.
type Redelivered struct {
	Destination, Group string
	Count              int
	Cause              error
}

// MessageNacked: a handler failed, or handed a message back.
type MessageNacked struct {
	Destination, Group, Member string
	Seq                        uint64
	Attempt                    int
	Err                        error
	// Delay is how long it waits before the next attempt.
	Delay time.Duration
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// AckWaitExpired: a message was not settled in time and goes to another member.
type AckWaitExpired struct {
	Destination, Group, Member string
	Seq                        uint64
	Attempt                    int
	Wait                       time.Duration
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// LateAck: a message was settled after it had been given to another member, so
// it may have been handled twice.
type LateAck struct {
	Destination, Group, Member string
	Seq                        uint64
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// AttemptsExhausted: a message failed, or members died over it, as often as the sender
// allows, and there is no dead-letter handler. A copy is parked for inspection, and it is
// tried again.
type AttemptsExhausted struct {
	Destination, Group string
	Seq                uint64 // 0 where a link died
	Attempt            int
	Deaths             int
	Err                error
	// Delay is how long it waits before the next attempt.
	Delay time.Duration
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// DeadLettered: a message failed or members died over it as often as the sender allows,
// or it was rejected, and the dead-letter handler took it.
type DeadLettered struct {
	Destination, Group string
	Attempt            int
	Deaths             int
	Rejected           bool
	Err                error
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// MessagesDropped: accepted messages will not be delivered, by a rule. Sums
// come a few times a second.
type MessagesDropped struct {
	Destination, Group string
	Count              int
	Bytes              int64
	// Why names the rule that dropped them, for people.
	Why string
}

// MessagesExpired: messages were not handed out before their ExpiresAt, and will not be.
// Sums come a few times a second.
type MessagesExpired struct {
	Destination, Group string
	Count              int
	Bytes              int64
	// Untold were not given to OnExpired, because too many wait for it.
	Untold int
}

// Abandoned: a destination ended with messages that were not acked, because a drain
// ran out of time, another sender has its place, or it failed. They will not be
// delivered.
type Abandoned struct {
	Destination, Group string
	Count              int
	Bytes              int64
	Cause              error
}

// Drained: everything accepted was settled, or given back, before an end.
type Drained struct {
	// Group is empty when all groups of the destination were drained.
	Destination, Group string
	Took               time.Duration
}

// SendBlocked: a Send has waited for room, or for a group, for more than a second.
type SendBlocked struct {
	// Group is the full one; empty when a group is missing.
	Destination, Group string
	// Missing are the required groups that are neither declared nor joined.
	Missing []string
	// Since is when the wait began.
	Since time.Time
	Why   string
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// HandlerPanicked: a user's handler panicked; its message counts as failed.
type HandlerPanicked struct {
	Destination, Group string
	// Value is what it panicked with, printed.
	Value string
	Stack string
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// HandlerStuck: a handler of Consume has worked at one message for AckWait, without
// InProgress. It is told again each time that has doubled.
type HandlerStuck struct {
	Destination, Group, Member string
	// Seq is the message's, on the link on which it came.
	Seq uint64
	// Running is how long it has worked at least.
	Running time.Duration
	// Stack is where its goroutine stands, and behind it the goroutines that it began: 16 KiB
	// at most. It is empty when many handlers are stuck at once.
	Stack string
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// ReceiverStuck: the receiver of a member's or subscription's actor failed, or that actor
// began again, and a message that was sent behind what the receiver has in its mailbox has
// not come back. Nothing more is handed out to it until then. It is told again each time
// that has doubled.
type ReceiverStuck struct {
	Destination, Topic string // one of the two
	Group              string
	// Receiver is its path.
	Receiver string
	// Waiting is since when, at least.
	Waiting time.Duration
	// Why says what may be wrong and what to do, for people.
	Why string
}

// UnreadReturned: messages that had come to a member and were not handed out went
// back to their senders, because nobody reads there.
type UnreadReturned struct {
	Destination, Group, Member string
	Count                      int
	// Why says what became of the reader, for people.
	Why string
}

// CallbackPanicked: a function of the user's that is not about a message panicked,
// or ended its goroutine. What it was called for is lost; it is called again for
// what comes next.
type CallbackPanicked struct {
	// Callback names it, for people: "logger".
	Callback string
	// Count is how often, since the last event of it.
	Count int
	// Value is what it panicked with the last time, printed.
	Value string
	Stack string
}

// Actors, and events themselves.

// ActorRestarted: an actor failed and is to be started again.
type ActorRestarted struct {
	// Actor is its path.
	Actor string
	Err   error
	// Attempt counts restarts since it was last healthy, from 1.
	Attempt int
	Delay   time.Duration
}

// ActorStopped: an actor ended for good.
type ActorStopped struct {
	// Actor is its path.
	Actor string
	// Err is nil when it was asked to.
	Err error
}

// RuntimeStopped: the runtime is over. It is the last event.
type RuntimeStopped struct {
	// Err is nil after an orderly Stop. It is what Stop returned when something was
	// given up, and why the runtime ended when nobody had called Stop.
	Err error
}

// EventsLost: a subscriber was too slow and missed events, just before this one.
type EventsLost struct {
	Count int
}
