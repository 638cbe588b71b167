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

// unexpired gives up what has expired at the front of what waits. It returns where the
// next batch comes from, or nil, and how many records can be carried before the next one
// that has expired. mu is held.
func (q *Queue) unexpired(b *Backlog) (src *spans, n int) {
	for {
		if src = b.source(); src == nil {
			return nil, 0
		}
		n, expired := src.front().run(unixNano)
		if !expired {
			return src, n
		}
		q.expire(b, src.take(n))
	}
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
	q.sweeping = false
	at := unixNano()
	now := func() int64 { return at }
	for _, b := range q.backlogs {
		if b.expiring > 0 {
			q.sift(b, &b.again, now)
			q.sift(b, &b.fresh, now)
			q.siftDelayed(b, now)
		}
		q.sweeping = q.sweeping || b.expiring > 0
	}
	if q.sweeping = q.sweeping && q.phase != queueClosed; q.sweeping {
		q.later(q.sweep)
	}
}

// sift gives up what has expired in from. mu is held.
func (q *Queue) sift(b *Backlog, from *spans, now func() int64) {
	if from.expired(now) == 0 {
		return
	}
	all := from.items[from.head:]
	*from = spans{}
	for _, rest := range all {
		for rest.len() > 0 {
			n, expired := rest.run(now)
			var s span
			if s, rest = rest.cut(n); expired {
				q.expire(b, s)
			} else {
				from.push(s)
			}
		}
	}
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

// siftDelayed gives up what has expired before its next try. mu is held.
func (q *Queue) siftDelayed(b *Backlog, now func() int64) {
	b.delayed = slices.DeleteFunc(b.delayed, func(d delay) bool {
		n, expired := d.run(now)
		if !expired || n < d.len() || d.rejected != nil {
			return false
		}
		q.expire(b, d.span)
		return true
	})
	heap.Init(&b.delayed)
}

// expire gives up what has expired. mu is held.
func (q *Queue) expire(b *Backlog, s span) {
	b.counters.Expired += uint64(s.len())
	q.drop(&b.expired, s.len(), s.size())
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
