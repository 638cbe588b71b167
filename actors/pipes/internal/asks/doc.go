// Package asks keeps what a destination has asked its groups and waits for: each request
// under a number, with one outcome for each group that it was accepted for. A reply to
// something else is told from one that is awaited, so that it can be dropped.
//
// It is data under a lock: no actor, no connection, no time. Importing it reaches none of
// them either.
package asks
