package tail

// What readers ask for, and what they get.

import "github.com/penstock-io/penstock/transport/commitlog/format"

// Request asks a partition for the batches from an offset on. There is one
// [Reply] to it; another request of the same reader takes its place. A is where
// the reply goes, which the package does not look at.
type Request[A any] struct {
	// Reader is who asks. It must be comparable.
	Reader any
	// Offset is the first one wanted.
	Offset int64
	// Base is that of a batch at or before Offset, or -1.
	Base int64
	// Room is how many bytes of batches are wanted; one batch may be above it.
	// Without room the request waits until there is anything, and the reply has
	// one small batch from memory or none: it says that there is news.
	Room int
	To   A
	// History is that of the last reply, 0 where Offset comes from none.
	History int
}

// Reply is what a request gets.
type Reply[A any] struct {
	Of *Request[A]
	// Batches follow one another; the first holds the offset asked for.
	Batches []*format.Batch
	// End is the end of the partition, as far as it is known.
	End int64
	// Trimmed: the log begins there, after the offset asked for.
	Trimmed int64
	// History is the number of the log that this is of.
	History int
	Err     error
}

// Need is what a request takes.
type Need uint8

const (
	// NeedsNothing: its batches are in memory.
	NeedsNothing Need = iota
	// NeedsNews: it waits at the end.
	NeedsNews
	// NeedsLook: where the end is must be found out first.
	NeedsLook
	// NeedsBodies: its batches are in etcd.
	NeedsBodies
	// NeedsWarning: its reader has read another log.
	NeedsWarning
)
