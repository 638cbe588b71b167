package tail

// Whether the log is still the one that was read. An etcd that was restored from
// a backup has a shorter one, which may have grown beyond the old end before
// anybody looks: only the batches tell.

import (
	"math"
	"slices"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// mostKnown and mostOwn are how many batches of a partition are remembered.
const mostKnown, mostOwn = 8, 16

// WholeLog is what is common when all of the log is as it was known.
const WholeLog = math.MaxInt64

// history is what is remembered of a partition's log, and of the logs that stood
// in its place before.
type history struct {
	// known are batches of the log, the oldest and the newest that were heard of
	// and some between, at least so many offsets apart.
	known []format.Entry
	apart int64
	// own are batches that this process appended and the index has not told of yet:
	// the oldest of them, since those put last may be in another log already.
	own []format.Entry
	// kept are the batches to look for, while a look is owed: news may be of
	// another log by then.
	kept []format.Entry
	told int // of these, by the index
	// looking: a look is under way.
	looking bool
	// latest is the last that the index told of since the marks were taken.
	latest format.Entry
	// common says of each earlier log up to which offset the next was the same.
	common []int64
}

// LogNumber counts the logs that were seen in this place, from 1.
func (h *history) LogNumber() int { return len(h.common) + 1 }

// remember adds a batch, if it is newer than those known.
func (h *history) remember(e format.Entry) {
	if e.Count == 0 {
		return
	}
	e.Body = nil // which would stay as long
	h.latest = e
	h.own = slices.DeleteFunc(h.own, func(o format.Entry) bool { return o.Base <= e.Base })
	n := len(h.known)
	if n > 0 && e.Base <= h.known[n-1].Base {
		return
	}
	if n > 1 && h.known[n-1].Base-h.known[n-2].Base < h.apart {
		h.known = h.known[:n-1]
	}
	if h.known = append(h.known, e); len(h.known) > mostKnown {
		h.thin()
	}
}

// thin leaves about half of the known batches.
func (h *history) thin() {
	newest := h.known[mostKnown]
	h.apart = (newest.Base - h.known[0].Base) / (mostKnown / 2)
	kept := h.known[:1]
	for _, e := range h.known[1:mostKnown] {
		if e.Base-kept[len(kept)-1].Base >= h.apart && newest.Base-e.Base >= h.apart {
			kept = append(kept, e)
		}
	}
	h.known = append(kept, newest)
}

// rememberOwn adds a batch that this process has appended.
func (h *history) rememberOwn(e format.Entry) {
	last := int64(-1)
	for _, l := range [][]format.Entry{h.known, h.own} {
		if n := len(l); n > 0 {
			last = max(last, l[n-1].Base)
		}
	}
	if e.Base > last && len(h.own) < mostOwn {
		h.own = append(h.own, e)
	}
}

// marks are all batches that are remembered, the oldest first.
func (h *history) marks() []format.Entry { return slices.Concat(h.known, h.own) }

// Owe keeps what is known now for a look that cannot begin yet.
func (h *history) Owe() {
	if h.kept == nil {
		h.kept, h.told = h.marks(), len(h.known)
	}
}

// doubted reports whether a look may find that the log is another one.
func (h *history) doubted() bool { return h.looking || h.kept != nil }

// takeMarks returns what to look for now, and how many of these the index has
// told of.
func (h *history) takeMarks() (marks []format.Entry, told int) {
	h.Owe()
	marks = h.kept
	h.kept, h.latest, h.looking = nil, format.Entry{}, true
	return marks, h.told
}

// replaced notes that the log is another one from an offset on, at the latest.
func (h *history) replaced(common int64) {
	h.common = append(h.common, common)
	h.known = slices.DeleteFunc(h.known, func(e format.Entry) bool { return e.End() > common })
	h.apart, h.own = 0, nil
}

// strays reports whether a reader that has read up to offset, last in the log of
// that number, may have read what is not in this one. Number 0 has read nothing.
func (h *history) strays(number int, offset int64) bool {
	return 0 < number && number < h.LogNumber() && offset > slices.Min(h.common[number-1:])
}

// CommonWith returns the offset up to which a log is the one that had the known
// batches: has says which of them the log has.
func CommonWith(known []format.Entry, has []bool) int64 {
	switch i := slices.Index(has, false); i {
	case -1:
		return WholeLog
	case 0:
		return 0
	default:
		return known[i-1].End()
	}
}
