package produce

// A batch that fills, and the memory that it consists of.

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// draft is a batch that is not sealed yet.
type draft struct {
	pieces  []*piece // the records, one after the other
	size    int      // their bytes
	first   slot     // who waits, in the order of the records
	slabs   []*slab  // those after the first
	waiters int      // how many slots there are
	count   int
	timed   int // records with a time of their own
	named   int // records with an id
	later   int // records that are delivered later
	minTime int64
	maxTime int64
	expires int64 // when the first record does by itself; 0 is never
}

// Drafts and what they consist of are used again, process-wide: fresh memory
// costs more than what is written to it, and an idle partition keeps none. Pieces
// grow with the draft, so that little of it is unused, however many there are.
const (
	smallestPiece = 1 << 10
	slabSlots     = 128
)

type (
	piece struct{ buf []byte }
	slab  [slabSlots]slot
)

var (
	draftPool  = sync.Pool{New: func() any { return new(draft) }}
	piecePools [5]sync.Pool // 1 KiB to 16 KiB
	slabPool   = sync.Pool{New: func() any { return new(slab) }}
	wholePool  = sync.Pool{New: func() any { return new(piece) }} // a record's or a batch's, for a moment
)

func newDraft() *draft { return draftPool.Get().(*draft) }

// pieceClass is the pool of the pieces that a draft of that size grows by.
func pieceClass(size int) int {
	return min(bits.Len(uint(size/(8*smallestPiece))), len(piecePools)-1)
}

// fits reports whether d takes another record, of so many bytes at most. A record
// above the limit has a batch of its own.
func (d *draft) fits(size, most int) bool {
	return d.count < messages.MaxBatchRecords && d.size+size <= most
}

// holdsLater reports whether d takes another record that is delivered later, of so many.
func (d *draft) holdsLater(m *messages.Message, most int) bool {
	return m.DeliverAt.IsZero() || d.later < most
}

func (d *draft) add(m *messages.Message, size int, s *slot) {
	if n := len(d.pieces); n > 0 && size <= d.pieces[n-1].free() {
		last := d.pieces[n-1]
		last.buf = messages.AppendRecord(last.buf, m)
		d.size += size
	} else {
		d.span(m, size)
	}
	nano := int64(0)
	if !m.Time.IsZero() {
		nano = m.Time.UnixNano()
	}
	if !m.DeliverAt.IsZero() {
		d.later++
	}
	d.expires = format.Sooner(d.expires, m.ExpiresAt)
	d.enter(size, nano, m.ID != "", s)
}

// enter notes a record that was added, its time (0 for none), whether it has an id, and
// who waits for it.
func (d *draft) enter(size int, nano int64, named bool, s *slot) {
	d.count++
	if named {
		d.named++
	}
	d.stamp(nano)
	if s.to == nil && d.waiters > 0 {
		if last := d.slot(d.waiters - 1); last.to == nil && last.from == s.from {
			last.count++
			last.size += int32(size)
			return
		}
	}
	if d.waiters == 1+len(d.slabs)*slabSlots {
		d.slabs = append(d.slabs, slabPool.Get().(*slab))
	}
	d.waiters++
	*d.slot(d.waiters - 1) = slot{from: s.from, to: s.to, index: s.index, count: 1, size: int32(size)}
}

// span adds a record that goes over the ends of pieces.
func (d *draft) span(m *messages.Message, size int) {
	var small [256]byte
	if size <= len(small) {
		d.append(messages.AppendRecord(small[:0], m))
		return
	}
	whole := wholePool.Get().(*piece)
	whole.buf = messages.AppendRecord(slices.Grow(whole.buf[:0], size), m)
	d.append(whole.buf)
	wholePool.Put(whole)
}

func (d *draft) append(record []byte) {
	for len(record) > 0 {
		n := len(d.pieces)
		if n == 0 || d.pieces[n-1].free() == 0 {
			class := pieceClass(d.size)
			p, _ := piecePools[class].Get().(*piece)
			if p == nil {
				p = &piece{make([]byte, 0, smallestPiece<<class)}
			}
			d.pieces = append(d.pieces, p)
			continue
		}
		last := d.pieces[n-1]
		n = min(len(record), last.free())
		last.buf = append(last.buf, record[:n]...)
		record = record[n:]
		d.size += n
	}
}

func (p *piece) free() int { return cap(p.buf) - len(p.buf) }

// whole hands all records in one piece to do, which must not keep it, and then
// drops them.
func (d *draft) whole(do func(raw []byte)) {
	d.peek(do)
	d.drop()
}

// peek hands all records in one piece to do, which must not keep it.
func (d *draft) peek(do func(raw []byte)) {
	if len(d.pieces) == 1 {
		do(d.pieces[0].buf)
	} else {
		whole := wholePool.Get().(*piece)
		whole.buf = slices.Grow(whole.buf[:0], d.size)
		for _, p := range d.pieces {
			whole.buf = append(whole.buf, p.buf...)
		}
		do(whole.buf)
		wholePool.Put(whole)
	}
}

// drop gives the memory of the records back.
func (d *draft) drop() {
	for i, p := range d.pieces {
		p.buf = p.buf[:0]
		piecePools[bits.Len(uint(cap(p.buf)/smallestPiece))-1].Put(p)
		d.pieces[i] = nil
	}
	d.pieces = d.pieces[:0]
}

func (d *draft) slot(i int) *slot {
	if i == 0 {
		return &d.first
	}
	return &d.slabs[(i-1)/slabSlots][(i-1)%slabSlots]
}

// stamp widens the times of d. The record format takes 1970 for no time.
func (d *draft) stamp(nano int64) {
	switch {
	case nano == 0:
		return
	case d.timed == 0:
		d.minTime, d.maxTime = nano, nano
	default:
		d.minTime, d.maxTime = min(d.minTime, nano), max(d.maxTime, nano)
	}
	d.timed++
}
