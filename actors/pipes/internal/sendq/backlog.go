package sendq

// One group's share of a destination: what waits, what failed and waits for its
// next try, what is out on links. All of it is under the queue's lock.

import (
	"container/heap"
	"math"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/internal/age"
	"github.com/penstock-io/penstock/messages"
)

// Backlog is what is kept for one group. It outlives the group's actor, so a crash
// there loses nothing.
type Backlog struct {
	// Group is the group's name.
	Group string
	// Shown says that etcd has shown the group. The group's actor alone uses it.
	Shown    bool
	expected bool // a member is in the group, though it may have no link

	settings messages.GroupSettings

	fresh     spans // never sent
	again     spans // to be sent again, lowest sequence first
	delayed   delayQueue
	exhausted []exhausted       // at a limit or rejected, on their way to the handler
	parked    []messages.Parked // the same, kept for inspection
	links     []*Link
	lanes     lanes  // of links, those that could come for a batch
	zones     *zones // where members of one zone come first, or nil
	turn      uint64 // of the link that got a batch last, as rank counts turns

	accepted uint64 // pipe sequence of the last message
	settled  uint64
	count    int // accepted and not settled
	size     int
	counters messages.PipeCounters
	expiring int       // of count, those that expire some time
	expired  drops     // by their ExpiresAt
	unheard  int       // of expired, that Expired did not take
	untold   drops     // by policy
	marks    age.Marks // of accepted

	active  *Link            // where the mode is Failover: who gets everything, or nil
	resting int              // messages to be sent again that must wait: in delayed or exhausted
	since   map[string]int64 // CreateRevisions of the members that etcd shows
	keyed   *keyed           // where the mode is KeyAffinity, or nil
}

// Plain reports whether it is what plain peers get.
func (b *Backlog) Plain() bool { return b.Group == messages.PlainGroup }

// parkedLimit bounds the copies kept for inspection, for each group.
const parkedLimit = 64

// exhausted is a message for the dead-letter handler.
type exhausted struct {
	span
	reason   string
	rejected bool // no member gets it again
}

func (s span) message() messages.Message {
	var r messages.Payload
	if _, err := messages.ConsumeRecord(s.bytes(), &r); err != nil {
		panic(err) // we encoded it
	}
	return r.Clone().Message()
}

// delay is one failed message and when it may be tried again.
type delay struct {
	due time.Time
	span
	leased bool       // until it is due, a member may hand it out
	letter *exhausted // what is due is a call of the dead-letter handler, and no member gets it
}

// restsOrder reports whether its order waits for it. It does not for what was rejected.
func (d delay) restsOrder() bool { return d.letter == nil || !d.letter.rejected }

// lettersDue reports whether exhausted messages are, or will be, for the dead-letter handler.
func (b *Backlog) lettersDue() bool {
	return len(b.exhausted) > 0 || slices.ContainsFunc(b.delayed, func(d delay) bool { return d.letter != nil && !d.letter.rejected })
}

type delayQueue []delay

func (q delayQueue) Len() int           { return len(q) }
func (q delayQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q delayQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *delayQueue) Push(x any)        { *q = append(*q, x.(delay)) }
func (q *delayQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = delay{}
	*q = old[:len(old)-1]
	return last
}

// append queues one record of size bytes, in chunk c at index i.
func (b *Backlog) append(c *chunk, i uint32, size int) {
	b.accepted++
	c.live++
	b.count++
	b.size += size
	b.counters.Accepted++
	b.fresh.extend(c, i, b.accepted, size)
}

// appendKeyed is append of a record that waits in the lane of its key.
func (b *Backlog) appendKeyed(c *chunk, i uint32, key []byte, size int) {
	b.accepted++
	c.live++
	b.count++
	b.size += size
	b.counters.Accepted++
	b.keyed.put(key, span{c: c, from: i, to: i + 1, seq: b.accepted}, size)
}

// appendFirst is append of a record that is sent before those that nobody has seen. Members
// have died over it that often.
func (b *Backlog) appendFirst(c *chunk, i uint32, size, deaths int) {
	b.accepted++
	c.live++
	b.count++
	b.size += size
	b.counters.Accepted++
	b.again.insert(span{c: c, from: i, to: i + 1, seq: b.accepted, deaths: uint16(min(deaths, math.MaxUint16)), again: true})
}

func (b *Backlog) queued() int {
	n := b.fresh.count + b.again.count
	if b.keyed != nil {
		n += b.keyed.Len()
	}
	return n
}

// queuedSize is the same in bytes.
func (b *Backlog) queuedSize() int {
	n := b.fresh.size + b.again.size
	if b.keyed != nil {
		n += b.keyed.size
	}
	return n
}

// source is the queue that the next batch comes from, or nil.
func (b *Backlog) source() *spans {
	switch {
	case !b.again.empty():
		return &b.again
	case !b.fresh.empty():
		return &b.fresh
	}
	return nil
}

// settle forgets s, which was handled.
func (b *Backlog) settle(s span) { b.finish(s, nil) }

// finish forgets s, which was handled, or given up for a cause.
func (b *Backlog) finish(s span, cause error) {
	for _, w := range s.watches() {
		if w != nil {
			w.settle(b.Group, cause)
		}
	}
	for _, at := range s.expires() {
		if at != 0 {
			b.expiring--
		}
	}
	b.count -= s.len()
	b.size -= s.size()
	b.settled += uint64(s.len())
	s.c.release(s.len())
}

// postpone puts s aside until due, with bytes of its own.
func (b *Backlog) postpone(s span, due time.Time) {
	b.delay(s.own(), due)
}

func (b *Backlog) delay(own span, due time.Time) {
	b.rests(own)
	heap.Push(&b.delayed, delay{due: due, span: own})
}

// park keeps a copy of s to look at, in place of the oldest when there are many.
func (b *Backlog) park(s span, cause string, rejected bool) {
	if len(b.parked) == parkedLimit {
		b.parked = append(b.parked[:0], b.parked[1:]...)
	}
	b.parked = append(b.parked, messages.Parked{
		Message: s.message(), Group: b.Group, Attempts: int(s.nacks), Deaths: int(s.deaths), Rejected: rejected, Cause: cause,
	})
}

// requeueDue queues again what is due and returns when the next is, if any.
func (b *Backlog) requeueDue(now time.Time) (n int, next time.Time) {
	for len(b.delayed) > 0 && !b.delayed[0].due.After(now) {
		d := heap.Pop(&b.delayed).(delay)
		if d.letter != nil {
			b.exhausted = append(b.exhausted, *d.letter)
			continue
		}
		n += d.len()
		b.rested(d.span)
		b.requeue(d.span)
	}
	if len(b.delayed) > 0 {
		next = b.delayed[0].due
	}
	return n, next
}

// dropOldest makes room for one message of size bytes by giving up the oldest
// that no link has, and returns what it gave up and whether there is room now.
// It gives nothing up in vain. why is the cause for those who watch.
func (b *Backlog) dropOldest(size int, limits messages.QueueLimits, why func(*Backlog) error) (n, bytes int, ok bool) {
	held, heldBytes := b.count-b.queued(), b.size-b.queuedSize()
	if held >= limits.Messages || Memory(heldBytes+size) > limits.Bytes {
		return 0, 0, false
	}
	for !b.room(size, limits) {
		s := b.dropFirst()
		n++
		bytes += s.size()
		var cause error
		if len(s.watches()) > 0 {
			cause = why(b)
		}
		b.finish(s, cause)
	}
	return n, bytes, true
}

// dropFirst takes the oldest message out that waits. There must be one.
func (b *Backlog) dropFirst() span {
	src := b.source()
	if b.keyed != nil && b.keyed.Len() > 0 && (src == nil || b.oldestKeyed() < src.front().seq) {
		s := b.keyed.Drop(span.key)
		b.keyed.size -= s.size()
		return s
	}
	return src.take(1)
}

// room reports whether one more message of size bytes may be accepted. Bytes are
// counted with the eighth that chunks may waste, so that the limit is one of
// memory.
func (b *Backlog) room(size int, limits messages.QueueLimits) bool {
	return b.count < limits.Messages && Memory(b.size+size) <= limits.Bytes
}

// Memory is what a queue counts for size bytes of records.
func Memory(size int) int { return size + size/8 }

// done reports whether everything up to pipe sequence seq is settled.
func (b *Backlog) done(seq uint64) bool {
	if b.count == 0 {
		return true
	}
	if b.settled+uint64(b.count) <= seq {
		return false // everything accepted is asked for, and something is out
	}
	low := func(s span) bool { return s.seq <= seq }
	if b.oldestKeyed() <= seq || !b.fresh.empty() && low(*b.fresh.front()) || !b.again.empty() && low(*b.again.front()) {
		return false
	}
	for _, d := range b.delayed {
		if low(d.span) {
			return false
		}
	}
	for _, d := range b.exhausted {
		if low(d.span) {
			return false
		}
	}
	for _, l := range b.links {
		for f := range l.out.all() {
			if low(f.span) {
				return false
			}
		}
	}
	return true
}

// clear gives up everything that no link holds, for cause, and returns what that was.
func (b *Backlog) clear(cause error) (n, bytes int) {
	drop := func(s span) {
		n += s.len()
		bytes += s.size()
		b.finish(s, cause)
	}
	for _, q := range []*spans{&b.again, &b.fresh} {
		for !q.empty() {
			drop(q.take(q.front().len()))
		}
	}
	if b.keyed != nil {
		for _, s := range b.keyed.Clear() {
			drop(s)
		}
		b.keyed.size = 0
	}
	for _, d := range b.delayed {
		drop(d.span)
	}
	for _, d := range b.exhausted {
		drop(d.span)
	}
	b.delayed, b.exhausted, b.resting = nil, nil, 0
	return n, bytes
}

// abandon gives up everything, what links hold too, for cause, and returns what that
// was.
func (b *Backlog) abandon(cause error) (n, bytes int) {
	n, bytes = b.count, b.size
	b.clear(cause)
	for _, l := range b.links {
		for _, f := range l.out.takeAll() {
			b.finish(f.span, cause) // the writer has pinned what it writes
		}
		b.place(l)
	}
	return n, bytes
}
