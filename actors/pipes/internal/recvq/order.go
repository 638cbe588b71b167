package recvq

// What a member does in a group that keeps an order. It hands out only while its lease at
// the sender is valid; nothing behind a message that it gave back; and, where several
// handlers work, of each sender one message at a time, or of each key, which the sender
// sees to.

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/internal/order"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// errParted is the cause of a handler's cancelled context when its link has ended.
var errParted = errors.New("the link to the sender has ended: the message goes to another member of the group")

// ordered is a link's part in a group that keeps an order.
type ordered struct {
	lease order.Lease
	// seen is how many nacks the sender had taken when it sent what comes now.
	seen uint64
	// nacks counts those of the link; broken is the last of them with which something went
	// back that is sent again. What was sent before the sender took that one, and comes behind
	// it, was taken back with it.
	nacks  uint64
	broken atomic.Uint64
	// overrun are in the hands of a handler for longer than AckWait.
	overrun map[uint64]struct{}
}

// seen is what Arrive notes of a frame. mu is held.
func (l *Link) seen() uint64 {
	if l.order == nil {
		return 0
	}
	return l.order.seen
}

// Pinged takes what a ping of the sender says.
func (l *Link) Pinged(p frame.Ping) {
	if l.order == nil {
		return
	}
	if p.Nacks > 0 {
		l.lock()
		l.order.seen = max(l.order.seen, p.Nacks)
		l.mu.Unlock()
	}
	if l.order.lease.Heard(p.Heard, time.Now()) {
		l.queue.mu.Lock()
		defer l.queue.mu.Unlock()
		l.queue.signal() // its messages may be handed out again
	}
}

// breaks counts a nack, and notes what goes back with it. mu is held.
func (l *Link) breaks(f failure) {
	o := l.order
	if o == nil {
		return
	}
	o.nacks++
	if l.queue.cfg.Mode == messages.Failover && order.Breaks(f.kind) {
		o.broken.Store(o.nacks)
	}
}

// isBehind reports whether what is left of a frame was taken back by the sender.
func (f *Frame) isBehind() bool {
	o := f.link.order
	return o != nil && f.seen < o.broken.Load()
}

// drop settles what is left of a frame: the sender sends it again.
func (f *Frame) drop() {
	l, last := f.link, f.first+uint64(f.count)-1
	l.lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.dropTo(f.seq, last)
	}
	f.seq, f.records = last+1, nil
}

// dropRest is drop of all that has come from a sequence on, and returns how much that is.
// mu is held.
func (l *Link) dropRest(from uint64) int { return l.dropTo(from, l.received) }

func (l *Link) dropTo(from, to uint64) (n int) {
	for seq := max(from, l.handed+1); seq <= to; seq++ {
		l.handed = seq
		l.returned++
		if l.epoch > 0 {
			l.user.Add(seq)
		}
		if l.settle(seq) {
			n++
		}
	}
	return n
}

// holds reports whether nothing that came on l may be handed out now.
func (q *Queue) holds(l *Link) bool {
	if q.paused.Load() {
		return true
	}
	return l.order != nil && (!l.order.lease.Valid(time.Now()) || q.busy.has(l.Sender))
}

// pick takes the first frame that may be handed out, or returns nil. mu is held.
func (q *Queue) pick() *Frame { return q.pickBut(q.holds) }

// pickBut is pick of what is not held. Each link is asked once: what it holds may change
// meanwhile, and no frame must go before an earlier one of its link.
func (q *Queue) pickBut(holds func(*Link) bool) *Frame {
	q.picks++
	for at := q.head; at < len(q.frames); at++ {
		f := q.frames[at]
		if f.link.held == q.picks {
			continue
		}
		if q.cfg.Mode.Ordered() && holds(f.link) {
			f.link.held = q.picks
			continue
		}
		copy(q.frames[q.head+1:at+1], q.frames[q.head:at])
		q.frames[q.head] = nil
		q.head++
		return f
	}
	return nil
}

// busy are senders of which nothing is handed out while a handler runs. It may be used
// without the queue's lock.
type busy struct {
	some atomic.Int64
	mu   sync.Mutex
	of   map[string]int
}

func (b *busy) has(sender string) bool {
	if b.some.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[sender] > 0
}

func (b *busy) begins(sender string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = make(map[string]int)
	}
	b.of[sender]++
	b.some.Add(1)
}

func (b *busy) ends(sender string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of[sender]--; b.of[sender] == 0 {
		delete(b.of, sender)
	}
	b.some.Add(-1)
}

// begins notes that a worker gets a message of l: no other gets one of the same sender
// before it has settled that. The turn is the worker's.
func (c *Consumption) begins(w *worker, l *Link) {
	if c.q.cfg.Mode == messages.Failover && c.q.cfg.Concurrency > 1 {
		c.workersMu.Lock()
		defer c.workersMu.Unlock()
		w.busy = l.Sender
		c.q.busy.begins(w.busy)
	}
}

// ends notes that a worker has settled what it had in hand.
func (c *Consumption) ends(w *worker) {
	if !c.q.cfg.Mode.Ordered() {
		return
	}
	c.workersMu.Lock()
	sender := w.busy
	w.busy = ""
	c.workersMu.Unlock()
	if sender == "" {
		return
	}
	c.q.busy.ends(sender)
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	c.q.signal()
}

// Overruns notes that a handler has a delivery in hand for longer than AckWait, and reports
// whether that is new. In a group that keeps an order it is given back when the handler
// returns, or the sender ends the link: nobody else gets it before. handled is false when
// it is in no handler's hands: then it is to be given up as in every group.
func (q *Queue) Overruns(l *Link, seq uint64) (handled, fresh bool) {
	c := q.Consumption()
	if l.order == nil || c == nil || !c.has(l, seq) {
		return false, false
	}
	l.lock()
	defer l.mu.Unlock()
	if _, ok := l.order.overrun[seq]; ok {
		return true, false
	}
	if l.order.overrun == nil {
		l.order.overrun = make(map[uint64]struct{})
	}
	l.order.overrun[seq] = struct{}{}
	return true, true
}

// overran reports whether a handler had a delivery in hand for longer than AckWait, once
// it has returned.
func (l *Link) overran(seq uint64) bool {
	if l.order == nil {
		return false
	}
	l.lock()
	defer l.mu.Unlock()
	_, ok := l.order.overrun[seq]
	delete(l.order.overrun, seq)
	return ok
}

// has reports whether a handler has a delivery in hand.
func (c *Consumption) has(l *Link, seq uint64) bool {
	c.workersMu.Lock()
	defer c.workersMu.Unlock()
	for w := range c.workers {
		if w.from == l && w.seq == seq {
			return true
		}
	}
	return false
}

// ended reports whether the session is over.
func (l *Link) ended() bool {
	l.lock()
	defer l.mu.Unlock()
	return l.closed
}
