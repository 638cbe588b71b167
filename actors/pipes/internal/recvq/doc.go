// Package recvq is the receiving data path of a pipe's member: what came from which
// sender, who takes it, what is settled, and what the senders are told.
//
//	frames ─▶ Link of a sender ─┬─▶ Queue ─▶ a loop (Messages) or handlers (Consume)
//	frames ─▶ Link ─────────────┘                │ Ack, Nack, InProgress
//	sender ◀─ acks, nacks, credit ◀─ Link.Report ◀┘
//
// A [Queue] belongs to one member. Each connection to a sender has a [Link]:
// [Link.Arrive] takes a frame whole and puts it into the queue, as a [Frame]; its
// records are decoded when they are taken, without copying. A loop or the handlers of a
// [Consumption] take frames one after the other; there is one reader at a time. Settling
// marks a sequence in the link's [AckSet]. [Link.Report] tells the sender, soon and many
// at once, what is settled, what failed, and what it may send.
//
// # What holds
//
// A delivery is handed out once and settled once, whatever is called how often. Who
// settles what is no longer this member's changes nothing, and an event says so. A
// link's end throws away what came on it and was not handed out, because its sender
// delivers that again; at most once it stays, because nobody would.
//
// A sender is held to its credit: what exceeds it breaks the protocol. Credit is
// granted while somebody reads, and grows from 64 messages to the window as the reader
// asks for more. Once nobody reads, or the reader takes nothing for AckWait, credit is
// withdrawn, and what was not handed out goes back.
//
// # Who waits
//
// Readers wait for frames, until their context ends; Report waits for something to
// tell. Ack, Nack and InProgress never block. Locks are taken in the order of queue,
// then link.
//
// The package is pure: it starts no goroutine and knows no actor, no etcd and no
// connection but by the four methods of [Wire]. The actors of a member own a queue,
// dial, and look at AckWait at a steady pace; a message passes through no mailbox. A
// queue outlives the incarnations of the actors around it.
package recvq
