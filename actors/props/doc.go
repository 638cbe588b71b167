// Package props makes pipes and topics children of a user's own actors.
//
// Destination, Member, Producer and Subscription describe an actor each. A user spawns
// them under his own actors, with his own names and supervisors, in the system that the
// engine lives in. The actor registers, joins, opens or subscribes when it starts, and
// what it has of the engine ends with it. Its settings are those of Register, Join, Topic
// and Subscribe.
//
//	a user's actor
//	├── orders    a destination: Publish ──▶ Published
//	├── billing   a member: *messages.Delivery ──▶ the receiver's PID
//	├── audit     a producer: Put ──▶ PutDone
//	└── report    a subscription: *messages.RecordDelivery ──▶ the receiver's PID
//
// # Demand
//
// Nothing is sent into a mailbox without permission. A receiver gets deliveries while it
// has fewer than its window in hand; to settle one is to ask for the next. Of records
// that is one, or one batch, of each partition, and of so many partitions as the
// subscription handles at once. A publisher or producer continues when it is told
// Published or PutDone; what waits is bounded in messages and bytes, and what exceeds
// that is refused at once.
//
// # Ends
//
// Unregister and Leave end in order. An actor that is stopped or poisoned ends at once
// for its tree; the engine ends the destination or membership behind it, for as long as
// an end may take (drainGrace), and the next actor for the same place waits for that. A
// receiver that terminates or restarts loses nothing: what it had in hand goes back to
// the senders, without an attempt counted.
//
// A child that ends for good by itself tells its parent *supervisor.Failed with the
// cause first.
package props
