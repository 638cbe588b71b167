// Package events hands what happens in a runtime to whoever asked for it.
//
// Bus counts every event and offers it to every subscriber. It never blocks and
// calls nobody, so that any part of the runtime may emit under any lock. A
// subscriber that is slow misses events, and is told how many. What can happen
// for each message is told as a sum, a few times a second, so that a flood pushes
// no other event out.
//
// Logger writes a line for each event to the user's logger.
package events
