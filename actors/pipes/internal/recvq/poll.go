package recvq

// Deliveries for a caller that asks for some at a time.

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

// polled is a delivery that the last Poll returned.
type polled struct {
	link *Link
	seq  uint64
}

// Poll waits for at least one delivery and returns at most limit. What the last Poll
// returned is acked first, whatever ctx says, unless manual or settled before. There is
// one reader at a time: else it returns messages.ErrBusy, and once the member has left
// messages.ErrClosed or why it did.
func (q *Queue) Poll(ctx context.Context, limit int, manual bool) ([]messages.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("poll %q of %q for %d messages: it must be at least one: %w", q.cfg.Group, q.cfg.Destination, limit, messages.ErrInvalid)
	}
	end, err := q.begin()
	if err != nil {
		if errors.Is(err, messages.ErrClosed) {
			err = cmp.Or(q.Cause(), err)
		}
		return nil, err
	}
	defer end()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var out []messages.Delivery
	for len(out) == 0 {
		f, err := q.take(ctx)
		switch {
		case err != nil:
			return nil, err
		case f == nil:
			return nil, fmt.Errorf("poll %q of %q: %w", q.cfg.Group, q.cfg.Destination, messages.ErrClosed)
		}
		for ; f != nil && len(out) < limit; f = q.takeNow() {
			out = q.pollFrame(f, out, limit)
		}
		q.putBack(f) // one too many
	}
	if !manual || q.cfg.Mode == messages.AtMostOnce {
		q.mu.Lock()
		defer q.mu.Unlock()
		for i := range out {
			q.polled = append(q.polled, polled{out[i].Settler.(*Link), out[i].Seq})
		}
	}
	return out, nil
}

// pollFrame hands out what a frame has, and puts back what is more than limit.
func (q *Queue) pollFrame(f *Frame, out []messages.Delivery, limit int) []messages.Delivery {
	var d messages.Delivery
	f.address(&d)
	for len(out) < limit && !q.holds(f.link) {
		ok, err := f.next(&d)
		switch {
		case err != nil:
			f.spoil(err)
			return out
		case !ok || !f.link.hand(d.Seq, 0): // or the link died: the sender delivers the rest again
			return out
		}
		out = append(out, d)
	}
	q.putBack(f)
	return out
}

// ackPolled acks what the last Poll returned.
func (q *Queue) ackPolled(was []polled) {
	for _, p := range was {
		p.link.Ack(p.seq)
	}
}
