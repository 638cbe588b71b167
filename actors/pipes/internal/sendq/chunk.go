package sendq

// Encoded records wait and fly in chunks. A record is encoded once, into the
// open chunk of its destination, and every group's pipe refers to it there; a
// frame's body is a slice of a chunk, so nothing is copied on the way to the
// socket. Chunks and spans belong to the queue's lock.

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/messages"
)

// Small records share chunks of chunkSize, so that who keeps one of them keeps no more
// than that; larger ones share chunks of roomyChunk, which hold four of 64 KiB.
const (
	chunkSize  = 60 << 10
	roomyChunk = 264 << 10
)

// smallRecord is the largest that shares a small chunk with others, so that what is
// left unused at a chunk's end stays within an eighth.
const smallRecord = chunkSize / 8

// shares reports whether records of size bytes share roomy chunks. What they leave
// unused at the end is an eighth at most. A larger one has a chunk of its own size.
func shares(size int) bool {
	return size <= roomyChunk/8 || size <= roomyChunk/4 && roomyChunk%size <= roomyChunk/8
}

// chunk is a run of encoded records.
type chunk struct {
	buf  []byte
	ends []uint32 // ends[i] is where record i ends in buf
	// live counts what still needs the bytes: one for each record and pipe that
	// is not settled, one for each frame being written, one while it is open.
	live int
	// watches has, for the records up to the last one that is watched, who is told when
	// it is settled.
	watches []*watch
	// expires has, for the records up to the last one that expires, when that is in
	// nanoseconds since 1970; 0 is never.
	expires []int64
}

// Fresh memory costs more than what is written to it, so chunks are used again:
// those of small records from a short list, which a garbage collection does not
// empty, and what the list does not hold, roomy ones and those around the powers of two
// that large messages like to have until nobody has wanted them for two collections.
var (
	smallChunks  chunkList
	moreChunks   sync.Pool // of small records
	largeClasses = [...]int{68 << 10, 132 << 10, roomyChunk, 516 << 10, 1028 << 10}
	largeChunks  [len(largeClasses)]sync.Pool
)

// chunkList is a bounded list of free chunks.
type chunkList struct {
	mu   sync.Mutex
	free []*chunk
}

// chunksKept bounds the list: 2 MiB for the whole process.
const chunksKept = 32

func (l *chunkList) get() *chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		if c, ok := moreChunks.Get().(*chunk); ok {
			return c
		}
		return &chunk{buf: make([]byte, 0, chunkSize)}
	}
	c := l.free[n-1]
	l.free[n-1] = nil
	l.free = l.free[:n-1]
	return c
}

func (l *chunkList) put(c *chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < chunksKept {
		l.free = append(l.free, c)
	} else {
		moreChunks.Put(c)
	}
}

// largeClass returns the class whose chunks hold size bytes without much waste,
// or -1.
func largeClass(size int) int {
	for i, class := range largeClasses {
		if size <= class {
			if class-size > class/8 {
				break
			}
			return i
		}
	}
	return -1
}

// newChunk returns an open chunk with room for size bytes.
func newChunk(size int) *chunk {
	var c *chunk
	if size <= smallRecord {
		c = smallChunks.get()
	} else if i := largeClass(size); i >= 0 {
		if c, _ = largeChunks[i].Get().(*chunk); c == nil {
			c = &chunk{buf: make([]byte, 0, largeClasses[i])}
		}
	} else {
		c = &chunk{buf: make([]byte, 0, size)}
	}
	c.live = 1
	return c
}

// roomy reports whether c, which is open, is a roomy one.
func (c *chunk) roomy() bool { return cap(c.buf) == roomyChunk }

// left is how many bytes of c are not used.
func (c *chunk) left() int { return cap(c.buf) - len(c.buf) }

// fits reports whether c, which is open, takes another record.
func (c *chunk) fits(size int) bool {
	return size <= c.left() && (size <= smallRecord || c.roomy() && shares(size))
}

// openChunks are those that a destination's next records go into: none, one, or a roomy
// one and the small one that was in use before.
type openChunks struct{ last, aside *chunk }

// take returns the chunk for a record of size bytes. Own tells that it is that record's
// alone and not open: whoever took it gives it up once it is queued. Many tells that much
// is queued: else a record that is not small gets no roomy chunk, so that a few of them
// do not hold one.
func (o *openChunks) take(size int, many func() bool) (c *chunk, own bool) {
	for {
		last := o.last
		switch {
		case last != nil && last.fits(size):
			return last, false
		case size > smallRecord && (!shares(size) || last != nil && last.roomy() && last.left() > roomyChunk/8 || !many()):
			return newChunk(size), true // smaller ones will fill what is left
		case size > smallRecord && last != nil && !last.roomy():
			o.last, o.aside = newChunk(roomyChunk), last
		case last == nil && size > smallRecord:
			o.last = newChunk(roomyChunk)
		case last == nil:
			o.last = newChunk(size)
		default: // it is full
			last.release(1)
			o.last, o.aside = o.aside, nil
		}
	}
}

// rest gives up what nobody needs: an idle destination keeps no chunk.
func (o *openChunks) rest() {
	if o.aside != nil && o.aside.live == 1 {
		o.aside.release(1)
		o.aside = nil
	}
	if o.last != nil && o.last.live == 1 {
		o.last.release(1)
		o.last, o.aside = o.aside, nil
	}
}

// add encodes m behind the others and returns its index.
func (c *chunk) add(m *messages.Message) uint32 {
	c.buf = messages.AppendRecord(c.buf, m)
	c.ends = append(c.ends, uint32(len(c.buf)))
	i := uint32(len(c.ends) - 1)
	if !m.ExpiresAt.IsZero() {
		for len(c.expires) < int(i) {
			c.expires = append(c.expires, 0)
		}
		c.expires = append(c.expires, m.ExpiresAt.UnixNano())
	}
	return i
}

// release gives up n of the reasons to keep the bytes.
func (c *chunk) release(n int) {
	c.live -= n
	switch {
	case c.live > 0:
	case c.live < 0:
		panic("sendq: chunk released twice")
	default:
		used := c.buf
		c.buf, c.ends = c.buf[:0], c.ends[:0]
		if len(c.watches) > 0 {
			clear(c.watches)
			c.watches = c.watches[:0]
		}
		c.expires = c.expires[:0]
		if cap(used) == chunkSize {
			smallChunks.put(c)
		} else if i := slices.Index(largeClasses[:], cap(used)); i >= 0 {
			largeChunks[i].Put(c)
		}
	}
}

// span is a run of neighbouring records of one chunk, with one history.
type span struct {
	c        *chunk
	from, to uint32 // records from..to-1 of c
	seq      uint64 // pipe sequence of the first
	nacks    uint16 // failed handlings
	deaths   uint16 // links that died with it in hand, and AckWaits that expired
	returns  uint16 // given back since the last failed handling
	again    bool   // somebody may have seen it
	parked   bool   // a copy was kept to be looked at
}

func (s span) len() int { return int(s.to - s.from) }

func (s span) start() uint32 {
	if s.from == 0 {
		return 0
	}
	return s.c.ends[s.from-1]
}

func (s span) size() int { return int(s.c.ends[s.to-1] - s.start()) }

// bytes are the records as they go over the wire.
func (s span) bytes() []byte { return s.c.buf[s.start():s.c.ends[s.to-1]] }

// attempt is what the next handling of these records is counted as.
func (s span) attempt() int { return 1 + int(s.nacks) }

// died counts a death.
func (s *span) died() {
	if s.deaths < math.MaxUint16 {
		s.deaths++
	}
}

// cut splits s after n records.
func (s span) cut(n int) (head, tail span) {
	head, tail = s, s
	head.to = s.from + uint32(n)
	tail.from = head.to
	tail.seq += uint64(n)
	return head, tail
}

// within returns how many leading records of s fit into limit bytes.
func (s span) within(limit uint64) int {
	if uint64(s.size()) <= limit {
		return s.len()
	}
	start := uint64(s.start())
	lo, hi := 0, s.len() // lo records fit, hi do not
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if uint64(s.c.ends[int(s.from)+mid-1])-start <= limit {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// follows reports whether next continues s without a seam.
func (s span) follows(next span) bool {
	return s.c == next.c && s.to == next.from && s.seq+uint64(s.len()) == next.seq &&
		s.nacks == next.nacks && s.deaths == next.deaths && s.returns == next.returns && s.again == next.again && s.parked == next.parked
}

// detach copies a span's records into a chunk of their own, so that one
// message that waits for long does not keep its neighbours' bytes.
func (s span) detach() span {
	b := s.bytes()
	c := &chunk{buf: append([]byte(nil), b...), ends: make([]uint32, s.len()), live: s.len()}
	start := s.start()
	for i := range c.ends {
		c.ends[i] = s.c.ends[int(s.from)+i] - start
	}
	c.watches, c.expires = append(c.watches, s.watches()...), append(c.expires, s.expires()...)
	d := s
	d.c, d.from, d.to = c, 0, uint32(len(c.ends))
	return d
}

// own is s with bytes of its own, in place of its share of the common ones.
func (s span) own() span {
	d := s.detach()
	s.c.release(s.len())
	return d
}

// spans is a queue of spans, a ring that shrinks to nothing when empty.
type spans struct {
	items []span
	head  int
	count int // records, not spans
	size  int // bytes
}

func (q *spans) empty() bool { return q.head == len(q.items) }

func (q *spans) front() *span { return &q.items[q.head] }

// extend appends one record that nobody has seen. It is what Send does for each
// message and group, so it touches no more than it must.
func (q *spans) extend(c *chunk, i uint32, seq uint64, size int) {
	q.count++
	q.size += size
	if n := len(q.items); n > q.head {
		if last := &q.items[n-1]; last.c == c && last.to == i && last.seq+uint64(last.len()) == seq && last.attempt() == 1 && !last.again {
			last.to++
			return
		}
	}
	q.grow(span{c: c, from: i, to: i + 1, seq: seq})
}

// push appends s, joining it to the last span where it continues it.
func (q *spans) push(s span) {
	q.count += s.len()
	q.size += s.size()
	if n := len(q.items); n > q.head && q.items[n-1].follows(s) {
		q.items[n-1].to = s.to
		return
	}
	q.grow(s)
}

func (q *spans) grow(s span) {
	q.compact()
	q.items = append(q.items, s)
}

// compact moves the spans to the front of their array once most of it is used up.
func (q *spans) compact() {
	if q.head > 32 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// take removes n records from the front span.
func (q *spans) take(n int) span {
	head, tail := q.items[q.head].cut(n)
	q.count -= n
	q.size -= head.size()
	if tail.len() > 0 {
		q.items[q.head] = tail
		return head
	}
	q.items[q.head] = span{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 256 {
			q.items = nil
		}
	}
	return head
}

// insert puts s before the first span with a higher sequence.
func (q *spans) insert(s span) {
	q.compact()
	q.count += s.len()
	q.size += s.size()
	at, _ := slices.BinarySearchFunc(q.items[q.head:], s.seq, func(x span, seq uint64) int { return cmp.Compare(x.seq, seq) })
	at += q.head
	if at > q.head && q.items[at-1].follows(s) {
		q.items[at-1].to = s.to
		return
	}
	q.items = slices.Insert(q.items, at, s)
}

// each visits the spans from the front.
func (q *spans) each(visit func(span)) {
	for _, s := range q.items[q.head:] {
		visit(s)
	}
}
