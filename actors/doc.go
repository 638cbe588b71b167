// Package actors is the engine of Penstock: the one place that joins
// supervisor, transport and discovery into pipes. Services that want plain Go
// use the root package, which is a thin face over this one.
//
// # What it promises
//
// A destination accepts a message for all of its groups or for none. Of each
// group one member handles it. With AtLeastOnce a message is queued in the
// sender until a member has acked it: what a member had in hand when its link
// died goes to another, marked as redelivered. With AtMostOnce it counts as
// handled when it is written to the link. What a sender accepted lives in the
// sender's memory, and dies with its process.
//
// Nothing is dropped in silence: every drop, redelivery, refusal and restart
// is an event (Engine.Events) and a counter (Engine.Stats).
//
// # The tree
//
//	engine
//	├── session            one etcd lease; keys that vanish are put back
//	├── listener           accepts members that know a destination's token
//	├── dest/<name>        registers a sender, watches the groups
//	│   └── pipe/<group>   one group: KeepFor, retries, dead letters
//	│       └── link/<id>  one member: batches out, acks in
//	└── member/<dest>/<group>
//	    ├── link/<id>      dials one sender, acks what is settled
//	    └── handler        one worker of Consume
//
// An actor that fails is restarted with a growing delay; links are dialled
// again instead. A lost session is a fact and restarts nothing.
//
// # The data path
//
// Records do not pass through mailboxes. Send encodes a message once into a
// chunk of its destination's queue (internal/sendq) and puts a reference into the
// backlog of each group, under one short lock; each link's hosted writer takes a
// batch under the same lock when the dispatcher says so, and hands a slice of the
// chunk to the socket. On the other side a link's reader puts what comes into the
// member's queue (internal/recvq), where a loop or the handlers take it. Both
// queues outlive the actors around them, so a crash in mid-batch loses nothing.
//
// Who gets how much, what is settled and what waits are decided in packages of
// their own, which know no actors and no connections.
package actors
