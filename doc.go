// Package penstock carries messages straight from the services that send them
// to the services that handle them. There is no broker: services embed the
// runtime and talk over sockets of their own; etcd only tells who is where.
//
//	rt, err := penstock.Start(ctx, penstock.Etcd("127.0.0.1:2379"))
//	orders, err := rt.Register(ctx, "orders")
//	err = orders.Send(ctx, penstock.Message{Key: id, Value: body})
//
// and, in another process,
//
//	billing, err := rt.Join(ctx, "orders", "billing")
//	err = billing.Consume(ctx, func(ctx context.Context, msg penstock.Delivery) error {
//		return bill(msg.Value)
//	})
//
// # Words
//
// A destination is a named stream that senders feed. A group is a named set of
// members: every group gets every message, and one member of it handles it.
// Each sender keeps a pipe for each group, the queue and the choice of member,
// and a link to each member, a connection with a window of its own.
//
// # Promises
//
// Accepted, which is what a nil error from Send says, means queued in the
// sender's memory for every group known at that instant: for all of them or,
// with an error, for none. Flush waits until all of it is acked.
//
// In a group of mode AtLeastOnce, the default, a message is settled when it is
// acked: by taking the next one in a loop over Messages, by a nil error from a
// handler, or by Delivery.Ack. When a member dies, or its link does, what it
// had not acked goes to another member, marked Redelivered; so handlers see
// duplicates, of up to one window for each such failure and after each AckWait
// that passed. In a group of mode AtMostOnce a message is settled when it goes
// to the link: no duplicates, and what a dying member had is lost.
//
// When the sender's process dies, what was queued in it is lost. Unregister
// and Stop deliver it first.
//
// Order is kept on each link. A redelivery, a nack or a second member changes
// the order in which the messages of a sender are handled.
//
// Nothing is dropped silently: each drop, redelivery, refusal and restart is
// an Event and a counter.
//
// # Back-pressure
//
// A member grants its senders credit, in messages and bytes: Window and
// WindowBytes. What has no credit waits in the sender, up to MaxQueue for each
// group. Then the group's policy decides: Send waits (QueueBlock), the oldest
// message goes (QueueDropOldest), or Send answers ErrGroupFull (QueueError).
// With no group at all Send waits, unless DropWithoutGroup. Work goes to the
// member with most free credit.
//
// # Failures
//
// A handler that answers an error or panics makes its message be tried again,
// by any member, after a delay that doubles. After MaxAttempts it goes to the
// DeadLetters handler; without one it is kept for inspection, see
// Destination.Parked, and goes on being tried at the longest delay.
//
// While etcd is away established links go on; new ones have to wait, and calls
// that need etcd answer ErrUnavailable. What somebody deletes in etcd of a live
// sender or member is put back.
//
// # Ends
//
// Unregister, Leave and Stop drain: they block until what they are about is
// settled, or their context ends. Nothing else needs closing. Every call that
// blocks takes a context and returns soon after it ends, with its cause.
//
// # Bytes
//
// Send copies a message's bytes; the caller's are free on return. The bytes of
// a Delivery belong to the receiver for ever, keep the frame they came in in
// memory, and are shared with nobody; Delivery.Clone detaches them from it.
//
// # Security
//
// Each destination has a token in etcd; members and senders prove to each
// other that they can read it. So the rights on etcd's keys decide who may
// connect. The links themselves are neither encrypted nor signed: whoever is
// on the path can read messages and inject them. Runtimes listen on every
// interface unless Listen says otherwise.
package penstock
