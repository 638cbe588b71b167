package recvq

// Deliveries for a receiver that is handed them and settles them later, from a
// mailbox: never more of them are in its hands than a bound.

import (
	"context"
	"sync/atomic"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// grip is what a receiver has in hand. A delivery is in hand from when it is handed
// out until the receiver settles it, whether or not the settling still counts: what
// outlived AckWait, or came on a link that died, is still in the mailbox.
type grip struct {
	held   atomic.Int64
	epoch  atomic.Uint64 // raised when all that was in hand is taken back
	hungry atomic.Bool   // Deliver waits for room
	room   chan struct{} // holds one
}

// settled notes that the receiver has settled a delivery of that epoch.
func (g *grip) settled(epoch uint64) {
	if g.epoch.Load() != epoch {
		return
	}
	g.held.Add(-1)
	if g.hungry.Load() {
		select {
		case g.room <- struct{}{}:
		default:
		}
	}
}

// Deliver makes the caller the member's reader and hands deliveries out, at most
// batch at a time and never more than window that the receiver has not settled, until
// ctx ends, whose cause it returns, or the member leaves: nil, or why it did. hand must
// not block; each slice is its own.
//
// There is one reader at a time: else it returns messages.ErrBusy, and
// messages.ErrClosed once the member has left.
func (q *Queue) Deliver(ctx context.Context, window, batch int, hand func([]messages.Delivery)) error {
	end, err := q.begin()
	if err != nil {
		return err
	}
	g := q.gripped()
	var f *Frame
	defer end()
	defer func() { q.putBack(f) }()
	var d messages.Delivery
	for {
		room, err := g.await(ctx, window)
		if err != nil {
			return err
		}
		if f == nil {
			if f, err = q.take(ctx); f == nil {
				return err
			}
			f.address(&d)
		}
		out := make([]messages.Delivery, 0, min(room, batch, len(f.records)))
		for f != nil && len(out) < min(room, batch) {
			ok, err := f.next(&d)
			switch {
			case err != nil:
				f.spoil(err)
				f = nil
			case !ok:
				if f = q.takeNow(); f != nil {
					f.address(&d)
				}
			case !f.link.hand(d.Seq, 0):
				f = nil // the link died: the sender delivers the rest again
			default:
				out = append(out, d)
			}
		}
		if len(out) > 0 {
			g.held.Add(int64(len(out)))
			hand(out)
		}
	}
}

// gripped is what counts deliveries in hand, from the first Deliver on.
func (q *Queue) gripped() *grip {
	q.inHand.CompareAndSwap(nil, &grip{room: make(chan struct{}, 1)})
	return q.inHand.Load()
}

// takeNow is take for what is there already.
func (q *Queue) takeNow() *Frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == Left || q.head == len(q.frames) {
		return nil
	}
	f := q.frames[q.head]
	q.frames[q.head] = nil
	q.head++
	return f
}

// TakeBack gives back to the senders what the receiver has in hand, without an
// attempt counted, and returns how much that was. What it settles of that later counts
// no more. Nobody may be in Deliver. At most once nothing goes back.
func (q *Queue) TakeBack() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.gripped()
	epoch := g.epoch.Add(1)
	g.held.Store(0)
	for _, l := range q.links {
		n += l.takeBack(epoch)
	}
	return n
}

// takeBack gives back what was handed out on the link and is not settled.
func (l *Link) takeBack(epoch uint64) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.user = epoch, AckSet{Cumulative: l.handed, Count: l.handed}
	if l.closed || l.queue.cfg.Mode == messages.AtMostOnce {
		return 0
	}
	var seqs []uint64
	l.acks.Gaps(l.handed, func(seq uint64) { seqs = append(seqs, seq) })
	for _, seq := range seqs {
		if l.failing(failure{seq: seq, kind: frame.NackReturned}) {
			n++
		}
	}
	return n
}

// userSettled notes that the receiver has settled a delivery, whether or not that
// still counts. mu is held.
func (l *Link) userSettled(seq uint64) {
	if g := l.queue.inHand.Load(); g != nil && l.user.Add(seq) {
		g.settled(l.epoch)
	}
}

// await waits until there is room, and returns how much.
func (g *grip) await(ctx context.Context, window int) (room int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if room = window - int(g.held.Load()); room > 0 {
		return room, nil
	}
	g.hungry.Store(true)
	defer g.hungry.Store(false)
	for {
		if room = window - int(g.held.Load()); room > 0 {
			return room, nil
		}
		select {
		case <-g.room:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
