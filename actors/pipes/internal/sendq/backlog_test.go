package sendq

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

// spansOf visits everything that b returns for: queued, delayed, exhausted, out.
func (b *Backlog) spansOf(visit func(span)) {
	b.fresh.each(visit)
	b.again.each(visit)
	for _, d := range b.delayed {
		visit(d.span)
	}
	for _, d := range b.exhausted {
		visit(d.span)
	}
	for _, l := range b.links {
		for f := range l.out.all() {
			visit(f.span)
		}
	}
}

// held is the pipe sequences that b returns for, sorted.
func held(b *Backlog) (seqs []uint64) {
	b.spansOf(func(s span) {
		for i := range s.len() {
			seqs = append(seqs, s.seq+uint64(i))
		}
	})
	slices.Sort(seqs)
	return seqs
}

// checkBooks compares b's totals with what it really holds.
func checkBooks(t recordtest.T, b *Backlog) {
	t.Helper()
	count, size, expiring := 0, 0, 0
	b.spansOf(func(s span) {
		for _, at := range s.expires() {
			if at != 0 {
				expiring++
			}
		}
		count += s.len()
		size += s.size()
	})
	if b.count != count || b.size != size {
		t.Fatalf("group %q holds %d messages of %d bytes and says %d of %d", b.Group, count, size, b.count, b.size)
	}
	if b.expiring != expiring {
		t.Fatalf("group %q holds %d that expire and says %d", b.Group, expiring, b.expiring)
	}
	if b.accepted != b.settled+uint64(b.count) {
		t.Fatalf("group %q accepted %d, settled %d and holds %d", b.Group, b.accepted, b.settled, b.count)
	}
	seqs := held(b)
	if len(slices.Compact(seqs)) != count {
		t.Fatalf("group %q holds a message twice: %v", b.Group, seqs)
	}
	for _, q := range []*spans{&b.fresh, &b.again} {
		last := uint64(0)
		q.each(func(s span) {
			if s.seq <= last {
				t.Fatalf("group %q queues %d behind %d", b.Group, s.seq, last)
			}
			last = s.seq + uint64(s.len()) - 1
		})
	}
	if b.queued() != b.fresh.count+b.again.count || (b.source() == nil) != (b.queued() == 0) {
		t.Fatalf("group %q has %d queued and a source: %t", b.Group, b.queued(), b.source() != nil)
	}
}

func TestBacklogKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &Backlog{Group: "g"}
		now := time.Unix(1000, 0)
		limits := messages.QueueLimits{Messages: rapid.IntRange(1, 30).Draw(t, "messages"), Bytes: rapid.IntRange(100, 2000).Draw(t, "bytes")}
		var c *chunk
		var everyChunk []*chunk
		unsettled := map[uint64]bool{} // the model: what done has to wait for
		var out []span                 // on the way, as if a link had them
		link := NewLink("m", 1, 1<<20)
		b.links = append(b.links, link)
		sent := uint64(0)

		settled := func(s span) {
			for i := range s.len() {
				delete(unsettled, s.seq+uint64(i))
			}
			b.settle(s)
		}
		accept := func() {
			m := recordtest.Numbered(b.accepted+1, rapid.IntRange(8, 100).Draw(t, "size"))
			size := messages.RecordSize(m)
			if !b.room(size, limits) {
				before := held(b)
				queued := b.fresh.count
				n, bytes, ok := b.dropOldest(size, limits, nil)
				if ok != b.room(size, limits) {
					t.Fatalf("room %t, but it says %t", b.room(size, limits), ok)
				}
				if !ok && queued > 0 && b.fresh.count == queued && n > 0 {
					t.Fatal("it counts drops that it did not make")
				}
				if n == 0 != (bytes == 0) || len(before)-len(held(b)) != n {
					t.Fatalf("says %d messages of %d bytes, dropped %d", n, bytes, len(before)-len(held(b)))
				}
				left := held(b)
				for _, seq := range before {
					if _, still := slices.BinarySearch(left, seq); !still {
						delete(unsettled, seq)
					}
				}
				if !ok {
					return
				}
			}
			if c == nil || !c.fits(size) {
				if c != nil {
					c.release(1)
				}
				c = &chunk{buf: make([]byte, 0, 512), live: 1}
				everyChunk = append(everyChunk, c)
			}
			b.append(c, c.add(m), size)
			unsettled[b.accepted] = true
		}
		send := func() {
			if src := b.source(); src != nil {
				s := src.take(rapid.IntRange(1, src.front().len()).Draw(t, "n"))
				link.out.add(sent+1, s)
				sent += uint64(s.len())
			}
		}
		land := func(then func(span)) func() {
			return func() {
				if link.out.empty() {
					return
				}
				out = out[:0]
				seq := rapid.Uint64Range(link.out.items[link.out.head].first, sent).Draw(t, "seq")
				link.out.remove(seq, seq, func(x *sentSpan) { out = append(out, x.span) })
				for _, s := range out {
					then(s)
				}
			}
		}
		postpone := land(func(s span) {
			s.nacks, s.again = s.nacks+1, true
			b.postpone(s, now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "delay"))*time.Second))
		})
		requeueDue := func() {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "pass")) * time.Second)
			due, next := 0, time.Time{}
			for _, d := range b.delayed {
				if !d.due.After(now) {
					due++
				} else if next.IsZero() || d.due.Before(next) {
					next = d.due
				}
			}
			if n, at := b.requeueDue(now); n != due || !at.Equal(next) {
				t.Fatalf("%d ripe, next at %v; want %d, %v", n, at, due, next)
			}
		}
		clear := func() {
			if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
				return
			}
			before, onLink := b.count, len(sentRecords(slices.Collect(link.out.all())))
			bytes := b.size
			n, dropped := b.clear(nil)
			if n != before-onLink || dropped != bytes-b.size || b.count != onLink {
				t.Fatalf("gave up %d messages of %d bytes, of %d with %d out", n, dropped, before, onLink)
			}
			left := held(b)
			for seq := range unsettled {
				if _, still := slices.BinarySearch(left, seq); !still {
					delete(unsettled, seq)
				}
			}
		}
		moves := []func(){accept, accept, accept, send, send, land(settled), postpone, requeueDue, clear}
		for range rapid.IntRange(0, 120).Draw(t, "moves") {
			rapid.SampledFrom(moves).Draw(t, "move")()
			checkBooks(t, b)
			if b.count > limits.Messages || b.size > limits.Bytes {
				t.Fatalf("%d messages of %d bytes where %+v were allowed", b.count, b.size, limits)
			}
			if got := held(b); len(got) != len(unsettled) {
				t.Fatalf("holds %v, want %v", got, unsettled)
			}
			goal := rapid.Uint64Range(0, b.accepted+1).Draw(t, "goal")
			want := true
			for seq := range unsettled {
				want = want && seq > goal
			}
			if got := b.done(goal); got != want {
				t.Fatalf("done up to %d of %d: %t, but unsettled are %v", goal, b.accepted, got, unsettled)
			}
		}

		link.out.remove(0, sent, func(x *sentSpan) { settled(x.span) })
		b.clear(nil)
		if c != nil {
			c.release(1)
		}
		for i, c := range everyChunk {
			if c.live != 0 {
				t.Fatalf("chunk %d has %d reasons to live at the end", i, c.live)
			}
		}
		if b.count != 0 || b.size != 0 || b.settled != b.accepted {
			t.Fatalf("%d messages of %d bytes at the end, %d of %d settled", b.count, b.size, b.settled, b.accepted)
		}
	})
}

// A failed message has been waiting for longer than any that was never sent.
func TestDropOldestTakesWhatNoLinkHas(t *testing.T) {
	c := filled(8, 8, 8)
	b := &Backlog{Group: "g"}
	for i := range c.ends {
		b.append(c, uint32(i), span{c: c, from: uint32(i), to: uint32(i + 1)}.size())
	}
	back := b.fresh.take(1)
	back.again = true
	b.again.insert(back)
	n, _, ok := b.dropOldest(back.size(), messages.QueueLimits{Messages: 3, Bytes: 1000}, nil)
	if got := held(b); n != 1 || !ok || !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("dropped %d, room %t, left are %v; want the oldest, 1, to go", n, ok, got)
	}

	for !b.fresh.empty() {
		b.again.insert(b.fresh.take(1))
	}
	n, _, ok = b.dropOldest(back.size(), messages.QueueLimits{Messages: 2, Bytes: 1000}, nil)
	if got := held(b); n != 1 || !ok || !slices.Equal(got, []uint64{3}) {
		t.Errorf("dropped %d, room %t, left are %v; want 2 to go although it was sent before", n, ok, got)
	}
}

// What would not make room anyway is not given up.
func TestDropOldestDropsNothingInVain(t *testing.T) {
	c := filled(100, 8, 8)
	b := &Backlog{Group: "g"}
	for i := range c.ends {
		b.append(c, uint32(i), span{c: c, from: uint32(i), to: uint32(i + 1)}.size())
	}
	link := NewLink("m", 1, 1<<20)
	b.links = append(b.links, link)
	link.out.add(1, b.fresh.take(1))
	n, bytes, ok := b.dropOldest(90, messages.QueueLimits{Messages: 10, Bytes: 150}, nil)
	if n != 0 || bytes != 0 || ok {
		t.Errorf("gave up %d messages of %d bytes (room: %t) for one that has no room beside what the link holds", n, bytes, ok)
	}
	checkBooks(t, b)
}

func TestParkedAreBounded(t *testing.T) {
	c := filled(make([]int, parkedLimit+10)...)
	b := &Backlog{Group: "g"}
	for i := range c.ends {
		b.append(c, uint32(i), span{c: c, from: uint32(i), to: uint32(i + 1)}.size())
	}
	for i := range parkedLimit + 10 {
		s := b.fresh.take(1)
		s.nacks = uint16(i)
		b.park(s, "no", false)
	}
	if len(b.parked) != parkedLimit {
		t.Fatalf("%d parked copies, the limit is %d", len(b.parked), parkedLimit)
	}
	for i, p := range b.parked {
		if p.Attempts != i+10 || p.Group != "g" || p.Cause != "no" {
			t.Fatalf("copy %d is %+v, want the newest kept in order", i, p)
		}
	}
}
