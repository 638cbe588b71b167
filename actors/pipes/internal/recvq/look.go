package recvq

// What a member's queue shows to whoever looks: how links stand, and how long the oldest
// message is here that has come and is not settled.

import (
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// LinkLook is one link, as of one moment.
type LinkLook struct {
	Waiting int // messages that have come and were not handed out
	InHand  int // handed out, and not settled
	Credit  int // messages more that the sender may send
}

// Look returns how a link stands.
func (l *Link) Look() LinkLook {
	l.lock()
	defer l.mu.Unlock()
	look := LinkLook{Waiting: int(l.received - l.handed)}
	if l.handed > l.acks.Count {
		look.InHand = int(l.handed - l.acks.Count)
	}
	if l.allowed == creditGranted && l.credit > l.received {
		look.Credit = int(l.credit - l.received)
	}
	return look
}

// Note notes how far the links are. It is called about once a second, as long as
// somebody wants to know ages.
func (q *Queue) Note(now time.Time) {
	for _, l := range q.open() {
		l.lock()
		l.arrived.Note(now, l.received, l.acks.Cumulative+1)
		l.mu.Unlock()
	}
}

// Oldest is how long the oldest unsettled message is here, as far as that was noted.
func (q *Queue) Oldest(now time.Time) messages.OldestMessage {
	o := messages.OldestMessage{Destination: q.cfg.Destination, Group: q.cfg.Group}
	for _, l := range q.open() {
		l.lock()
		o.Age = max(o.Age, l.arrived.Of(now, l.acks.Cumulative+1))
		l.mu.Unlock()
	}
	return o
}

// open are the links whose messages somebody settles: none at most once.
func (q *Queue) open() []*Link {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(q.links), (*Link).atMostOnce)
}
