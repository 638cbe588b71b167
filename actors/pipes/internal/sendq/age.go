package sendq

// How old the oldest message is that is accepted and not settled.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
)

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
	for _, d := range b.delayed {
		low = min(low, d.seq)
	}
	for _, x := range b.exhausted {
		low = min(low, x.seq)
	}
	for _, l := range b.links {
		for _, s := range l.out.items[l.out.head:] {
			low = min(low, s.seq)
		}
	}
	return low
}
