package penstock

// What a user's actors and those of DestinationProps and MemberProps say to each other.
// Each message is sent as a pointer. An alias stands for a type of another package, so
// its comment shows the fields; a test compares them.

import (
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Receiver is who gets the deliveries of MemberProps, or the records of
// SubscriptionProps: To or Handler, and one of them must be set; else it is ErrInvalid.
//
//	type Receiver struct {
//		To            *actor.PID   // an actor of the user's
//		Handler       *actor.Props // workers that are spawned, as many as Concurrency or PartitionsAtOnce says
//		Batch         int          // how many come at most as one *Deliveries or *Records to To; 0 for each by itself
//		AwaitReleased bool         // of a subscription: its parent replies with *Released to each *Revoking
//	}
//
// To lives in the runtime's actor system; else it is ErrInvalid. It is watched. When it
// terminates, what it has in hand goes back, without an attempt counted, and the member or
// subscription ends. When it restarts, or resumes after a
// failure, the member waits until what is in its mailbox has passed; what is not settled
// then goes back, or is handed out again, and the next follow. Failures are seen by
// *supervisor.Restarted and *actor.SupervisorEvent on the system's EventStream. After one,
// To gets a message of an unexported type, to be ignored like any that it does not know.
// Middleware of its props has to pass it on: see messages.ReceiverStuck.
//
// When To failed, the oldest of what goes back may be what it failed over. A delivery
// counts a death, also when To terminates over it, and so MaxDeaths ends it; a record
// counts an attempt for RecordDeadLetters. In batches the next try of the oldest is a
// batch of its own.
//
// Each delivery is to be settled, those of an at-most-once group, too: to settle is to
// ask for the next.
//
// A worker of Handler gets one *Delivery or *RecordDelivery at a time, the next when its
// Receive has returned. A panic nacks the delivery, or fails the record, at once, and the
// worker restarts after a backoff while the others continue. A worker that stops ends the
// member or subscription.
type Receiver = actors.Receiver

// Publish asks a destination's actor to accept messages for every group, in order, as
// Destination.Send does one by one.
//
//	type Publish struct {
//		Messages  []Message
//		AwaitAcks bool // the reply *Settled follows when all groups have settled what was accepted
//	}
//
// The reply is *Published, once all are accepted or the first is refused. The reply is
// the permission to publish more: a publisher that waits for it never has more than one
// Publish waiting. When more than 16,384 messages or 16 MiB wait in the actor, the reply
// is ErrGroupFull at once. The bytes of the messages belong to the actor until the reply.
type Publish = messages.Publish

// Published is the reply to Publish.
//
//	type Published struct {
//		Accepted int   // how many messages were accepted, from the first
//		Err      error // why the next one was not; nil when all were
//	}
//
// Err is that of Destination.Send; ErrGroupFull also when too much waits in the actor,
// and ErrClosed when it ended. What is not accepted of a Publish without a sender, which
// gets no reply, is the event MessagesDropped.
type Published = messages.Published

// Settled is the second reply to a Publish with AwaitAcks: what became of the messages
// that were accepted. It comes once, behind *Published, when every group has acked each of
// them or given it up, and at once when none was accepted. It is what the function given to
// Destination.SendAsync is told.
//
//	type Settled struct {
//		Acked int   // how many were acked by every group that they were accepted for
//		Err   error // the different causes of the others, joined, at most 8; nil when there are none
//	}
type Settled = messages.Settled

// Request asks a destination's actor to send a message as a request to one group and to
// wait for the reply, as Destination.Request does. It does not wait for what was published
// before. A member's receiver replies with Delivery.Reply.
//
//	type Request struct {
//		Message Message
//		Timeout time.Duration // how long the reply may take, since the actor has the Request; must be positive
//		Group   string        // which is asked; empty is the only one of the destination
//	}
//
// The reply is *Replied. A Request without a sender is not sent. The bytes of the message
// belong to the actor until the reply.
type Request = messages.Request

// Replied is the reply to Request.
//
//	type Replied struct {
//		Reply Reply
//		Err   error // nil when there is a reply
//	}
//
// Err is that of Destination.Request; context.DeadlineExceeded after Timeout, also of an
// actor that has not registered by then; ErrBusy when 16,384 requests of the actor are under
// way; ErrRestarted when the actor failed meanwhile, and ErrClosed when it stopped.
type Replied = messages.Replied

// Flush asks a destination's actor to wait until everything that was published before is
// acked by every group, as Destination.Flush does.
//
//	type Flush struct{}
//
// At most 256 are under way at once: one more gets ErrBusy.
//
// The reply is *Flushed.
type Flush = messages.Flush

// Flushed is the reply to Flush.
//
//	type Flushed struct{ Err error }
//
// Err is that of Destination.Flush.
type Flushed = messages.Flushed

// Unregister asks a destination's actor to end in order, as Destination.Unregister does:
// what was published before is accepted and acked, then the keys are removed and the
// actor stops.
//
//	type Unregister struct{}
//
// The reply is *Unregistered. A Publish that comes later is answered with ErrClosed.
type Unregister = messages.Unregister

// Unregistered is the reply to Unregister. The actor stops behind it.
//
//	type Unregistered struct{ Err error }
//
// Err is that of Destination.Unregister.
type Unregistered = messages.Unregistered

// Leave asks a member's actor to end in order, as Member.Leave does: what the receiver
// has in hand is waited for, and the rest goes to other members.
//
//	type Leave struct{}
//
// The reply is *Left.
type Leave = messages.Leave

// Pause asks a member's or a subscription's actor to hand out nothing more, as
// Member.Pause and Subscription.Pause do, until Resume.
//
//	type Pause struct {
//		Partitions []int // of a subscription; none is all
//	}
//
// The reply is *Paused. What the receiver has in hand or in its mailbox stays there.
type Pause = messages.Pause

// Paused is the reply to Pause.
//
//	type Paused struct{ Err error }
//
// What is in the receiver's mailbox then is the last until Resume, but for what is handed
// out at that moment. Err is ErrClosed when the member or subscription has ended.
type Paused = messages.Paused

// Resume ends Pause, as Member.Resume and Subscription.Resume do.
//
//	type Resume struct {
//		Partitions []int // of a subscription; none is all
//	}
//
// The reply is *Resumed.
type Resume = messages.Resume

// Resumed is the reply to Resume, with the Err of Paused.
//
//	type Resumed struct{ Err error }
type Resumed = messages.Resumed

// Left is the reply to Leave. The actor stops behind it.
//
//	type Left struct{ Err error }
//
// Err is that of Member.Leave; ErrBusy when another Leave is under way.
type Left = messages.Left

// Deliveries is what a receiver with a Batch gets in place of *Delivery.
//
//	type Deliveries struct{ Deliveries []Delivery }
//
// Each is acked or nacked by itself.
type Deliveries = messages.Deliveries

// Registered is told to the parent of a destination's actor when the sender's keys are
// in etcd and the groups of that moment are known. What is published before waits.
//
//	type Registered struct{ Destination, URL string }
type Registered = messages.Registered

// Joined is told to the parent of a member's actor when the member is in its group.
//
//	type Joined struct{ Destination, Group, Member string }
type Joined = messages.Joined
