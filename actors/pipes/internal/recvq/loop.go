package recvq

// A loop over deliveries, which acks as it goes.

import (
	"context"
	"errors"
	"iter"
	"math"

	"github.com/penstock-io/penstock/messages"
)

// Messages yields deliveries until the member leaves or ctx ends. Taking the
// next one acks the one before, unless manual.
func (q *Queue) Messages(ctx context.Context, manual bool) iter.Seq2[messages.Delivery, error] {
	return func(yield func(messages.Delivery, error) bool) {
		end, err := q.begin()
		if err != nil {
			if errors.Is(err, messages.ErrClosed) {
				err = q.Cause() // the loop after an end is as silent as the one before
			}
			if err != nil {
				yield(messages.Delivery{}, err)
			}
			return
		}
		c := cursor{q: q, manual: manual && q.cfg.Mode != messages.AtMostOnce}
		defer end()
		defer c.end()
		defer q.Runs.Enter(q.code("the loop", c.from))()
		for {
			d, err := c.next(ctx)
			if err != nil || d == nil {
				if err != nil {
					yield(messages.Delivery{}, err)
				}
				return
			}
			if !yield(*d, nil) {
				return
			}
			c.out = false
		}
	}
}

// cursor is a loop's place in the stream.
type cursor struct {
	q      *Queue
	manual bool
	frame  *Frame
	at     messages.Delivery
	done   uint64 // what taking the next delivery acks; 0 for nothing
	out    bool   // at was yielded and the loop has not come back for more
}

// from is the link of the delivery in the loop's body. It is for that goroutine.
func (c *cursor) from() *Link {
	if c.frame == nil {
		return nil
	}
	return c.frame.link
}

// next returns the next delivery, and acks the one before unless the loop
// settles by itself: then a Nack or Ack that came before decides.
func (c *cursor) next(ctx context.Context) (*messages.Delivery, error) {
	for {
		if c.frame != nil && c.q.holds(c.frame.link) {
			c.finish()
			c.q.putBack(c.frame)
			c.frame, c.out = nil, false
		}
		if c.frame == nil {
			f, err := c.q.take(ctx)
			if f == nil {
				return nil, err
			}
			c.frame = f
			f.address(&c.at)
		}
		if ctx.Err() != nil {
			c.finish()
			return nil, context.Cause(ctx)
		}
		l := c.frame.link
		ok, err := c.frame.next(&c.at)
		switch {
		case err != nil:
			c.finish()
			c.frame.spoil(err)
			c.frame = nil
		case !ok:
			c.finish()
			c.frame = nil
		case !l.next(c.at.Seq, c.done) && !l.hand(c.at.Seq, c.done):
			c.frame, c.done = nil, 0 // the link died: the sender delivers the rest again
		default:
			c.out, c.done = true, 0
			if !c.manual {
				c.done = c.at.Seq
			}
			return &c.at, nil
		}
	}
}

// finish acks what was yielded last.
func (c *cursor) finish() {
	if c.done > 0 {
		c.frame.link.Ack(c.done)
		c.done = 0
	}
}

// end hands back what a broken loop left unfinished.
func (c *cursor) end() {
	if c.out && !c.manual {
		c.frame.link.giveBack(c.at.Seq)
	}
	c.q.putBack(c.frame)
}

// A loop that acks as it goes settles in order. As long as all before is settled, the
// sequence of what it has in hand says all that there is to say: it runs ahead of the lock,
// and whoever takes that takes down first how far it has come, and ends the run.

// running marks a Link.run of a loop that runs.
const running = 1 << 63

// next is hand for a loop that runs. It reports false where that needs the lock.
func (l *Link) next(seq, done uint64) bool {
	return seq < l.until && done+1 == seq && l.run.CompareAndSwap(running|done, running|seq)
}

// letRun lets a loop run that has been handed the last delivery, up to where a report is
// due. What is settled first after a report needs the lock, because a timer begins with it.
// mu is held.
func (l *Link) letRun() {
	if l.closed || l.epoch > 0 || l.acks.Cumulative+1 != l.handed || len(l.acks.Ranges)+len(l.extended)+len(l.expired) > 0 {
		return
	}
	switch {
	case l.urgent:
		l.until = math.MaxUint64 // the report ends the run
	case l.due.IsZero():
		return
	default:
		l.until = l.reported + l.enough() + 1
	}
	l.run.Store(running | l.handed)
}

// lock takes mu, and takes down how far a loop has run.
func (l *Link) lock() {
	l.mu.Lock()
	if l.run.Load()&running == 0 {
		return
	}
	at := l.run.And(^uint64(running)) &^ running
	n := at - l.handed
	l.handed = at
	l.acks.Cumulative += n
	l.acks.Count += n
	for n > 0 {
		some := min(n, uint64(l.frames[0].left))
		l.free(0, int(some))
		n -= some
	}
}
