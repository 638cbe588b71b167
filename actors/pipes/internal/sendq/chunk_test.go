package sendq

// Chunks count who needs their bytes; spans are views of them; a queue of
// spans is a list of records.

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

// filled is a chunk of its own, with one numbered record for each size, that
// the caller holds once.
func filled(sizes ...int) *chunk {
	c := &chunk{live: 1}
	for i, size := range sizes {
		c.add(recordtest.Numbered(uint64(i), size))
	}
	return c
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func TestChunkReleasedOnceForEachReason(t *testing.T) {
	c := newChunk(100)
	if c.live != 1 {
		t.Fatalf("a new chunk has %d reasons to live, want 1 for being open", c.live)
	}
	c.add(recordtest.Numbered(1, 64))
	c.live += 2
	c.release(1)
	c.release(1)
	if c.live != 1 || len(c.buf) == 0 {
		t.Fatalf("live %d with %d bytes: the last holder lost them", c.live, len(c.buf))
	}
	c.release(1)
	if c.live != 0 || len(c.buf) != 0 || len(c.ends) != 0 {
		t.Fatalf("live %d, %d bytes, %d ends: want it back in the pool, empty", c.live, len(c.buf), len(c.ends))
	}
	mustPanic(t, "a second release", func() { c.release(1) })
}

func TestChunkReleasedTwicePanics(t *testing.T) {
	for name, size := range map[string]int{"pooled": 10, "of a class": chunkSize + 1, "of its own": 4 << 20} {
		t.Run(name, func(t *testing.T) {
			c := newChunk(size)
			mustPanic(t, "a release of two", func() { c.release(2) })
		})
	}
}

func TestChunkHoldsWhatItWasMadeFor(t *testing.T) {
	for _, size := range []int{1, 100, chunkSize, chunkSize + 1, 4 << 20} {
		c := newChunk(size)
		if cap(c.buf) < size {
			t.Errorf("a chunk for %d bytes has room for %d", size, cap(c.buf))
		}
		c.release(1)
	}
}

func TestChunkDoesNotMoveItsRecords(t *testing.T) {
	m := recordtest.Numbered(1, 64)
	size := messages.RecordSize(m)
	c := newChunk(size)
	defer c.release(1)
	c.add(m)
	before := &c.buf[0]
	for c.fits(size) {
		c.add(m)
	}
	if before != &c.buf[0] || cap(c.buf) != chunkSize {
		t.Error("adding what fits moved the bytes: a frame may be reading them")
	}
}

// What is left unused of a chunk that takes no more is an eighth at most, whatever comes in
// whichever order, and at most one small and one roomy chunk are open.
func TestOpenChunksWasteLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o openChunks
		kinds := [][2]int{{1, smallRecord}, {smallRecord + 1, roomyChunk / 8}, {roomyChunk/8 + 1, roomyChunk / 4}, {roomyChunk / 4, 600 << 10}}
		closed := func(c *chunk) {
			if c.left() > cap(c.buf)/8 {
				t.Fatalf("%d of %d bytes are unused", c.left(), cap(c.buf))
			}
		}
		seen := map[*chunk]int{} // records in each
		for range rapid.IntRange(1, 200).Draw(t, "records") {
			kind := rapid.SampledFrom(kinds).Draw(t, "kind")
			size := rapid.IntRange(kind[0], kind[1]).Draw(t, "size")
			before := o
			c, own := o.take(size, func() bool { return true })
			if c.left() < size || own && len(c.buf) > 0 || !own && c != o.last {
				t.Fatalf("%d bytes go to a chunk with %d left, its own: %t", size, c.left(), own)
			}
			seen[c]++ // no chunk comes back: all are held
			c.buf = c.buf[:len(c.buf)+size]
			c.live++
			if own {
				closed(&chunk{buf: c.buf[:size:cap(c.buf)]})
				c.release(1)
			}
			if o.aside != nil && (o.aside.roomy() || !o.last.roomy()) {
				t.Fatal("the chunk aside is no small one, or the last no roomy one")
			}
			for _, old := range []*chunk{before.last, before.aside} {
				if old != nil && old != o.last && old != o.aside {
					closed(old)
				}
			}
		}
		for c, records := range seen {
			open := c == o.last || c == o.aside
			if want := records; open && c.live != want+1 || !open && c.live != want {
				t.Fatalf("a chunk of %d records, open: %t, has %d reasons to live", records, open, c.live)
			}
			c.live -= records
		}
		last, aside := o.last, o.aside
		for _, c := range []*chunk{last, aside} {
			if c != nil && c.live != 1 {
				t.Fatalf("live %d of an open chunk that nobody needs", c.live)
			}
		}
		if o.rest(); o != (openChunks{}) {
			t.Fatalf("%+v stays open though nobody needs it", o)
		}
	})
}

// A message that expired between two of one chunk leaves a hole: they are no run.
func TestNeighborsInAChunkMayBeApart(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	mustSend(t, o, recordtest.Numbered(1, 8))
	gone := recordtest.Numbered(2, 100<<10) // in a chunk of its own
	gone.ExpiresAt = time.Unix(1, 0)
	mustSend(t, o, gone)
	b.fresh.items = b.fresh.items[:1] // as expiring takes it out
	mustSend(t, o, recordtest.Numbered(3, 8))
	if got := recordsOf(&b.fresh); len(got) != 2 || got[0].c != got[1].c || got[0].seq != 1 || got[1].seq != 3 {
		t.Errorf("queued: %+v", got)
	}
}

// Messages up to 64 KiB travel together once there are many, and few of them hold no chunk
// for many.
func TestLargerMessagesArePacked(t *testing.T) {
	for _, c := range []struct{ size, together int }{
		{7 << 10, 8}, {8 << 10, 32}, {16 << 10, 16}, {32 << 10, 8}, {64 << 10, 4}, {57 << 10, 1}, {70 << 10, 1},
	} {
		o, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) { c.Queue.Bytes = 64 << 20 })
		l := linkTo(t, o, b, "m", 10_000, 1<<30)
		for id := range uint64(100) {
			mustSend(t, o, recordtest.Numbered(id, c.size))
		}
		if front := b.fresh.front(); c.size > smallRecord && (front.len() != 1 || cap(front.c.buf) > front.size()+front.size()/8) {
			t.Errorf("the first message of %d bytes holds %d", c.size, cap(front.c.buf))
		}
		most, next := 0, uint64(0)
		rung(l)
		for got, ok := o.Next(b, l); ok; got, ok = o.Next(b, l) {
			most = max(most, got.Count)
			for _, id := range recordtest.Numbers(t, got.Records) {
				if id != next {
					t.Fatalf("message %d came where %d was due", id, next)
				}
				next++
			}
		}
		if most != c.together || next != 100 {
			t.Errorf("%d messages of %d bytes came, up to %d in a frame; want %d", next, c.size, most, c.together)
		}
	}
}

// sized draws record sizes on both sides of one length byte.
func sized(t *rapid.T, name string, most int) []int {
	return rapid.SliceOfN(rapid.IntRange(8, 200), 1, most).Draw(t, name)
}

func TestSpanWithinCutDetach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := filled(sized(t, "sizes", 30)...)
		from := rapid.IntRange(0, len(c.ends)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(c.ends)).Draw(t, "to")
		s := span{c: c, from: uint32(from), to: uint32(to), seq: 100, nacks: 2, deaths: 3, again: true}
		lens := make([]int, 0, to-from)
		total := 0
		for i := from; i < to; i++ {
			one := span{c: c, from: uint32(i), to: uint32(i + 1)}
			lens = append(lens, one.size())
			total += one.size()
		}
		if s.size() != total || len(s.bytes()) != total {
			t.Fatalf("size %d, %d bytes, want the sum %d", s.size(), len(s.bytes()), total)
		}
		if s.attempt() != 3 {
			t.Fatalf("attempt %d after 2 nacks and 3 deaths", s.attempt())
		}

		limit := rapid.IntRange(0, total+10).Draw(t, "limit")
		want, sum := 0, 0
		for want < len(lens) && sum+lens[want] <= limit {
			sum += lens[want]
			want++
		}
		if got := s.within(uint64(limit)); got != want {
			t.Fatalf("%d records fit into %d bytes, want %d of %v", got, limit, want, lens)
		}

		n := rapid.IntRange(1, s.len()).Draw(t, "cut")
		head, tail := s.cut(n)
		if head.len() != n || head.len()+tail.len() != s.len() || head.seq != 100 || tail.seq != 100+uint64(n) {
			t.Fatalf("cut %d of %d: %d at %d and %d at %d", n, s.len(), head.len(), head.seq, tail.len(), tail.seq)
		}
		if tail.len() > 0 {
			if !head.follows(tail) || tail.follows(head) {
				t.Fatalf("the halves of a cut do not follow one another")
			}
			if both := append(slices.Clone(head.bytes()), tail.bytes()...); !slices.Equal(both, s.bytes()) {
				t.Fatalf("a cut changed the bytes")
			}
		}

		d := s.detach()
		if d.c == c || d.c.live != s.len() || d.seq != s.seq || d.attempt() != s.attempt() || !d.again {
			t.Fatalf("detached: live %d of %d, seq %d, attempt %d", d.c.live, s.len(), d.seq, d.attempt())
		}
		if !slices.Equal(d.bytes(), s.bytes()) || d.size() != s.size() {
			t.Fatalf("detaching changed the bytes")
		}
		if &d.bytes()[0] == &s.bytes()[0] {
			t.Fatalf("a detached span shares its bytes")
		}
		for i := range d.len() {
			_, rest := d.cut(i)
			one, _ := rest.cut(1)
			if got := recordtest.Numbers(t, one.bytes()); len(got) != 1 || got[0] != uint64(from+i) {
				t.Fatalf("record %d of a detached span is %v, want %d", i, got, from+i)
			}
			one.c.release(1)
		}
		if d.c.live != 0 {
			t.Fatalf("live %d after each record of a detached span was released", d.c.live)
		}
	})
}

func TestSpanFollowsOnlyWithoutASeam(t *testing.T) {
	c, other := filled(8, 8, 8, 8), filled(8, 8, 8, 8)
	first := span{c: c, from: 0, to: 2, seq: 5}
	next := span{c: c, from: 2, to: 3, seq: 7}
	if !first.follows(next) {
		t.Fatal("the next record does not follow")
	}
	for name, change := range map[string]func(*span){
		"another chunk":   func(s *span) { s.c = other },
		"a hole":          func(s *span) { s.from, s.to = 3, 4 },
		"another place":   func(s *span) { s.seq++ },
		"a failed one":    func(s *span) { s.nacks++ },
		"one that killed": func(s *span) { s.deaths++ },
		"a seen one":      func(s *span) { s.again = true },
	} {
		x := next
		change(&x)
		if first.follows(x) {
			t.Errorf("%s follows", name)
		}
	}
}

// listed is one record of a queue's model.
type listed struct {
	c     *chunk
	i     uint32
	seq   uint64
	nacks uint16
}

func (x listed) span() span { return span{c: x.c, from: x.i, to: x.i + 1, seq: x.seq, nacks: x.nacks} }

func recordsOf(q *spans) (out []listed) {
	q.each(func(s span) {
		for i := range s.len() {
			out = append(out, listed{s.c, s.from + uint32(i), s.seq + uint64(i), s.nacks})
		}
	})
	return out
}

func TestSpansAreAListOfRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q spans
		var model, taken []listed
		var c *chunk
		seq := uint64(0)
		push := func() {
			if c == nil || len(c.ends) == cap(c.ends) || rapid.IntRange(0, 9).Draw(t, "turn") == 0 {
				c = &chunk{live: 1, ends: make([]uint32, 0, 8)}
			}
			seq += uint64(1 + rapid.IntRange(0, 9).Draw(t, "hole")/9)
			x := listed{c: c, i: c.add(recordtest.Numbered(seq, 8)), seq: seq, nacks: uint16(rapid.IntRange(0, 9).Draw(t, "nacks") / 9)}
			q.push(x.span())
			model = append(model, x)
		}
		take := func() {
			if q.empty() {
				return
			}
			n := rapid.IntRange(1, q.front().len()).Draw(t, "n")
			s := q.take(n)
			if s.len() != n {
				t.Fatalf("took %d of %d", s.len(), n)
			}
			for i := range n {
				if got, want := (listed{s.c, s.from + uint32(i), s.seq + uint64(i), s.nacks}), model[i]; got != want {
					t.Fatalf("took %+v, want %+v", got, want)
				}
			}
			taken = append(taken, model[:n]...)
			model = model[n:]
		}
		insert := func() {
			if len(taken) == 0 {
				return
			}
			i := rapid.IntRange(0, len(taken)-1).Draw(t, "back")
			x := taken[i]
			taken = slices.Delete(taken, i, i+1)
			q.insert(x.span())
			at := len(model)
			for at > 0 && model[at-1].seq > x.seq {
				at--
			}
			model = slices.Insert(slices.Clone(model), at, x)
		}
		moves := []func(){push, push, push, take, insert}
		for range rapid.IntRange(0, 150).Draw(t, "moves") {
			rapid.SampledFrom(moves).Draw(t, "move")()
			size := 0
			for _, x := range model {
				size += x.span().size()
			}
			if q.count != len(model) || q.size != size || q.empty() != (len(model) == 0) {
				t.Fatalf("count %d, size %d, empty %t; want %d, %d", q.count, q.size, q.empty(), len(model), size)
			}
			if got := recordsOf(&q); !slices.Equal(got, model) {
				t.Fatalf("holds %v, want %v", got, model)
			}
			if !slices.IsSortedFunc(model, func(a, b listed) int { return int(a.seq) - int(b.seq) }) {
				t.Fatalf("out of order: %v", model)
			}
		}
	})
}

// A queue that never runs empty must not remember all that went through it.
func TestSpansKeepNoDeadPrefix(t *testing.T) {
	sizes := make([]int, 64)
	c := filled(sizes...)
	for name, add := range map[string]func(*spans, span){"push": (*spans).push, "insert": (*spans).insert} {
		t.Run(name, func(t *testing.T) {
			var q spans
			seq := uint64(0)
			one := func() {
				seq += 2 // holes, so that nothing joins
				i := uint32(seq) % 64
				add(&q, span{c: c, from: i, to: i + 1, seq: seq})
			}
			one()
			for range 100_000 {
				one()
				q.take(1)
			}
			if q.count != 1 || len(q.items) > 1000 {
				t.Errorf("%d records in a slice of %d", q.count, len(q.items))
			}
		})
	}
}
