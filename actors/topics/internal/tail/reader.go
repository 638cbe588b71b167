package tail

// What a partition's reader knows and decides: where the log ends, which batches
// are in memory, who waits for what.

import (
	"slices"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// UnknownEnd is the end of a partition that nobody has looked at yet.
	UnknownEnd = -1
	// FreshBytes is how much of what this process appended, and of what the watch
	// of the index brought, a partition keeps for its own readers.
	FreshBytes = 4 << 20
	// FreshTotal is the same for all partitions of an engine.
	FreshTotal = 64 << 20
	// FetchBytes bounds one request for batches, unpacked.
	FetchBytes = 1 << 20
	// IndexPage is how many index entries a reader that catches up asks for.
	IndexPage = 128

	// overhead is what a batch in memory takes at most besides its records: itself, the
	// head of a body that the records are a part of, and the rest of its entry.
	overhead = 256
	// smallBatch is the largest batch that a request without room gets:
	// thousands of them may wait at the end, each for one.
	smallBatch = 16 << 10
	// fetchBatches bounds one request for batches, too: those that are not in their
	// entries.
	fetchBatches = 8
)

// Reader is the state of one partition's reader. A is where replies go. Use
// NewReader.
type Reader[A any] struct {
	end     int64 // the next offset to be written, as far as known
	heard   int64 // the same, by the news since the last look began
	fresh   []*format.Batch
	bytes   int            // of fresh
	counted int            // of these, by the last Growth
	page    []format.Entry // a run of the index, for those who catch up
	waiting []*Request[A]
	history
}

// NewReader is a reader that knows nothing of its partition.
func NewReader[A any]() Reader[A] { return Reader[A]{end: UnknownEnd} }

// End is the end of the partition as far as it is known, or UnknownEnd.
func (r *Reader[A]) End() int64 { return r.end }

// Waiting are the requests without a reply, the oldest first. Settle changes the
// slice in place; clone it to reply while ranging over it.
func (r *Reader[A]) Waiting() []*Request[A] { return r.waiting }

// Ask takes a request in, in place of an earlier one of the same reader.
func (r *Reader[A]) Ask(f *Request[A]) {
	if f.History == 0 { // its place is of now
		f.History = r.LogNumber()
	}
	r.Forget(f.Reader)
	r.waiting = append(r.waiting, f)
}

// Forget drops a reader's request.
func (r *Reader[A]) Forget(reader any) {
	r.waiting = slices.DeleteFunc(r.waiting, func(f *Request[A]) bool { return f.Reader == reader })
}

// AtEnd counts the readers that have everything.
func (r *Reader[A]) AtEnd() (n int) {
	for _, f := range r.waiting {
		if f.Offset == r.end {
			n++
		}
	}
	return n
}

// Settle takes a request out because it gets its reply. It reports whether the
// request was still waiting.
func (r *Reader[A]) Settle(f *Request[A]) bool {
	i := slices.Index(r.waiting, f)
	if i < 0 {
		return false // its reader went away, or has asked for something else
	}
	r.waiting = slices.Delete(r.waiting, i, i+1)
	return true
}

// Needs is what one request takes.
func (r *Reader[A]) Needs(f *Request[A]) Need {
	switch {
	case r.strays(f.History, f.Offset):
		return NeedsWarning
	case len(r.inMemory(f.Offset, 1)) > 0:
		return NeedsNothing
	case r.end == UnknownEnd || f.Offset > r.end:
		return NeedsLook
	case f.Offset == r.end:
		return NeedsNews
	default:
		return NeedsBodies
	}
}

// FromMemory are the batches in memory for a request that needs nothing else. A
// request without room gets a small one, or none.
func (r *Reader[A]) FromMemory(f *Request[A]) []*format.Batch {
	batches := r.inMemory(f.Offset, f.Room)
	if f.Room == 0 && len(batches) > 0 && len(batches[0].Raw) > smallBatch {
		return nil
	}
	return batches
}

// inMemory returns fresh batches from the one that holds offset on, in one piece,
// at least one and otherwise as many as room has.
func (r *Reader[A]) inMemory(offset int64, room int) []*format.Batch {
	i, ok := slices.BinarySearchFunc(r.fresh, offset, func(b *format.Batch, o int64) int {
		switch {
		case b.End() <= o:
			return -1
		case b.Base > o:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	j, size := i+1, len(r.fresh[i].Raw)
	for j < len(r.fresh) && r.fresh[j].Base == r.fresh[j-1].End() && size+len(r.fresh[j].Raw) <= room {
		size += len(r.fresh[j].Raw)
		j++
	}
	return slices.Clone(r.fresh[i:j])
}

// Indexed takes in that the index has an entry, and keeps the batch that is in it if
// it comes next. It reports whether that leaves a gap after the end known so far.
func (r *Reader[A]) Indexed(e format.Entry) (gap bool) {
	if e.Edit != 0 {
		r.edited(e.Base)
	}
	next := e.Base == r.end && e.Body != nil && !r.doubted()
	r.remember(e)
	gap = r.news(e)
	if !next {
		return gap
	}
	if b, err := e.Batch(); err == nil { // else whoever reads it from etcd finds out
		r.keep(b)
	}
	return gap
}

// edited drops what is known of a batch of which records were erased, and of those around
// it in the page: whoever wants it reads it again.
func (r *Reader[A]) edited(base int64) {
	r.page = nil
	r.fresh = slices.DeleteFunc(r.fresh, func(b *format.Batch) bool {
		if b.Base != base {
			return false
		}
		r.bytes -= len(b.Raw) + overhead
		return true
	})
}

func (r *Reader[A]) news(e format.Entry) (gap bool) {
	r.heard = max(r.heard, e.End())
	switch {
	case r.end == UnknownEnd || e.End() <= r.end:
		return false
	case e.Base > r.end:
		return true
	}
	r.end = e.End()
	return false
}

// Appended takes in a batch that this process has put into the log. It reports the
// same as Indexed.
func (r *Reader[A]) Appended(e format.Entry, b *format.Batch) (gap bool) {
	r.rememberOwn(e)
	gap = r.news(e)
	r.keep(b)
	return gap
}

// keep holds a batch in memory.
func (r *Reader[A]) keep(b *format.Batch) {
	i, _ := slices.BinarySearchFunc(r.fresh, b.Base, func(x *format.Batch, o int64) int {
		return int(min(max(x.Base-o, -1), 1))
	})
	if i < len(r.fresh) && r.fresh[i].Base == b.Base {
		return
	}
	r.fresh = slices.Insert(r.fresh, i, b)
	r.bytes += len(b.Raw) + overhead
}

// Bytes is how many bytes the batches in memory take.
func (r *Reader[A]) Bytes() int { return r.bytes }

// Growth is by how much Bytes has changed since Growth was called last.
func (r *Reader[A]) Growth() int {
	by := r.bytes - r.counted
	r.counted = r.bytes
	return by
}

// Evict drops the oldest batches in memory until at most limit bytes are left.
func (r *Reader[A]) Evict(limit int) {
	n := 0
	for ; n < len(r.fresh) && r.bytes > limit; n++ {
		r.bytes -= len(r.fresh[n].Raw) + overhead
	}
	r.fresh = slices.Delete(r.fresh, 0, n)
}

// KeepPage keeps a run of the index for the reads to come, in place of the last.
func (r *Reader[A]) KeepPage(page []format.Entry) {
	if len(page) == 0 {
		page = nil // what it was a part of has bodies
	}
	r.page = page
}

// Ahead is the part of the page that begins with the batch that holds offset, or
// nothing.
func (r *Reader[A]) Ahead(offset int64) []format.Entry {
	for i, e := range r.page {
		if e.Base <= offset && offset < e.End() {
			return r.page[i:]
		}
	}
	return nil
}

// Portion is how many of the entries one read of bodies takes: at least one.
func Portion(entries []format.Entry, room int) int {
	room = min(room, FetchBytes)
	n, size, apart := 0, 0, 0
	for _, e := range entries {
		size += unpackedBytes(e)
		if e.Body == nil {
			apart++
		}
		if n > 0 && (size > room || apart > fetchBatches || entries[n-1].End() != e.Base) {
			break
		}
		n++
	}
	return n
}

// unpackedBytes is what a batch takes in memory: packed or not, whichever is more.
func unpackedBytes(e format.Entry) int { return max(e.Bytes, e.Raw) }
