// Package actors is the engine of Penstock: one tree of supervised actors around
// one session with etcd. Services that want plain Go use the root package, which
// is a thin face over this one.
//
// # What it promises
//
// Pipes carry messages from a sender to groups: accepted is accepted for all groups
// of a destination or for none, and of each group one member handles a message
// (package pipes). Topics are durable partitioned logs in etcd, read by consumer
// groups (package topics). Nothing is dropped in silence: every drop, redelivery,
// refusal and restart is an event (Engine.Events) and a counter (Engine.Stats).
//
// Stop ends in order: what was accepted is delivered, what was received is handled,
// keys are removed, the lease is revoked.
//
// # The tree
//
//	engine                     its root actor has two branches, for pipes and topics
//	├── session                one etcd lease; keys that vanish are put back
//	├── listener               accepts members that know a destination's token
//	├── dest/<name>            a sender, with its pipes and links
//	├── member/<dest>/<group>  a place in a group, with its links and handlers
//	├── topic/<name>           an open topic, with its partitions
//	└── subscription/<t>/<g>   a place in a consumer group, with its consumers
//	engine-callbacks           calls callbacks; it ends after the engine
//
// An actor that fails is restarted with a growing delay, around the same handles,
// sockets and queues: these outlive it, so a crash loses nothing. A lost session is
// a fact and restarts nothing.
//
// # The data paths
//
// Messages and records do not pass through mailboxes; mailboxes carry changes of
// state. Who gets how much, what is settled, what waits and what is due are decided
// in packages of their own (pipes/internal and topics/internal), which know no
// actors, no etcd and no connections.
package actors
