package messages

// What a user's actors and the actors of Penstock among them say to each other. Each
// is sent as a pointer.

// What a destination's actor is asked, and its replies.
type (
	// Publish asks a destination to accept messages for all of its groups, in order.
	// The reply is *Published once all are accepted, or the first is refused. A
	// Publish is permission to have no more than the bounds of its destination
	// waiting: what exceeds them is refused at once with ErrGroupFull. The bytes of
	// the messages belong to the destination until the reply. With AwaitAcks a second
	// reply is *Settled.
	Publish struct {
		Messages  []Message
		AwaitAcks bool
	}
	// Published is the reply to Publish. Accepted counts the messages that were
	// accepted, from the first; Err says why the next one was not: the errors of
	// penstock.Destination.Send, and ErrGroupFull when too many wait.
	Published struct {
		Accepted int
		Err      error
	}
	// Settled is the second reply to a Publish with AwaitAcks, behind *Published: each
	// message that was accepted is acked or given up by every group. Acked counts those
	// that every group has acked; Err has the different causes of the others, joined:
	// those of penstock.Destination.SendAsync.
	Settled struct {
		Acked int
		Err   error
	}
	// Flush asks a destination to wait until everything published before is acked.
	// The reply is *Flushed. At most 256 are under way at once: one more gets ErrBusy.
	Flush struct{}
	// Flushed is the reply to Flush, with the errors of penstock.Destination.Flush.
	Flushed struct{ Err error }
	// Unregister asks a destination to accept what was published before, deliver it,
	// remove its keys and stop. The reply is *Unregistered.
	Unregister struct{}
	// Unregistered is the reply to Unregister, with the errors of
	// penstock.Destination.Unregister. The actor has ended, or ends now.
	Unregistered struct{ Err error }
)

// What a member's or a subscription's actor is asked, and its reply.
type (
	// Leave asks a member or subscription to end in order: what its receiver has in
	// hand is waited for, what is not handed out goes to others, and finished records
	// are committed. The reply is *Left.
	Leave struct{}
	// Left is the reply to Leave, with the errors of penstock.Member.Leave or
	// penstock.Subscription.Unsubscribe.
	Left struct{ Err error }
)

// What a producer's actor is asked, and its replies.
type (
	// Put asks a producer to put messages into its topic, those of a partition in
	// order. The reply is *PutDone once each is committed or has failed; who asks more
	// than once gets the replies in the order of the questions, but for what is refused
	// at once: a Put is permission to have no more than the bounds of its producer
	// waiting, and of what exceeds them nothing is put, with ErrGroupFull. Without a
	// sender, what failed is told by the next PutsFlushed. The messages and their bytes
	// belong to the producer until the reply.
	Put struct{ Messages []Message }
	// PutDone is the reply to Put. Results has one for each message, in order, with the
	// errors of penstock.Topic.Put; it is nil when the whole Put was refused. Err is nil
	// when each message is committed, ErrGroupFull when too many wait, ErrClosed when
	// the producer has ended, or else the different errors of Results, joined.
	PutDone struct {
		Results []PutResult
		Err     error
	}
	// FlushPuts asks a producer to wait until everything put before is committed or has
	// failed. The reply is *PutsFlushed, behind the *PutDone of those. At most 256 are
	// under way at once: one more gets ErrBusy.
	FlushPuts struct{}
	// PutsFlushed is the reply to FlushPuts, with the errors of penstock.Topic.Flush.
	PutsFlushed struct{ Err error }
	// CloseProducer asks a producer to put what came before, wait for it, and stop. The
	// reply is *ProducerClosed.
	CloseProducer struct{}
	// ProducerClosed is the reply to CloseProducer, with the errors of
	// penstock.Topic.Close. The actor has ended, or ends now.
	ProducerClosed struct{ Err error }
)

// Deliveries is what a receiver gets in place of *Delivery when it takes batches.
type Deliveries struct{ Deliveries []Delivery }

// What the actors tell their parents.
type (
	// Registered says that a destination's keys are in etcd and its groups known.
	Registered struct{ Destination, URL string }
	// Joined says that a member is in its group.
	Joined struct{ Destination, Group, Member string }
)

// What a subscription's actor tells its parent. It tells *Subscribed as well, once it is
// in its group.
type (
	// Opened says that a producer has opened its topic.
	Opened struct{ Topic string }
	// Assigned says that a subscription owns these partitions from now on, too.
	Assigned struct {
		Topic, Group string
		Partitions   []int
	}
	// Revoking says that a subscription is to give these partitions up: another member
	// is to have them, or this one leaves. Its receiver has no record of them in hand,
	// and gets none. Where the receiver's settings say AwaitReleased, it is a question
	// that the parent replies to with *Released, when it has written out what it
	// gathered of their records; else nobody waits for a reply.
	Revoking struct {
		Topic, Group string
		Partitions   []int
	}
	// Released is the parent's reply to Revoking. With a nil Err everything finished in
	// the partitions is committed as they are released, and the next owner begins behind
	// it. With an Err nothing more is committed, and neither without a reply within
	// RevokeTimeout.
	Released struct{ Err error }
	// Lost says that a subscription was fenced from these partitions. What of them is
	// not committed is handled again by their next owner; what the receiver has of them
	// in hand has no effect any more.
	Lost struct {
		Topic, Group string
		Partitions   []int
	}
)

// How a member's or a subscription's actor is paused.

// Pause asks a member or a subscription to hand out nothing more until Resume. What the
// receiver has, in hand or in its mailbox, is settled as ever.
type Pause struct {
	// Partitions are those that a subscription pauses; none is all. A member has none.
	Partitions []int
}

// Paused is the reply to Pause: what is in the receiver's mailbox now is the last, but
// for what is handed out at this moment. Err is ErrClosed when the member or subscription
// has ended.
type Paused struct{ Err error }

// Resume ends Pause, of a subscription for these partitions or, with none, for all.
type Resume struct{ Partitions []int }

// Resumed is the reply to Resume, with the Err of Paused.
type Resumed struct{ Err error }
