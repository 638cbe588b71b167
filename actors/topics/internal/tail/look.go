package tail

// Looking where the log ends, and whether it is the one that was read.

import (
	"slices"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Snapshot is what was known when a look at where the log ends began. News that
// come meanwhile may be newer than what the look finds.
type Snapshot[A any] struct {
	// Asked are the requests that waited.
	Asked []*Request[A]
	// Known are batches of the log as it was known, the oldest first.
	Known []format.Entry

	end  int64
	told int // of Known, by the index, and so in one log
}

// BeginLook is what a look compares the log with. Looked takes in what it finds.
func (r *Reader[A]) BeginLook() Snapshot[A] {
	r.heard = 0
	known, told := r.takeMarks()
	return Snapshot[A]{Asked: slices.Clone(r.waiting), Known: known, end: r.end, told: told}
}

// Newest are those of Known that stand only if all of Known do.
func (s Snapshot[A]) Newest() []format.Entry { return s.Known[max(0, s.told-1):] }

// Finding is what a look has found.
type Finding struct {
	// End is where the log ends.
	End int64
	// Newest is the last batch, without a count when there is none.
	Newest format.Entry
	// Common is the offset up to which the log is the one known; see
	// CommonWith.
	Common int64
}

// Looked takes in what a look has found. An end before the one known when the look
// began, and batches that are others, mean that etcd has been set back: those who
// have read beyond what is common must be warned.
func (r *Reader[A]) Looked(from Snapshot[A], f Finding) {
	r.looking = false
	if from.end != UnknownEnd && f.End < from.end {
		f.Common = min(f.Common, f.End)
	}
	if f.Common == WholeLog {
		r.end = max(r.end, f.End, r.heard)
	} else {
		r.fresh, r.bytes, r.page, r.end = nil, 0, nil, max(f.End, r.heard)
		r.replaced(f.Common)
	}
	latest := r.latest
	r.remember(f.Newest)
	r.remember(latest)
}
