// Package frames has the memory that received frames lie in, so that it is used again: at
// every size fresh memory costs more than what is read into it.
//
// Who says so has it back at once: a [Buffer] of [Buffers] is released when all of its frame
// is settled. Where the bytes belong to a receiver without end nobody says so, and the garbage
// collector does: [Kept] gives memory that comes back when nothing refers to it any more.
//
// Both are bounded by what is in use, and by the collector: what nobody has wanted for two
// collections is freed. All of it is safe for concurrent use, but for a Buffers.
package frames
