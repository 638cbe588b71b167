// Package senders is the sending side of pipes.
//
// A destination accepts a message for all of its groups or for none. Of each group
// one member handles it. With AtLeastOnce a message is queued until a member has
// acked it: what a member had when its link died goes to another, marked as
// redelivered. What a sender accepted lives in its memory and dies with its
// process.
//
//	engine
//	├── listener           accepts members that know a destination's token
//	└── dest/<name>        registers a sender, watches the groups
//	    └── pipe/<group>   one group: KeepFor, retries, dead letters
//	        └── link/<id>  one member: batches out, acks in
//
// Messages do not pass through mailboxes. Send encodes a message once into a chunk
// of the destination's queue (package sendq); the hosted writer of each link takes
// batches from there. The queue outlives the actors around it, so a crash loses
// nothing.
//
// Senders, Branch and Held are for the engine, which alone can make them.
package senders
