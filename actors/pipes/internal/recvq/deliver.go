package recvq

// Deliveries for a receiver that is handed them and settles them later, from a
// mailbox: never more of them are in its hands than a bound.

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// grip counts what a receiver has in hand. A delivery is in hand from when it is handed
// out until the receiver settles it, whether or not the settling still counts: what
// outlived AckWait, or came on a link that died, is still in the mailbox.
type grip struct {
	state  atomic.Uint64 // epoch in the upper half, how many are in hand in the lower
	wakeAt atomic.Int64  // Deliver waits for room, and wakes at so many in hand; else -1
	room   chan struct{} // holds one

	patience *time.Timer // Deliver's; nil before it first waits for room
	turns    uint64      // frames that Deliver began with
}

// heldBits is how wide the count of a grip is. Its epoch begins with 1: a link of epoch
// 0 has handed nothing to a receiver.
const heldBits = 32

func newGrip() *grip {
	g := &grip{room: make(chan struct{}, 1)}
	g.state.Store(1 << heldBits)
	g.wakeAt.Store(-1)
	return g
}

func (g *grip) epoch() uint64 { return g.state.Load() >> heldBits }
func (g *grip) held() int     { return int(g.state.Load() & (1<<heldBits - 1)) }
func (g *grip) take(n int)    { g.state.Add(uint64(n)) }

// drop begins an epoch with nothing in hand.
func (g *grip) drop() { g.state.Store((g.epoch() + 1) << heldBits) }

// begin fills what all deliveries of a frame have in common, and notes whose turn it is.
func (g *grip) begin(f *Frame, d *messages.Delivery) {
	if f.address(d); f.turn == 0 {
		g.turns++
		f.turn = g.turns
	}
}

// settled notes that the receiver has settled a delivery of that epoch.
func (g *grip) settled(epoch uint64) {
	var held int64
	for {
		s := g.state.Load()
		if held = int64(s & (1<<heldBits - 1)); s>>heldBits != epoch || held == 0 {
			return // taken back
		}
		if g.state.CompareAndSwap(s, s-1) {
			break
		}
	}
	if held-1 <= g.wakeAt.Load() {
		select {
		case g.room <- struct{}{}:
		default:
		}
	}
}

// Deliver makes the caller the member's reader and hands deliveries out, at most
// batch at a time and never more than window that the receiver has not settled, until
// ctx ends, whose cause it returns, or the member leaves: nil, or why it did. hand must
// not block; each slice is its own. A delivery that has counted a death is handed out by
// itself, so that those beside it count none with it.
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
	epoch, enough := g.epoch(), max(1, min(batch, window/4))
	for {
		room, err := g.await(ctx, q.over, window, enough)
		if err != nil {
			return err
		}
		if room == 0 {
			return q.Cause()
		}
		if f == nil || len(f.records) == 0 {
			if f, err = q.take(ctx); f == nil {
				return err
			}
			g.begin(f, &d)
		}
		out := make([]messages.Delivery, 0, min(room, batch, f.count-int(f.seq-f.first)))
	filling:
		for f != nil && len(out) < min(room, batch) {
			if q.holds(f.link) {
				q.putBack(f)
				f = nil
				break
			}
			alone := f.deaths > 0 // a receiver may have failed over it
			if alone && len(out) > 0 && len(f.records) > 0 {
				break filling
			}
			ok, err := f.next(&d)
			switch {
			case err != nil:
				f.spoil(err)
				f = nil
			case !ok:
				if f = q.takeNow(); f != nil {
					g.begin(f, &d)
				}
			case !f.link.handTo(epoch, d.Seq):
				f = nil // the link died: the sender delivers the rest again
			default:
				if out = append(out, d); alone {
					break filling
				}
			}
		}
		if len(out) > 0 {
			g.take(len(out))
			hand(out)
		}
	}
}

// gripped is what counts deliveries in hand, from the first Deliver on.
func (q *Queue) gripped() *grip {
	if q.inHand.Load() == nil {
		q.inHand.CompareAndSwap(nil, newGrip())
	}
	return q.inHand.Load()
}

// takeNow is take for what is there already.
func (q *Queue) takeNow() *Frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == Left || q.paused.Load() {
		return nil
	}
	return q.pick()
}

// TakeBack gives back to the senders what the receiver has in hand, without an
// attempt counted, and returns how much that was. Where the receiver failed, cause says
// how, and the oldest of it counts a death: it may be what the receiver failed over. What
// it settles of that later counts no more. Nobody may be in Deliver. At most once nothing
// goes back: it is settled, because nobody else will, and the sender may send as much more.
func (q *Queue) TakeBack(cause error) (n int) {
	q.gripped().drop()
	q.mu.Lock()
	defer q.mu.Unlock()
	var suspect *Link // with the oldest
	oldest := uint64(math.MaxUint64)
	for _, l := range q.links {
		if turn := l.oldest(); cause != nil && turn < oldest {
			suspect, oldest = l, turn
		}
	}
	for _, l := range q.links {
		if l == suspect {
			n += l.takeBack(cause)
		} else {
			n += l.takeBack(nil)
		}
	}
	return n
}

// oldest is the turn of the oldest frame of which something was handed out that is not
// settled.
func (l *Link) oldest() (turn uint64) {
	l.lock()
	defer l.mu.Unlock()
	if seq := l.acks.Cumulative + 1; !l.closed && seq <= l.handed {
		return l.frames[l.frameOf(seq)].turn
	}
	return math.MaxUint64
}

// takeBack gives back what was handed out on the link and is not settled, or settles it
// at most once. With a cause the first of it counts a death.
func (l *Link) takeBack(cause error) (n int) {
	l.lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	var seqs []uint64
	l.acks.Gaps(l.handed, func(seq uint64) { seqs = append(seqs, seq) })
	for _, f := range l.frames {
		f.buffer = nil // the receiver may still look into it
	}
	for i, seq := range seqs {
		f := failure{seq: seq, kind: frame.NackReturned}
		if i == 0 && cause != nil {
			f.kind, f.reason = frame.NackExpired, cause.Error()
		}
		if l.failing(f) && !l.atMostOnce() {
			n++
		}
	}
	return n
}

// handTo is hand for the receiver of Deliver.
func (l *Link) handTo(epoch, seq uint64) bool {
	l.lock()
	defer l.mu.Unlock()
	if l.closed && !l.atMostOnce() || seq <= l.handed {
		return false
	}
	if l.epoch != epoch {
		l.epoch, l.user = epoch, AckSet{Cumulative: seq - 1, Count: seq - 1}
	}
	l.handed = seq
	return true
}

// userSettled notes that the receiver has settled a delivery, whether or not that
// still counts. mu is held.
func (l *Link) userSettled(seq uint64) {
	if l.epoch > 0 && seq <= l.handed && l.user.Add(seq) {
		l.queue.gripped().settled(l.epoch)
	}
}

// InHand reports whether the receiver of Deliver has a delivery that it has not settled.
func (l *Link) InHand(seq uint64) bool {
	l.lock()
	defer l.mu.Unlock()
	return l.epoch > 0 && l.epoch == l.queue.gripped().epoch() && seq <= l.handed && !l.user.Has(seq)
}

// company is how long the first room waits for more, so that a receiver which settles
// one by one does not wake Deliver for each.
const company = time.Millisecond

// await waits until there is room, and returns how much; 0 once over is closed. It
// waits a moment for room for enough.
func (g *grip) await(ctx context.Context, over <-chan struct{}, window, enough int) (room int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if room = window - g.held(); room > 0 {
		return room, nil
	}
	g.wakeAt.Store(int64(window - enough))
	defer g.wakeAt.Store(-1)
	if g.patience == nil {
		g.patience = time.NewTimer(company)
	} else {
		g.patience.Reset(company)
	}
	defer g.patience.Stop()
	for {
		if room = window - g.held(); room >= enough {
			return room, nil
		}
		select {
		case <-g.room:
		case <-g.patience.C:
			enough = 1
			g.wakeAt.Store(int64(window - 1))
		case <-over:
			return 0, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
