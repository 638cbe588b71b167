package sendq

// The sending half of one link: credit, what is out, the writer's bell and its batches.

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/internal/affinity"
	"github.com/penstock-io/penstock/actors/pipes/internal/order"
	"github.com/penstock-io/penstock/messages"
)

// Link is one member's place in its group's queue. The queue's lock guards it, but
// for its channels.
type Link struct {
	// Member is the member's id.
	Member string
	// Zone is where the member runs, or empty. It is set before Attach.
	Zone string

	far         bool     // another zone than its one is preferred
	stands      nearness // where its zone is preferred
	phase       linkPhase
	concurrency int    // messages the member handles at once
	sent        uint64 // link sequence of the last message sent
	sentBytes   uint64
	turn        uint64 // when it is to get its next batch
	lane        lane   // its place among those that could come for a batch
	taken       uint64 // messages that the member has settled, as its acks say
	allowed     uint64 // messages that the member's last ack allowed to be out
	window      uint64 // messages that the member may allow ahead of what was sent
	credit      uint64 // absolute: messages the member allows on this link
	creditBytes uint64
	out         inflight
	seat        *affinity.Member[*Link] // where it has keys, or nil
	writing     *chunk                  // pinned while the writer is in the socket
	gather      gather                  // of the frame that is written; its parts are the writer's
	bell        chan struct{}           // wakes the writer; holds one ring
	drain       chan uint64             // for the writer to say: the last sequence, once the member leaves
	granted     uint64                  // the highest credit in messages that the member has said
	grantedSize uint64                  // and in bytes
	draining    bool                    // the member leaves: send no more
	tenure      tenure                  // what is out, in time
	reads       bool                    // the member has a reader, as its credit says
	nacks       uint64                  // of the member, so far
	lease       order.Heard             // of the member, where the group keeps an order
	echo        atomic.Uint64           // for the writer to say: the last ping that was heard
}

// NewLink makes the place of a member that handles concurrency messages at once, at
// least one, and may allow window messages ahead of what was sent. It takes no part
// until Attach.
func NewLink(member string, concurrency int, window uint64) *Link {
	l := &Link{
		Member: member, window: window, phase: linkWriting, concurrency: max(1, concurrency),
		bell: make(chan struct{}, 1), drain: make(chan uint64, 1),
	}
	l.lane.link = l
	return l
}

// Bell rings when the link's writer should ask Next again.
func (l *Link) Bell() <-chan struct{} { return l.bell }

// Drains gives the writer the last sequence of the link, to be said to a member that
// leaves.
func (l *Link) Drains() <-chan uint64 { return l.drain }

// Drained has the writer say which sequence is the last. Who asks again before it
// has gets one reply.
func (l *Link) Drained(last uint64) {
	select {
	case l.drain <- last:
	default:
	}
}

func (l *Link) offer() offer {
	o := offer{phase: l.phase, window: l.allowed}
	if l.draining || l.tenure.standing == linkHung {
		return offer{phase: linkClosed}
	}
	if l.out.suspected() {
		return o // what its member may die over is out alone
	}
	if l.credit > l.sent {
		o.freeMessages = l.credit - l.sent
	}
	if l.tenure.standing == linkTried {
		o.freeMessages = min(o.freeMessages, l.onTrial())
	}
	if l.creditBytes > l.sentBytes {
		o.freeBytes = l.creditBytes - l.sentBytes
	}
	return o
}

// outstanding is how many messages the member has that it has not settled. At most once
// the queue settles them first, and only the member's acks say that.
func (l *Link) outstanding(mode messages.Mode) uint64 {
	if mode == messages.AtMostOnce {
		return l.sent - min(l.sent, l.taken)
	}
	return uint64(l.out.count)
}

// place puts l where it stands among the links that could come for a batch. It is called
// after each change of what a link has out, may have out or is doing. mu is held.
func (b *Backlog) place(l *Link) {
	o := l.offer()
	in := &b.lanes
	switch z := b.zones; {
	case z == nil:
	case l.far:
		in = &z.far
	default:
		z.moves(l, o)
	}
	in.place(&l.lane, rank{out: l.outstanding(b.settings.Mode), turn: l.turn, free: o.freeMessages}, o.comes() && b.serves(l))
}

// ring wakes the writer. It never blocks.
func (l *Link) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// Batch is one frame's worth of records.
type Batch struct {
	First       uint64 // link sequence of the first record
	Count       int
	Attempt     int    // of all its records
	Deaths      int    // of each of them
	Redelivered bool   // somebody may have seen them
	Nacks       uint64 // of the member, taken by now
	Records     []byte // stays as it is until the link asks for the next batch
}

// Attach gives a new link its place in its group.
func (q *Queue) Attach(b *Backlog, l *Link) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.links = append(b.links, l)
	l.far = b.zones != nil && l.Zone != q.cfg.Zone
	b.place(l)
	q.wake(b)
	q.progress() // a Flush may have waited for it
}

// Next returns the link's next batch, or false when its writer has to wait for the
// bell. It ends the use of the batch before.
func (q *Queue) Next(b *Backlog, l *Link) (out Batch, ok bool) {
	if out, ok = q.nextOf(b, l); len(l.gather.parts) > 0 {
		l.writing.buf = l.gather.into(l.writing.buf)
		out.Records = l.writing.buf
	}
	return out, ok
}

// nextOf is Next but for what is copied.
func (q *Queue) nextOf(b *Backlog, l *Link) (Batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unpin(l)
	if l.phase == linkClosed {
		return Batch{}, false
	}
	called := l.phase == linkRung
	l.phase = linkWaiting
	b.place(l)
	offer := l.offer()
	if !offer.can() || !b.serves(l) {
		return Batch{}, false
	}
	if b.keyed == nil {
		return q.nextUnkeyed(b, l, offer, called)
	}
	// What is older goes first, so that neither keeps the other waiting without end.
	if b.unkeyedIsOlder(l) {
		if out, ok := q.nextUnkeyed(b, l, offer, called); ok {
			return out, true
		}
	}
	if out, ok, wait := q.nextKeyed(b, l, offer); ok || wait {
		return out, ok
	}
	return q.nextUnkeyed(b, l, offer, called)
}

// nextUnkeyed is Next of what waits in no lane. mu is held.
func (q *Queue) nextUnkeyed(b *Backlog, l *Link, offer offer, called bool) (Batch, bool) {
	src, fresh := q.unexpired(b)
	if src == nil {
		if b.source() != nil {
			q.call(l) // there is more to give up before the next batch
		}
		return Batch{}, false
	}
	// Who was called was the first then, and takes its batch. Who comes from a write may
	// have to let another one go first.
	best, most := b.first()
	if best != l && (!called || l.far && most == 0) {
		q.next(b, best)
		return Batch{}, false
	}
	others := b.rivals(l)
	n := min(fresh, share(*src.front(), b.queued(), others, offer))
	if l.far {
		n = min(n, most)
	}
	if src.front().deaths > 0 {
		if !l.out.empty() {
			if best != l {
				q.call(best)
			}
			q.watch(b)
			return Batch{}, false // the ack of what is out comes for it
		}
		n = min(n, apart(*src.front(), l.concurrency))
	}
	s := src.take(n)
	out := Batch{First: l.sent + 1, Count: s.len(), Attempt: s.attempt(), Deaths: int(s.deaths), Redelivered: s.again, Nacks: l.nacks, Records: s.bytes()}
	b.turn = max(b.turn, l.turn)
	l.turn = b.turn + uint64(s.len())
	l.sent += uint64(s.len())
	l.sentBytes += uint64(s.size())
	l.phase, l.writing = linkWriting, s.c
	s.c.live++
	b.counters.Sent += uint64(s.len())
	if b.settings.Mode == messages.AtMostOnce {
		b.settle(s)
		q.progress()
	} else {
		l.out.add(out.First, s)
	}
	b.took(l, s.len())
	b.place(l)
	if others > 0 || b.zones != nil {
		q.wake(b)
	}
	return out, true
}

// unpin gives up the bytes of the batch whose write is over. mu is held.
func (q *Queue) unpin(l *Link) {
	if l.writing != nil {
		l.writing.release(1)
		l.writing = nil
	}
	l.gather.unpin()
}

// wake calls the link that should carry what is queued, if it sleeps. mu is
// held.
func (q *Queue) wake(b *Backlog) {
	if b.settings.Mode == messages.Failover {
		b.elect()
	}
	if k := b.keyed; k != nil {
		for _, l := range k.due {
			if k.worthwhile(l) {
				q.call(l)
			}
		}
		k.due = k.due[:0]
	}
	if b.source() != nil {
		best, _ := b.first()
		q.next(b, best)
	}
}

func (q *Queue) call(l *Link) {
	if l.phase == linkWaiting {
		l.phase = linkRung
		l.ring()
	}
}

// Hold stops new batches on l and returns the last sequence it carried: its
// member leaves.
func (q *Queue) Hold(b *Backlog, l *Link) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.draining = true
	b.enrol(l)
	b.place(l)
	q.wake(b)
	return l.sent
}

// Held is how many links of b carry no more because their members leave.
func (q *Queue) Held(b *Backlog) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range b.links {
		if l.draining {
			n++
		}
	}
	return n
}

// Detach ends a link's place and queues again what it had out. Both of its
// goroutines must be gone: no write may still be reading the bytes. died says
// whether what its member may have been handling counts a death.
func (q *Queue) Detach(b *Backlog, l *Link, died bool, now time.Time) (requeued int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.phase == linkClosed {
		return 0
	}
	q.unpin(l)
	l.phase = linkClosed
	b.place(l)
	b.links = slices.DeleteFunc(b.links, func(x *Link) bool { return x == l })
	b.enrol(l)
	found := suspicion{member: l.Member, cause: errLinkDied, now: now, died: died}
	if died {
		found.suspects = b.handles(l)
	}
	if b.settings.Mode.Ordered() {
		found.rests = l.lease.Over()
	}
	for _, f := range l.out.takeAll() {
		requeued += f.len()
		b.leaves(f.lane)
		q.repeat(b, f.span, &found)
	}
	b.counters.Redelivered += uint64(requeued)
	q.progress()
	q.wake(b)
	return requeued
}
