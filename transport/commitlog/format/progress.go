package format

// What a group has done of a partition behind the first record that is not finished.

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/penstock-io/penstock/messages/pb"
)

// Progress is what is known of the records of a partition from an offset on, besides that
// offset. Its zero value is nothing. What is in it is not changed once it was made.
type Progress struct {
	// Done are the finished records: ranges that are sorted and apart.
	Done []Range
	// Tried are records that are not finished and were handed out before, by offset.
	Tried []Tried
	// Takeovers counts the owners in a row that ended without a release, since the offset
	// moved last.
	Takeovers int
	// Careful: the records before it are handed out one at a time, because one of them may
	// end the process that handles it. 0 is none.
	Careful int64
}

// Range is the records from From to before To.
type Range struct{ From, To int64 }

// Tried is what became of a record so far.
type Tried struct {
	Offset int64
	// Attempts are failed handlings, Deaths how often a process may have ended over it.
	Attempts, Deaths int
	// NotBefore is when it is to be handed out again, in whole milliseconds; the zero Time is
	// at once.
	NotBefore time.Time
}

// AppendRange appends the records from from to before to, if there are any, to ranges that
// end at or before from.
func AppendRange(ranges []Range, from, to int64) []Range {
	if from >= to {
		return ranges
	}
	if n := len(ranges); n > 0 && ranges[n-1].To == from {
		ranges[n-1].To = to
		return ranges
	}
	return append(ranges, Range{from, to})
}

// at is the first range that ends behind an offset.
func (p Progress) at(offset int64) int {
	return sort.Search(len(p.Done), func(i int) bool { return p.Done[i].To > offset })
}

func (p Progress) triedAt(offset int64) (int, bool) {
	return slices.BinarySearchFunc(p.Tried, offset, func(t Tried, o int64) int { return cmp.Compare(t.Offset, o) })
}

// IsDone reports whether the record at an offset is finished.
func (p Progress) IsDone(offset int64) bool {
	i := p.at(offset)
	return i < len(p.Done) && p.Done[i].From <= offset
}

// TriedAt is what became of the record at an offset, if it was handed out before.
func (p Progress) TriedAt(offset int64) (Tried, bool) {
	i, ok := p.triedAt(offset)
	if !ok {
		return Tried{}, false
	}
	return p.Tried[i], true
}

// Mark is the first offset from one on that something is known of: math.MaxInt64 when
// there is none.
func (p Progress) Mark(from int64) int64 {
	mark := int64(math.MaxInt64)
	if i := p.at(from); i < len(p.Done) {
		mark = max(p.Done[i].From, from)
	}
	if i, _ := p.triedAt(from); i < len(p.Tried) {
		mark = min(mark, p.Tried[i].Offset)
	}
	return mark
}

// From is what is known of the records from an offset on.
func (p Progress) From(offset int64) Progress {
	p.Done = p.Done[p.at(offset):]
	if len(p.Done) > 0 && p.Done[0].From < offset {
		p.Done = slices.Clone(p.Done)
		p.Done[0].From = offset
	}
	i, _ := p.triedAt(offset)
	p.Tried = p.Tried[i:]
	return p
}

// Past is the first offset from one on that is not finished.
func (p Progress) Past(offset int64) int64 {
	if i := p.at(offset); i < len(p.Done) && p.Done[i].From <= offset {
		return p.Done[i].To
	}
	return offset
}

// With is p with what became of a record, in place of what was known of it.
func (p Progress) With(t Tried) Progress {
	i, had := p.triedAt(t.Offset)
	tried := slices.Clone(p.Tried)
	if had {
		tried[i] = t
	} else {
		tried = slices.Insert(tried, i, t)
	}
	p.Tried = tried
	return p
}

// Count is how many records are finished.
func (p Progress) Count() (n int64) {
	for _, r := range p.Done {
		n += r.To - r.From
	}
	return n
}

// IsZero reports whether nothing is known.
func (p Progress) IsZero() bool {
	return len(p.Done) == 0 && len(p.Tried) == 0 && p.Takeovers == 0 && p.Careful == 0
}

// Equal reports whether p and q say the same.
func (p Progress) Equal(q Progress) bool {
	return slices.Equal(p.Done, q.Done) && p.Takeovers == q.Takeovers && p.Careful == q.Careful &&
		slices.EqualFunc(p.Tried, q.Tried, func(a, b Tried) bool {
			return a.Offset == b.Offset && a.Attempts == b.Attempts && a.Deaths == b.Deaths && a.NotBefore.UnixMilli() == b.NotBefore.UnixMilli()
		})
}

// CommittedValue is a position as etcd keeps it, written at a time. producer and sequence
// are the identity of the transaction that writes it, 0 for none.
func CommittedValue(p Position, producer, sequence uint64, now time.Time) string {
	c := &pb.Committed{Offset: p.Offset, Base: p.Base, Fence: p.Fence, UnixMs: now.UnixMilli(), Producer: producer, Sequence: sequence}
	if p.Progress.IsZero() {
		return Encode(c)
	}
	at := p.Offset
	for _, r := range p.Progress.Done {
		c.Done = append(c.Done, uint64(r.From-at), uint64(r.To-r.From))
		at = r.To
	}
	at = p.Offset
	for _, t := range p.Progress.Tried {
		tried := &pb.Tried{Gap: uint64(t.Offset - at), Attempts: uint32(t.Attempts), Deaths: uint32(t.Deaths)}
		if !t.NotBefore.IsZero() {
			wait := t.NotBefore.UnixMilli() - c.UnixMs
			tried.WaitMs = &wait
		}
		c.Tried = append(c.Tried, tried)
		at = t.Offset
	}
	c.Takeovers, c.Careful = uint32(p.Progress.Takeovers), p.Progress.Careful
	return Encode(c)
}

// ProgressOf reads what c says besides its offset. It returns false when that makes no
// sense.
func ProgressOf(c *pb.Committed) (p Progress, ok bool) {
	if len(c.Done)%2 != 0 || c.Careful < 0 {
		return p, false
	}
	at := c.Offset
	for i := 0; i < len(c.Done); i += 2 {
		gap, n := c.Done[i], c.Done[i+1]
		if gap == 0 && i > 0 || n == 0 || gap > math.MaxInt64 || n > math.MaxInt64 || int64(gap) > math.MaxInt64-at || int64(n) > math.MaxInt64-at-int64(gap) {
			return p, false
		}
		from := at + int64(gap)
		at = from + int64(n)
		p.Done = append(p.Done, Range{from, at})
	}
	at = c.Offset
	for i, t := range c.Tried {
		if t.Gap == 0 && i > 0 || t.Gap > math.MaxInt64 || int64(t.Gap) > math.MaxInt64-at || t.Attempts > math.MaxInt32 || t.Deaths > math.MaxInt32 {
			return p, false
		}
		at += int64(t.Gap)
		tried := Tried{Offset: at, Attempts: int(t.Attempts), Deaths: int(t.Deaths)}
		if t.WaitMs != nil {
			tried.NotBefore = time.UnixMilli(c.UnixMs + *t.WaitMs).UTC()
		}
		p.Tried = append(p.Tried, tried)
	}
	if c.Takeovers > math.MaxInt32 {
		return p, false
	}
	p.Takeovers, p.Careful = int(c.Takeovers), c.Careful
	return p, true
}
