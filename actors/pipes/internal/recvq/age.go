package recvq

// How long the oldest message is here that has come and is not settled.

import (
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Note notes how far the links are. It is called about once a second, as long as
// somebody wants to know ages.
func (q *Queue) Note(now time.Time) {
	for _, l := range q.open() {
		l.mu.Lock()
		l.arrived.Note(now, l.received, l.acks.Cumulative+1)
		l.mu.Unlock()
	}
}

// Oldest is how long the oldest unsettled message is here, as far as that was noted.
func (q *Queue) Oldest(now time.Time) messages.OldestMessage {
	o := messages.OldestMessage{Destination: q.cfg.Destination, Group: q.cfg.Group}
	for _, l := range q.open() {
		l.mu.Lock()
		o.Age = max(o.Age, l.arrived.Of(now, l.acks.Cumulative+1))
		l.mu.Unlock()
	}
	return o
}

// open are the links whose messages somebody settles: none at most once.
func (q *Queue) open() []*Link {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cfg.Mode == messages.AtMostOnce {
		return nil
	}
	return slices.Clone(q.links)
}
