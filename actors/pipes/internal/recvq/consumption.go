package recvq

// Handlers: workers that take deliveries and call the user's function.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// errAckWait is the cause of a handler's cancelled context.
var errAckWait = errors.New("not settled within AckWait: the message was given to another member")

// errLender is the same of what was lent, by a sender that is gone.
var errLender = fmt.Errorf("the link to the owner of the partition has ended: the record goes to another member: %w", messages.ErrFenced)

// Consumption is one run of Consume: workers that share one place in the stream.
type Consumption struct {
	ctx     context.Context
	q       *Queue
	handler messages.Handler
	running atomic.Int64  // handlers that have not stopped
	over    chan struct{} // closed by the last of them
	once    sync.Once
	end     func() // ends the reading
	usercode.LastWait

	turn  chan struct{} // whose turn it is to take the next; held by one worker
	frame *Frame

	workersMu sync.Mutex
	workers   map[*worker]struct{}
}

// worker is one handler's goroutine.
type worker struct {
	ctx    context.Context // the handler's; one for many messages
	cancel context.CancelCauseFunc
	from   *Link // of the message in hand, or nil
	seq    uint64
	label  string // of its goroutine
	busy   string // the sender that hands out nothing while its handler runs, or ""
}

func (w *worker) renew(ctx context.Context) {
	if w.cancel != nil {
		w.cancel(nil)
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
}

// Consume makes the caller the member's reader, for handlers that work on what it
// returns; Wait waits for their end. There is one reader at a time: else it returns
// messages.ErrBusy, and messages.ErrClosed once the member has left.
func (q *Queue) Consume(ctx context.Context, handler messages.Handler) (*Consumption, error) {
	end, err := q.begin()
	if err != nil {
		return nil, err
	}
	c := newConsumption(ctx, q, handler)
	c.end = end
	q.watch(c)
	if q.Left() {
		c.Finish() // its actor is gone, and so is whoever would say so
	}
	return c, nil
}

func newConsumption(ctx context.Context, q *Queue, handler messages.Handler) *Consumption {
	return &Consumption{ctx: ctx, q: q, handler: handler, over: make(chan struct{}), turn: make(chan struct{}, 1), workers: make(map[*worker]struct{})}
}

// watch makes c the consumption whose handlers AckWait may cancel.
func (q *Queue) watch(c *Consumption) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.consuming = c
}

// Consumption is the Consume that runs, or nil.
func (q *Queue) Consumption() *Consumption {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.consuming
}

// CancelHandler cancels the handler of a delivery that outlived AckWait.
func (q *Queue) CancelHandler(l *Link, seq uint64) {
	q.mu.Lock()
	if q.phase == Leaving {
		q.forced++
	}
	q.mu.Unlock()
	if c := q.Consumption(); c != nil {
		c.expire(l, seq)
	}
}

// Expect says how many handlers will work and say that they have Ended.
func (c *Consumption) Expect(handlers int) { c.running.Store(int64(handlers)) }

// Context ends it from outside.
func (c *Consumption) Context() context.Context { return c.ctx }

// Over is closed when the last handler has ended.
func (c *Consumption) Over() <-chan struct{} { return c.over }

// Ended is told by each handler's actor when the stream is over.
func (c *Consumption) Ended() {
	if c.running.Add(-1) == 0 {
		c.Finish()
	}
}

// Finish lets Wait return: nobody will say any more that the handlers have ended.
func (c *Consumption) Finish() { c.once.Do(func() { close(c.over) }) }

// Wait waits for the end of the handlers, and ends the reading. Meanwhile it looks for
// handlers that stand still.
func (c *Consumption) Wait() {
	c.await()
	c.handBack()
	c.q.watch(nil)
	c.end()
}

// next takes the next delivery for one worker.
func (c *Consumption) next(ctx context.Context, w *worker, d *messages.Delivery) (bool, error) {
	select {
	case c.turn <- struct{}{}: // who is first in line gets the next
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	for {
		if c.frame != nil && c.q.holds(c.frame.link) {
			c.q.putBack(c.frame)
			c.frame = nil
		}
		if c.frame == nil {
			f, err := c.q.take(ctx)
			if f == nil {
				return false, err
			}
			c.frame = f
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		ok, err := c.frame.next(d)
		switch {
		case err != nil:
			c.frame.spoil(err)
			c.frame = nil
		case !ok:
			c.frame = nil
		case !c.frame.link.hand(d.Seq, 0):
			c.frame = nil
		default:
			c.frame.address(d)
			c.begins(w, c.frame.link)
			return true, nil
		}
	}
}

// Work handles deliveries one after the other until the stream or ctx ends.
func (c *Consumption) Work(ctx context.Context) error {
	w := &worker{}
	code := c.q.code("a handler", func() *Link {
		c.workersMu.Lock()
		defer c.workersMu.Unlock()
		return w.from
	})
	defer c.q.Runs.Enter(code)()
	inner, label, restore := c.q.Runs.Label(code.Mark(ctx), c.q.cfg.Destination+"/"+c.q.cfg.Group)
	defer restore()
	w.label = label
	w.renew(inner)
	c.workersMu.Lock()
	c.workers[w] = struct{}{}
	c.workersMu.Unlock()
	defer func() {
		c.workersMu.Lock()
		delete(c.workers, w)
		c.workersMu.Unlock()
		c.ends(w) // the handler may have ended the goroutine
		w.cancel(nil)
	}()
	var d messages.Delivery
	for {
		if w.ctx.Err() != nil && ctx.Err() == nil { // AckWait cancelled it
			w.renew(inner)
		}
		ok, err := c.next(ctx, w, &d)
		if !ok {
			return err
		}
		l := d.Settler.(*Link)
		c.takes(w, l, d.Seq)
		began := c.q.Runs.Begins()
		err = c.call(w.ctx, d)
		c.q.Runs.Took(began, usercode.TimedDelivery, c.q.cfg.Destination, c.q.cfg.Group)
		c.workersMu.Lock()
		w.from = nil
		c.workersMu.Unlock()
		overran := l.overran(d.Seq)
		switch {
		case err == nil:
			l.Ack(d.Seq)
		case overran:
			l.fail(failure{seq: d.Seq, kind: frame.NackExpired, reason: keptReason})
		case ctx.Err() != nil:
			l.giveBack(d.Seq) // whatever it says: its end was asked for
		default:
			if g := messages.GiveBackOf(err); g.Verb == messages.VerbReject {
				d.Reject(g.Cause)
			} else {
				l.GiveBack(d.Seq, g)
			}
		}
		c.ends(w)
	}
}

// call runs the handler; a panic is a failed handling like any other.
func (c *Consumption) call(ctx context.Context, d messages.Delivery) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if p == nil {
			if err = usercode.ErrGoexit; ctx.Err() != nil {
				d.Release()
				return
			}
			d.Nack(err)
			return
		}
		err = fmt.Errorf("the handler panicked: %v", p)
		c.q.emit(messages.HandlerPanicked{
			Destination: c.q.cfg.Destination, Group: c.q.cfg.Group,
			Value: fmt.Sprint(p), Stack: string(debug.Stack()),
		})
	}()
	err = c.handler(ctx, d)
	returned = true
	return err
}

// expire cancels the handler that has had seq for too long.
func (c *Consumption) expire(l *Link, seq uint64) {
	c.workersMu.Lock()
	defer c.workersMu.Unlock()
	for w := range c.workers {
		if w.from == l && w.seq == seq {
			w.cancel(errAckWait)
		}
	}
}

// takes notes what a worker has in hand. Its link may have ended before.
func (c *Consumption) takes(w *worker, l *Link, seq uint64) {
	c.workersMu.Lock()
	defer c.workersMu.Unlock()
	w.from, w.seq = l, seq
	if (c.q.cfg.Lent || l.order != nil) && l.ended() {
		c.parts(w)
	}
}

// part cancels the handlers of what a link brought that has ended, and that goes to others:
// it was lent, or the group keeps an order.
func (c *Consumption) part(l *Link) {
	c.workersMu.Lock()
	defer c.workersMu.Unlock()
	for w := range c.workers {
		if w.from == l {
			c.parts(w)
		}
	}
}

// parts cancels the handler of one worker. workersMu is held.
func (c *Consumption) parts(w *worker) {
	if c.q.cfg.Lent {
		w.cancel(errLender)
		return
	}
	w.cancel(errParted)
	if w.busy == "" {
		w.busy = w.from.Sender
		c.q.busy.begins(w.busy)
	}
}

// handBack hands back what no worker took. A worker that is stuck in its handler
// does not hold the turn.
func (c *Consumption) handBack() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.q.putBack(c.frame)
	c.frame = nil
}

// call is one message in the hands of one worker.
type call struct {
	w    *worker
	from *Link
	seq  uint64
}

// await waits for the end of the handlers. It emits an event for each that has had a
// message for AckWait, since the last InProgress, and again at each doubling. Without an
// AckWait there is none.
func (c *Consumption) await() {
	q := c.q
	var watch usercode.StuckWatch[call]
	usercode.AwaitLooking(c.over, q.cfg.AckWait, func(now time.Time) {
		for _, stuck := range watch.Look(now, q.cfg.AckWait, c.calls()) {
			q.emit(messages.HandlerStuck{
				Destination: q.cfg.Destination, Group: q.cfg.Group, Member: q.cfg.ID,
				Seq: stuck.Key.seq, Running: stuck.Running, Stack: q.Runs.Stack(stuck.Key.w.label, now.Add(-stuck.Running)),
			})
		}
	})
}

// calls are what the handlers have in hand, with the last InProgress of each.
func (c *Consumption) calls() map[call]time.Time {
	busy := make(map[call]time.Time)
	c.workersMu.Lock()
	for w := range c.workers {
		if w.from != nil {
			busy[call{w, w.from, w.seq}] = time.Time{}
		}
	}
	c.workersMu.Unlock()
	for k := range busy {
		k.from.lock()
		busy[k] = k.from.extended[k.seq]
		k.from.mu.Unlock()
	}
	return busy
}
