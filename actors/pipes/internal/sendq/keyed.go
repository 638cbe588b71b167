package sendq

// Groups that are KeyAffinity: messages with a key wait in lanes, of which one message at
// a time is out. Those without a key wait and go as in every group. All of it is under the
// queue's lock.

import (
	"math"
	"slices"

	"github.com/penstock-io/penstock/actors/pipes/internal/affinity"
	"github.com/penstock-io/penstock/messages"
)

// keyed is what waits in lanes.
type keyed struct {
	*affinity.Table[*Link, span]
	size int     // bytes
	due  []*Link // that can take something, and are to be called
}

// key is that of the first record of s; empty when that has none.
func (s span) key() []byte { return messages.RecordKey(s.bytes()) }

// Sequence is that of the first record in the pipe.
func (s span) Sequence() uint64 { return s.seq }

// each calls visit with the key of each record of s that has one.
func (s span) each(visit func(key []byte)) {
	for s.len() > 0 {
		var one span
		one, s = s.cut(1)
		if key := one.key(); len(key) > 0 {
			visit(key)
		}
	}
}

// put has s, which is one record of size bytes, wait in the lane of its key.
func (k *keyed) put(key []byte, s span, size int) {
	k.size += size
	k.stir(k.Put(key, s))
}

// stir has a link called that can take something.
func (k *keyed) stir(l *Link, can bool) {
	if can && (len(k.due) == 0 || k.due[len(k.due)-1] != l) {
		k.due = append(k.due, l)
	}
}

// worthwhile reports whether l is to be called for what it can take. A member that has more
// in hand than it can begin with gets no frame for a few messages more: they would wait
// there, too. Each ack looks again.
func (k *keyed) worthwhile(l *Link) bool {
	ready := l.seat.Ready()
	return ready > 0 && (l.out.count < 2*l.concurrency || 4*ready >= l.out.count)
}

// requeue has s wait to be sent again.
func (b *Backlog) requeue(s span) {
	if b.keyed == nil {
		b.again.insert(s)
		return
	}
	for s.len() > 0 {
		var one span
		one, s = s.cut(1)
		if key := one.key(); len(key) > 0 {
			b.keyed.put(key, one, one.size())
		} else {
			b.again.insert(one)
		}
	}
}

// leaves notes that what is of a lane, or of none, is out no more, whatever becomes of it.
func (b *Backlog) leaves(of affinity.Lane) {
	if !of.IsNone() && b.keyed != nil {
		b.keyed.stir(b.keyed.Done(of))
	}
}

// enrol gives l keys, or gives them to others, as its member reads and stays or does not.
func (b *Backlog) enrol(l *Link) {
	k := b.keyed
	if k == nil || l.eligible() == (l.seat != nil) {
		return
	}
	if l.seat != nil {
		k.Leave(l.seat)
		l.seat = nil
	} else {
		l.seat = k.Join(l, l.Member)
	}
	for _, x := range b.links {
		k.stir(x, x.seat.Ready() > 0)
	}
}

// remode has what waits wait as settings of another mode want it. There are no links.
func (b *Backlog) remode(s messages.GroupSettings) {
	b.settings = s
	if (s.Mode == messages.KeyAffinity) == (b.keyed != nil) {
		return
	}
	was := b.keyed
	if b.keyed = nil; was == nil {
		b.keyed = &keyed{Table: affinity.New[*Link, span]()}
	}
	var waits []span
	if was != nil {
		waits = was.Clear()
	} else {
		for _, from := range []*spans{&b.again, &b.fresh} {
			waits = append(waits, from.items[from.head:]...)
			*from = spans{}
		}
	}
	for _, x := range waits {
		b.requeue(x)
	}
	b.resting = 0
	for _, d := range b.delayed {
		if d.restsOrder() {
			b.rests(d.span)
		}
	}
	for _, d := range b.exhausted {
		if !d.rejected {
			b.rests(d.span)
		}
	}
}

// unkeyedIsOlder reports whether what waits without a key was accepted before what l can
// take that has one.
func (b *Backlog) unkeyedIsOlder(l *Link) bool {
	src := b.source()
	if src == nil {
		return false
	}
	next := b.keyed.Next(l.seat)
	return next != nil && src.front().seq < next.seq
}

// seenAtOnce is how many messages are looked at together.
const seenAtOnce = 16

// nextKeyed is Next of what has a key. wait tells that nothing else may be sent either,
// until what is out is settled: what may be a member's death goes alone. mu is held.
func (q *Queue) nextKeyed(b *Backlog, l *Link, o offer) (out Batch, ok, wait bool) {
	k := b.keyed
	if !k.worthwhile(l) {
		return Batch{}, false, false
	}
	like := *k.Next(l.seat)
	if like.deaths > 0 && !l.out.empty() {
		return Batch{}, false, true
	}
	most := int(min(o.freeMessages, math.MaxInt32))
	if like.deaths > 0 {
		most = min(most, apart(like, l.concurrency))
	}
	var seen [seenAtOnce]span
	var sizes [seenAtOnce]int
	left, bytes, n, at := 0, 0, 0, 0
	for range expiredAtOnce {
		if at == n {
			n, at = k.Peek(l.seat, seen[:]), 0
			for i := range n {
				sizes[i] = seen[i].size()
			}
		}
		if n == 0 || out.Count >= most {
			break
		}
		s, size := &seen[at], sizes[at]
		if out.Count == 0 {
			like = *s
		} else if size > left || uint64(bytes+size) > o.freeBytes || !like.alike(s) {
			break
		}
		at++
		lane := k.Take(l.seat)
		k.size -= size
		if s.c.expiresAny() {
			if _, expired := s.run(unixNano); expired {
				b.leaves(lane)
				q.expire(b, *s)
				continue
			}
		}
		if out.Count == 0 {
			out = Batch{
				First: l.sent + 1, Attempt: s.attempt(), Deaths: int(s.deaths), Redelivered: s.again, Nacks: l.nacks, Records: s.bytes(),
			}
			if size <= smallRecord {
				l.writing = newChunk(size)
				left = l.writing.left()
			} else { // alone, from where it lies
				s.c.live++
				l.writing = s.c
			}
		}
		if left > 0 {
			l.gather.add(s)
			left -= size
		}
		l.out.addKeyed(sentSpan{out.First + uint64(out.Count), *s, lane})
		out.Count++
		bytes += size
	}
	if out.Count == 0 {
		if k.Next(l.seat) != nil {
			q.call(l) // there is more to give up before the next batch
		}
		return Batch{}, false, false
	}
	b.turn = max(b.turn, l.turn)
	l.turn = b.turn + uint64(out.Count)
	l.sent += uint64(out.Count)
	l.sentBytes += uint64(bytes)
	l.phase = linkWriting
	b.counters.Sent += uint64(out.Count)
	b.place(l)
	return out, true, false
}

// gather is what is copied into one frame.
type gather struct {
	parts [][]byte
	pins  []*chunk // where the parts lie: kept until the writer comes again
}

func (g *gather) add(s *span) {
	g.parts = append(g.parts, s.bytes())
	if n := len(g.pins); n == 0 || g.pins[n-1] != s.c {
		s.c.live++
		g.pins = append(g.pins, s.c)
	}
}

// into copies the parts to the end of b. It is for the writer, who needs no lock for it: most
// of the time is spent waiting for memory.
func (g *gather) into(b []byte) []byte {
	for _, part := range g.parts {
		b = append(b, part...)
	}
	clear(g.parts)
	g.parts = g.parts[:0]
	return b
}

// unpin gives up where the parts lie. The queue's lock is held.
func (g *gather) unpin() {
	for _, c := range g.pins {
		c.release(1)
	}
	clear(g.pins)
	g.pins = g.pins[:0]
}

// alike reports whether next can go in one frame with s.
func (s *span) alike(next *span) bool {
	return s.nacks == next.nacks && s.deaths == next.deaths && s.again == next.again
}

// siftKeyed is sift of what waits in lanes. mu is held.
func (q *Queue) siftKeyed(b *Backlog, now func() int64, most int) (left int) {
	if b.keyed == nil || most == 0 {
		return most
	}
	over := func(s span) bool {
		_, expired := s.run(now)
		return expired
	}
	for _, s := range b.keyed.Sift(most, over) {
		b.keyed.size -= s.size()
		q.expire(b, s)
		most--
	}
	return most
}

// extractKeyed takes out the message of that key and sequence, if it waits in a lane.
func (b *Backlog) extractKeyed(key []byte, seq uint64) (span, bool) {
	if b.keyed == nil {
		return span{}, false
	}
	s, ok := b.keyed.Extract(key, seq)
	if ok {
		b.keyed.size -= s.size()
	}
	return s, ok
}

// oldestKeyed is the lowest sequence that waits in a lane, or the one behind all.
func (b *Backlog) oldestKeyed() uint64 {
	if b.keyed != nil {
		if seq, ok := b.keyed.Oldest(); ok {
			return seq
		}
	}
	return b.accepted + 1
}

// blockedShown is how many of the keys that wait are named.
const blockedShown = 8

// inOrder is how b stands where its group keeps an order.
func (b *Backlog) inOrder() (o messages.PipeOrder) {
	switch {
	case b.keyed != nil:
		o.Keys, o.BlockedKeys, o.Blocked = b.keyed.Counts()
		for _, x := range b.keyed.Look(blockedShown) {
			k := messages.BlockedKey{Key: slices.Clone(x.First.key()), Waiting: x.Waiting}
			if x.Out {
				k.Member = x.By.Member
			}
			o.Blockers = append(o.Blockers, k)
		}
	case b.settings.Mode == messages.Failover:
		if b.active != nil {
			o.Active = b.active.Member
		}
		if b.resting > 0 {
			o.Blocked = b.queued()
		}
	}
	return o
}
