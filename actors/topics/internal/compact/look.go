package compact

// When a pass is due, and how far it goes.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// worth is how many bytes that were not compacted are worth a pass at once.
	worth = 1 << 20
	// patience bounds how long fewer wait for more, with a short lag less.
	patience = 10 * time.Second
	// cheap is what is read once more in the time of patience for however little is new.
	cheap = 256 << 10
	// soonest and latest bound how often a partition is looked at.
	soonest, latest = 100 * time.Millisecond, 15 * time.Second
	// rarest is how often at least tombstones and expiries are looked for that are due.
	rarest = time.Hour
)

// Every is how often the partitions of a topic are looked at.
func Every(c *messages.TopicConfig) time.Duration {
	return min(max(c.CompactionLag/4, soonest), latest)
}

// Ends remembers where a partition has ended, so that it is known which records are older
// than a lag, whatever their times are.
type Ends struct{ seen []seen }

type seen struct {
	end format.LogEnd
	at  time.Duration // steady time
}

// Saw takes in where the partition ends. One that ends earlier than before is another.
func (e *Ends) Saw(end format.LogEnd, at, lag time.Duration) {
	n := len(e.seen)
	if n > 0 && (end.Offset < e.seen[n-1].end.Offset || end.Offset == e.seen[n-1].end.Offset && !end.Is(e.seen[n-1].end)) {
		e.seen, n = nil, 0
	}
	switch {
	case n > 0 && e.seen[n-1].end.Offset == end.Offset: // since then
	case n >= 2 && at-e.seen[n-2].at < lag/8: // near enough to the one before
		e.seen[n-1] = seen{end, at}
	default:
		e.seen = append(e.seen, seen{end, at})
	}
}

// Older is the last end that has been for the lag, and whether there is one.
func (e *Ends) Older(at, lag time.Duration) (format.LogEnd, bool) {
	for i := len(e.seen) - 1; i >= 0; i-- {
		if at-e.seen[i].at >= lag {
			e.seen = e.seen[i:]
			return e.seen[0].end, true
		}
	}
	return format.LogEnd{}, false
}

// Look is what is known of a partition.
type Look struct {
	// Dirty is what the batches take that no pass has read and that are old enough, Clean
	// what those before took when the last pass was over.
	Dirty, Clean int64
	// Since is how long ago the last pass was; 0 or more.
	Since time.Duration
	// Passing, Expires and Removed are those of the last pass; Due is before which offset
	// tombstones are due by now.
	Passing, Expires, Removed, Due int64
	// Now is the time.
	Now time.Time
}

// Worth reports whether a pass is worth what it reads: what no pass has read is as much as
// what is read once more, so that all passes together read a small multiple of what is
// put; or it has waited for the longer, the more there is to read once more; or tombstones
// are due, or records that have expired.
func (l Look) Worth(c *messages.TopicConfig) bool {
	calm := min(patience, max(c.CompactionLag, soonest))
	if l.Dirty >= worth && l.Dirty >= l.Clean {
		return true
	}
	if l.Dirty > 0 && l.Since >= calm && float64(l.Since)*cheap >= float64(calm)*float64(l.Clean) {
		return true
	}
	return l.Passes() && l.Since >= min(max(c.TombstoneGrace/8, calm), rarest)
}

// Passes reports whether tombstones are due, or records that have expired.
func (l Look) Passes() bool {
	return l.Passing > 0 && (l.Due > l.Removed || l.Expires != 0 && l.Expires <= l.Now.UnixNano())
}

// slack is by how much the clocks of those who put records with ids may differ.
const slack = time.Minute

// Known reports whether the ids of a batch, put at a time in nanoseconds since 1970, may be
// looked for: the topic's window reaches back to it from an end. Its records stay meanwhile,
// or one that is put again would be put a second time.
func Known(c *messages.TopicConfig, e format.Entry, put int64, end format.LogEnd, now time.Time) bool {
	return c.DedupeWindow > 0 && put >= now.Add(-c.DedupeWindow-slack).UnixNano() &&
		e.End() > end.Offset-int64(c.DedupeRecords) && end.Bytes-e.LogBytes <= messages.MaxDedupeBytes
}
