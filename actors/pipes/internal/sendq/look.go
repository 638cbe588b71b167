package sendq

// What a queue shows to whoever looks.

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
	look := LinkLook{Sent: l.sent, Hung: l.tenure.standing == linkHung}
	if l.credit > l.sent {
		look.Credit = int(l.credit - l.sent)
	}
	for _, f := range l.out.items[l.out.head:] {
		look.InFlight += f.len()
	}
	return look
}
