package sendq

// Groups that are KeyAffinity: messages with a key wait in lanes, of which one message at
// a time is out. Those without a key wait and go as in every group. All of it is under the
// queue's lock.

import (
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

// hash is of the key of s, which is one record; false when that has none.
func (s span) hash() (uint64, bool) {
	key := messages.RecordKey(s.bytes())
	return affinity.Hash(key), len(key) > 0
}

// each calls visit with each record of s that has a key.
func (s span) each(visit func(hash uint64)) {
	for s.len() > 0 {
		var one span
		one, s = s.cut(1)
		if hash, ok := one.hash(); ok {
			visit(hash)
		}
	}
}

// put has s, which is one record, wait in the lane of its key, and reports whether it has
// one.
func (k *keyed) put(s span) bool {
	hash, ok := s.hash()
	if ok {
		k.size += s.size()
		k.stir(k.Put(hash, s.seq, s))
	}
	return ok
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
	ready := k.Ready(l)
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
		if one, s = s.cut(1); !b.keyed.put(one) {
			b.again.insert(one)
		}
	}
}

// leaves notes that x is out no more, whatever becomes of it.
func (b *Backlog) leaves(x sentSpan) {
	if x.lane != nil && b.keyed != nil {
		b.keyed.stir(b.keyed.Done(x.lane))
	}
}

// enrol gives l keys, or gives them to others, as its member reads and stays or does not.
func (b *Backlog) enrol(l *Link) {
	k := b.keyed
	if k == nil || l.eligible() == k.Has(l) {
		return
	}
	if k.Has(l) {
		k.Leave(l)
	} else {
		k.Join(l, l.Member)
	}
	for _, x := range b.links {
		_, can := k.Next(x)
		k.stir(x, can)
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
	next, any := b.keyed.Next(l)
	return any && src.front().seq < next.seq
}

// nextKeyed is Next of what has a key. wait tells that nothing else may be sent either,
// until what is out is settled: what may be a member's death goes alone. mu is held.
func (q *Queue) nextKeyed(b *Backlog, l *Link, o offer) (out Batch, ok, wait bool) {
	k := b.keyed
	like, any := k.Next(l)
	if !any || !k.worthwhile(l) {
		return Batch{}, false, false
	}
	if like.deaths > 0 && !l.out.empty() {
		return Batch{}, false, true
	}
	var into *chunk
	bytes := 0
	for left := expiredAtOnce; ; left-- {
		s, any := k.Next(l)
		size := 0
		switch {
		case !any:
		case left == 0:
			any = false
		case out.Count == 0:
			like, size = s, s.size()
		case uint64(out.Count) >= o.freeMessages, s.deaths > 0 && out.Count >= apart(s, l.concurrency), !like.alike(s):
			any = false
		default:
			size = s.size()
			any = into != nil && size <= into.left() && uint64(bytes+size) <= o.freeBytes
		}
		if !any {
			break
		}
		_, lane, _ := k.Take(l)
		k.size -= size
		if _, expired := s.run(unixNano); expired {
			b.leaves(sentSpan{lane: lane})
			q.expire(b, s)
			continue
		}
		if out.Count == 0 {
			out = Batch{
				First: l.sent + 1, Attempt: s.attempt(), Deaths: int(s.deaths), Redelivered: s.again, Nacks: l.nacks, Records: s.bytes(),
			}
			if size <= smallRecord {
				into = newChunk(size)
				l.writing = into
			} else { // alone, from where it lies
				s.c.live++
				l.writing = s.c
			}
		}
		if into != nil {
			into.buf = append(into.buf, s.bytes()...)
		}
		l.out.add(out.First+uint64(out.Count), s, lane)
		out.Count++
		bytes += size
	}
	if out.Count == 0 {
		if _, more := k.Next(l); more {
			q.call(l) // there is more to give up before the next batch
		}
		return Batch{}, false, false
	}
	if into != nil {
		out.Records = into.buf
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

// alike reports whether next can go in one frame with s.
func (s span) alike(next span) bool {
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
func (b *Backlog) extractKeyed(key, seq uint64) (span, bool) {
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
		var some []affinity.Blocked[*Link, span]
		o.Keys, o.BlockedKeys, o.Blocked, some = b.keyed.Look(blockedShown)
		for _, x := range some {
			k := messages.BlockedKey{Key: slices.Clone(messages.RecordKey(x.First.bytes())), Waiting: x.Waiting}
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
