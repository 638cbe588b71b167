// Package sendq is the sending data path of a pipe's destination: what was accepted,
// for which group it waits, who carries it, and what is out.
//
//	Send ─▶ Queue ─┬─▶ Backlog of a group ─┬─▶ Link to a member ─▶ frames
//	               │                       └─▶ Link
//	               └─▶ Backlog
//
// A [Queue] belongs to one destination. [Queue.Send] encodes a message once, into a
// chunk, and queues a reference to it in the [Backlog] of each group. A group's
// [Link] carries the records to one member: its writer asks [Queue.Next] for batches,
// as long as there are some, and waits for [Link.Bell] when there are none. A batch is a
// slice of a chunk, so nothing is copied on the way to the socket. [Queue.Ack] and
// [Queue.Nack] take what the member says.
//
// # What holds
//
// A message that Send accepted is settled once for each group: acked, or given up,
// and then counted and told. Until then it is in exactly one place: queued, out on a
// link, waiting for its next attempt, or exhausted. A link that ends has what it had
// out queued again. Messages are sent in the order in which they were accepted, but
// for what is sent again.
//
// A member gets no more than the credit that it granted, in messages and in bytes;
// the last message of a window may overshoot the bytes. What a member keeps for
// longer than its AckWait is taken back (tenure.go), by the sender's own clock.
//
// # Who waits
//
// One lock guards a queue and all that belongs to it. Send waits for room, Flush and
// Settled wait for acks, until their context ends; nothing else waits. An ack of very
// much lets others have the lock in between.
//
// The package is pure: it starts no goroutine, knows no actor, no connection and no
// etcd, and is told the time. The actors of pipes own a queue and hear of changes of
// state; a message passes through no mailbox. A queue outlives the incarnations of the
// actors around it.
package sendq
