// Package produce is what a process puts into a topic, from the call of a Put to
// the record's fate.
//
//	Producer     one handle: chooses the partition, takes room, waits for fates
//	└ Accumulator  one partition in this process, shared by all handles
//	    filling ─full─▶ waiting ─▶ sealed and appended ─▶ told
//
// A [Producer] asks its [Partitioner] for the partition, takes room for the record
// in its buffer, and adds the record to the partition's [Accumulator]. Nothing waits
// to fill a batch: while one is being appended, what comes is the next one.
// [Accumulator.Run] is the loop that appends. It may end by whatever means, a panic
// too: the next Run resumes the very same batch, so nothing is lost and nothing is
// appended twice. An [Ending] ends the puts of a topic or of a handle.
//
// Of each record the package promises: it is appended in the order in which its
// partition took it; its fate is told once, in the order of the offsets; its room
// is given back before that. Callbacks are called one after the other for each
// handle, on a goroutine that the Producer is given. A callback that blocks holds
// up the later ones of its handle, and nothing else.
//
// The package knows neither actors nor etcd: it is given functions that commit a
// batch and that host callbacks. All its types are safe for concurrent use. Putting
// allocates nothing but what a batch needs, and that is used again.
package produce
