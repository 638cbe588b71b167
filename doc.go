// Package penstock carries messages between services without a broker: services
// embed the runtime, and etcd is all that they need besides.
//
// Pipes carry messages straight from the services that send them to the services
// that handle them, over sockets of their own; etcd only tells who is where.
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
// Topics are durable, partitioned logs in etcd, read by consumer groups.
//
//	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 8})
//	partition, offset, err := audit.Put(ctx, penstock.Message{Key: id, Value: body})
//
//	export, err := audit.Subscribe(ctx, "export")
//	for rec, err := range export.Records(ctx) {
//		...
//	}
//
// What follows is about pipes up to Topics, and about both from Failures on.
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
// that passed. What was handed out stays the member's until AckWait is over, however
// its loop ends; what was not goes to others once nobody reads. In a group of mode AtMostOnce a message is settled when it goes
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
// # Topics
//
// A partition of a topic is a log of its own; a record's offset is its place
// there, contiguous from 0. Put answers when etcd has committed the record.
// Records of one key go to one partition, unless PartitionBy says otherwise. An
// append whose answer was lost is looked up and never repeated blindly; when
// that cannot be done before ctx ends the error is ErrUnknownOutcome, and the
// record may be there or yet come. With any other error it is not and will not.
// What comes while an append is on its way rides in the next, so PutAsync, or
// Put from many goroutines, is fast, and memory is bounded by MaxBuffer.
//
// The members of a consumer group share out the partitions: each has one owner
// at a time, and its records are handled one after the other. Taking the next
// record, or a nil error from a handler, finishes a record; how far the group is
// in a partition is one offset, committed each second, at release, and when
// Commit is called. When members come or go partitions move, and those that stay
// go on without a pause. A member that leaves finishes, commits and releases, and
// nothing is handled twice; the partitions of one that dies are taken over when
// its lease has ended, from its last commit on. A member that lost a partition
// without knowing cannot commit any more: ErrFenced. Record.Fence protects
// whatever else it writes to.
//
// A topic grows until DeleteTopic: records are not removed by age or size yet.
//
// # Failures
//
// A handler that answers an error or panics makes its message be tried again,
// by any member, after a delay that doubles. After MaxAttempts it goes to the
// DeadLetters handler; without one it is kept for inspection, see
// Destination.Parked, and goes on being tried at the longest delay. A record of
// a topic is tried again by the same member, and what follows in its partition
// waits, until RecordDeadLetters takes it or for ever.
//
// While etcd is away established links go on; new ones have to wait, and calls
// that need etcd answer ErrUnavailable. Puts and commits wait until their
// contexts end, and members of topics hand out nothing once their lease cannot
// be trusted. What somebody deletes in etcd of a live sender or member is put
// back. An etcd that is full answers ErrNoSpace to puts and commits.
//
// # Ends
//
// Unregister, Leave, Unsubscribe and Stop drain: they block until what they are
// about is settled, or their context ends. Nothing else needs closing. Every call that
// blocks takes a context and returns soon after it ends, with its cause.
//
// An end that is called by a function which it would wait for returns ErrBusy at
// once: break the loop, or return from the handler, then end it. Handlers that never
// return hold up a Leave for AckWait, an Unsubscribe for RevokeTimeout, and are left
// behind.
//
// # Bytes
//
// Send and the puts copy a message's bytes; the caller's are free on return. The
// bytes of a Delivery belong to the receiver for ever, keep the frame they came in
// in memory, and are shared with nobody; Delivery.Clone detaches them from it.
// Those of a Record stay valid for ever too, keep its batch, and may be shared
// with other readers: treat them as read-only; Record.Clone makes a copy.
//
// # Security
//
// Each destination has a token in etcd; members and senders prove to each
// other that they can read it. So the rights on etcd's keys decide who may
// connect, and who may put, read and manage topics. The links themselves are
// neither encrypted nor signed: whoever is on the path can read messages and
// inject them. Runtimes listen on every interface unless Listen says otherwise.
package penstock
