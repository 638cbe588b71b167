package sendq

// Messages that expire: they are given up when a link would carry them, and a few times a
// second wherever they wait, so that a group without members keeps none of them.

import (
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// expires says when the records of s do, as far as any does.
func (s span) expires() []int64 {
	n := uint32(len(s.c.expires))
	if n <= s.from {
		return nil
	}
	return s.c.expires[s.from:min(s.to, n)]
}

// expiresAny reports whether a record of c may expire.
func (c *chunk) expiresAny() bool { return len(c.expires) > 0 }

// run returns how many records at the front of s have expired, or how many have not.
func (s span) run(now func() int64) (n int, expired bool) {
	due := s.expires()
	if len(due) == 0 {
		return s.len(), false
	}
	at := now()
	over := func(due int64) bool { return due != 0 && due <= at }
	expired = over(due[0])
	switch n = slices.IndexFunc(due, func(due int64) bool { return over(due) != expired }); {
	case n >= 0:
		return n, expired
	case expired:
		return len(due), true
	}
	return s.len(), false
}

func unixNano() int64 { return time.Now().UnixNano() }

// expiredAtOnce is how many messages one hold of the lock gives up, so that others get at
// it, too: Expired may be given a copy of each.
const expiredAtOnce = 4 << 10

// unexpired gives up what has expired at the front of what waits. It returns where the
// next batch comes from, and how many records can be carried before the next one that has
// expired; nil when nothing waits, or expiredAtOnce were given up. mu is held.
func (q *Queue) unexpired(b *Backlog) (src *spans, n int) {
	for left := expiredAtOnce; left > 0; left -= n {
		if src = b.source(); src == nil {
			return nil, 0
		}
		var expired bool
		if n, expired = src.front().run(unixNano); !expired {
			return src, n
		}
		n = min(n, left)
		q.expire(b, src.take(n))
	}
	return nil, 0
}

// expiring notes that a record of b expires. mu is held.
func (q *Queue) expiring(b *Backlog) {
	b.expiring++
	if !q.sweeping {
		q.sweeping = true
		q.later(q.sweep)
	}
}

// sweep gives up what has expired and is on no link, again and again while anything is
// left that expires.
func (q *Queue) sweep() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for at := unixNano(); q.sweepSome(at); {
		q.mu.Unlock()
		q.mu.Lock()
	}
	q.sweeping = q.phase != queueClosed && slices.ContainsFunc(q.backlogs, func(b *Backlog) bool { return b.expiring > 0 })
	if q.sweeping {
		q.later(q.sweep)
	}
}

// sweepSome is one hold of the lock of sweep. It reports whether there may be more. mu is
// held.
func (q *Queue) sweepSome(at int64) (more bool) {
	left, now := expiredAtOnce, func() int64 { return at }
	for _, b := range q.backlogs {
		if b.expiring > 0 {
			left = q.sift(b, &b.again, now, left)
			left = q.sift(b, &b.fresh, now, left)
			left = q.siftKeyed(b, now, left)
			left = q.siftDelayed(b, now, left)
		}
	}
	return left == 0
}

// sift gives up what has expired in from, up to most records, and returns how many less
// than that they were. mu is held.
func (q *Queue) sift(b *Backlog, from *spans, now func() int64, most int) (left int) {
	if most == 0 || from.expired(now) == 0 {
		return most
	}
	all := from.items[from.head:]
	*from = spans{}
	for _, rest := range all {
		for rest.len() > 0 {
			n, expired := rest.run(now)
			switch {
			case expired && most == 0:
				n, expired = rest.len(), false
			case expired:
				n = min(n, most)
				most -= n
			}
			var s span
			if s, rest = rest.cut(n); expired {
				q.expire(b, s)
			} else {
				from.push(s)
			}
		}
	}
	return most
}

// expired counts the runs of records that have expired.
func (q *spans) expired(now func() int64) (runs int) {
	q.each(func(s span) {
		for s.len() > 0 {
			n, expired := s.run(now)
			if expired {
				runs++
			}
			_, s = s.cut(n)
		}
	})
	return runs
}

// siftDelayed is sift of what waits for its next try. mu is held.
func (q *Queue) siftDelayed(b *Backlog, now func() int64, most int) (left int) {
	over := func(d delay) bool {
		n, expired := d.run(now)
		return expired && n == d.len() && d.letter == nil
	}
	if most == 0 || !slices.ContainsFunc(b.delayed, over) {
		return most
	}
	b.delayed = slices.DeleteFunc(b.delayed, func(d delay) bool {
		if most == 0 || !over(d) {
			return false
		}
		most--
		b.rested(d.span)
		q.expire(b, d.span)
		return true
	})
	heap.Init(&b.delayed)
	q.wake(b)
	return most
}

// expire gives up what has expired. mu is held.
func (q *Queue) expire(b *Backlog, s span) {
	b.counters.Expired += uint64(s.len())
	if !q.cfg.Lends { // who lent it tells
		q.drop(&b.expired, s.len(), s.size())
	}
	if q.Expired != nil {
		for rest := s; rest.len() > 0; {
			var one span
			one, rest = rest.cut(1)
			if !q.Expired(messages.ExpiredMessage{Message: one.message(), Destination: q.name, Group: b.Group, Attempts: int(one.nacks)}) {
				b.unheard++
			}
		}
	}
	var cause error
	if len(s.watches()) > 0 {
		cause = fmt.Errorf("send to %q: group %q: %w", q.name, b.Group, messages.ErrExpired)
	}
	b.finish(s, cause)
	q.progress()
}
