package messages

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
