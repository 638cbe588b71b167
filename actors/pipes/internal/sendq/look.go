package sendq

// What a queue shows to whoever looks, and how old the oldest message is that is
// accepted and not settled.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
)

// BacklogLook is what one group has to send, as of one moment. Queued, InFlight,
// Failed and Exhausted add up to what was accepted and is not settled.
type BacklogLook struct {
	Links     int
	Queued    int // messages that wait to be sent, for the first time or again
	InFlight  int // sent, and not settled
	Failed    int // wait for their next try
	Exhausted int // at the limit of attempts, wait for the dead-letter handler
	Bytes     int // of all these
	// Due is when the next failed message is to be tried, zero when there is none.
	Due time.Time
	// Policy is what the full group does to Send.
	Policy messages.QueuePolicy
}

// Look returns what b has to send.
func (q *Queue) Look(b *Backlog) BacklogLook {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := BacklogLook{Links: len(b.links), Queued: b.queued(), Exhausted: len(b.exhausted), Bytes: b.size, Policy: q.policy(b)}
	for _, d := range b.delayed {
		l.Failed += d.len()
	}
	if len(b.delayed) > 0 {
		l.Due = b.delayed[0].due
	}
	l.InFlight = b.count - l.Queued - l.Failed - l.Exhausted
	return l
}

// InOrder returns how a group stands that keeps an order.
func (q *Queue) InOrder(b *Backlog) messages.PipeOrder {
	q.mu.Lock()
	defer q.mu.Unlock()
	return b.inOrder()
}

// LinkLook is one link's place, as of one moment.
type LinkLook struct {
	Sent     uint64 // messages, ever
	InFlight int    // sent, and not settled
	// Credit is how many messages more the member takes.
	Credit int
	// Hung says that the member kept something for longer than its AckWait, and gets
	// no more until it has settled it.
	Hung bool
}

// LookAt returns how a link stands.
func (q *Queue) LookAt(l *Link) LinkLook {
	q.mu.Lock()
	defer q.mu.Unlock()
	look := LinkLook{Sent: l.sent, InFlight: l.out.count, Hung: l.tenure.standing == linkHung}
	if l.credit > l.sent {
		look.Credit = int(l.credit - l.sent)
	}
	return look
}

// Note notes how far the groups are. It is called about once a second, as long as
// somebody wants to know ages.
func (q *Queue) Note(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.backlogs {
		b.marks.Note(now, b.accepted, b.oldest())
	}
}

// Ages are of each group's oldest unsettled message, as far as that was noted.
func (q *Queue) Ages(now time.Time) (out []messages.OldestMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.backlogs {
		out = append(out, messages.OldestMessage{Destination: q.name, Group: b.Group, Age: b.marks.Of(now, b.oldest())})
	}
	return out
}

// oldest is the lowest pipe sequence that is not settled, or the next one. mu is held.
func (b *Backlog) oldest() uint64 {
	low := b.accepted + 1
	for _, q := range []*spans{&b.again, &b.fresh} {
		if !q.empty() {
			low = min(low, q.front().seq)
		}
	}
	low = min(low, b.oldestKeyed())
	for _, d := range b.delayed {
		low = min(low, d.seq)
	}
	for _, x := range b.exhausted {
		low = min(low, x.seq)
	}
	for _, l := range b.links {
		for s := range l.out.all() {
			low = min(low, s.seq)
		}
	}
	return low
}
