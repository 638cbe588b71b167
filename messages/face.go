package messages

// What a user's actors and the actors of Penstock among them say to each other. Each
// is sent as a pointer.

// What a destination's actor is asked, and its replies.
type (
	// Publish asks a destination to accept messages for all of its groups, in order.
	// The reply is *Published once all are accepted, or the first is refused. A
	// Publish is permission to have no more than the bounds of its destination
	// waiting: what exceeds them is refused at once with ErrGroupFull. The bytes of
	// the messages belong to the destination until the reply.
	Publish struct{ Messages []Message }
	// Published is the reply to Publish. Accepted counts the messages that were
	// accepted, from the first; Err says why the next one was not: the errors of
	// penstock.Destination.Send, and ErrGroupFull when too many wait.
	Published struct {
		Accepted int
		Err      error
	}
	// Flush asks a destination to wait until everything published before is acked.
	// The reply is *Flushed.
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

// What a member's actor is asked, and its reply.
type (
	// Leave asks a member to end in order: what its receiver has in hand is waited for,
	// what is not handed out goes to others. The reply is *Left.
	Leave struct{}
	// Left is the reply to Leave, with the errors of penstock.Member.Leave.
	Left struct{ Err error }
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
