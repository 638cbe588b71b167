package actors

// How a member's deliveries reach the user: a loop that acks as it goes, or
// workers around a handler.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// messages yields deliveries until the member leaves or ctx ends. Taking the
// next one acks the one before, unless manual.
func (in *inlet) messages(ctx context.Context, manual bool) iter.Seq2[messages.Delivery, error] {
	return func(yield func(messages.Delivery, error) bool) {
		end, err := in.begin()
		if err != nil {
			if errors.Is(err, messages.ErrClosed) {
				err = in.causeOf() // the loop after an end is as silent as the one before
			}
			if err != nil {
				yield(messages.Delivery{}, err)
			}
			return
		}
		c := cursor{in: in, manual: manual && in.cfg.Mode != messages.AtMostOnce}
		defer end()
		defer c.end()
		defer in.inside.Enter(in.code("the loop", c.from))()
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
	in     *inlet
	manual bool
	load   *load
	at     messages.Delivery
	done   uint64 // what taking the next delivery acks; 0 for nothing
	out    bool   // at was yielded and the loop has not come back for more
}

// from is the link of the delivery in the loop's body. It is for that goroutine.
func (c *cursor) from() *intake {
	if c.load == nil {
		return nil
	}
	return c.load.from
}

// next answers the next delivery, and acks the one before unless the loop
// settles by itself: then a Nack or Ack that came before decides.
func (c *cursor) next(ctx context.Context) (*messages.Delivery, error) {
	for {
		if c.load == nil {
			load, err := c.in.take(ctx)
			if load == nil {
				return nil, err
			}
			c.load = load
			load.address(&c.at)
		}
		if ctx.Err() != nil {
			c.finish()
			return nil, context.Cause(ctx)
		}
		k := c.load.from
		ok, err := c.load.next(&c.at)
		switch {
		case err != nil:
			c.finish()
			c.load.spoil(err)
			c.load = nil
		case !ok:
			c.finish()
			c.load = nil
		case !k.hand(c.at.Seq, c.done):
			c.load, c.done = nil, 0 // the link died: the sender delivers the rest again
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
		c.load.from.Ack(c.done)
		c.done = 0
	}
}

// end hands back what a broken loop left unfinished.
func (c *cursor) end() {
	if c.out && !c.manual {
		c.load.from.giveBack(c.at.Seq)
	}
	c.in.putBack(c.load)
}

// errAckWait is the cause of a handler's cancelled context.
var errAckWait = errors.New("not settled within AckWait: the message was given to another member")

// consumption is one run of Consume: workers that share one place in the stream.
type consumption struct {
	ctx     context.Context
	in      *inlet
	handler messages.Handler
	running atomic.Int64  // handlers that have not stopped
	over    chan struct{} // closed by the last of them
	once    sync.Once
	usercode.LastWait

	turn chan struct{} // whose turn it is to take the next; held by one worker
	load *load

	workersMu sync.Mutex
	workers   map[*worker]struct{}
}

// worker is one handler's goroutine.
type worker struct {
	ctx    context.Context // the handler's; one for many messages
	cancel context.CancelCauseFunc
	from   *intake // of the message in hand, or nil
	seq    uint64
}

func (w *worker) renew(ctx context.Context) {
	if w.cancel != nil {
		w.cancel(nil)
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
}

func newConsumption(ctx context.Context, in *inlet, handler messages.Handler) *consumption {
	return &consumption{ctx: ctx, in: in, handler: handler, over: make(chan struct{}), turn: make(chan struct{}, 1), workers: make(map[*worker]struct{})}
}

func (c *consumption) Context() context.Context { return c.ctx }

// ended is told by each handler's actor when the stream is over.
func (c *consumption) Ended() {
	if c.running.Add(-1) == 0 {
		c.finish()
	}
}

// finish lets Consume return.
func (c *consumption) finish() { c.once.Do(func() { close(c.over) }) }

// next takes the next delivery for one worker.
func (c *consumption) next(ctx context.Context, d *messages.Delivery) (bool, error) {
	select {
	case c.turn <- struct{}{}: // who is first in line gets the next
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	for {
		if c.load == nil {
			load, err := c.in.take(ctx)
			if load == nil {
				return false, err
			}
			c.load = load
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		ok, err := c.load.next(d)
		switch {
		case err != nil:
			c.load.spoil(err)
			c.load = nil
		case !ok:
			c.load = nil
		case !c.load.from.hand(d.Seq, 0):
			c.load = nil
		default:
			c.load.address(d)
			return true, nil
		}
	}
}

// work handles deliveries one after the other until the stream or ctx ends.
func (c *consumption) Work(ctx context.Context) error {
	w := &worker{}
	code := c.in.code("a handler", func() *intake {
		c.workersMu.Lock()
		defer c.workersMu.Unlock()
		return w.from
	})
	defer c.in.inside.Enter(code)()
	inner := code.Mark(ctx)
	w.renew(inner)
	c.workersMu.Lock()
	c.workers[w] = struct{}{}
	c.workersMu.Unlock()
	defer func() {
		c.workersMu.Lock()
		delete(c.workers, w)
		c.workersMu.Unlock()
		w.cancel(nil)
	}()
	var d messages.Delivery
	for {
		if w.ctx.Err() != nil && ctx.Err() == nil { // AckWait cancelled it
			w.renew(inner)
		}
		ok, err := c.next(ctx, &d)
		if !ok {
			return err
		}
		k := d.Settler.(*intake)
		c.workersMu.Lock()
		w.from, w.seq = k, d.Seq
		c.workersMu.Unlock()
		err = c.call(w.ctx, d)
		c.workersMu.Lock()
		w.from = nil
		c.workersMu.Unlock()
		switch {
		case err == nil:
			k.Ack(d.Seq)
		case ctx.Err() != nil:
			k.giveBack(d.Seq)
		default:
			k.Nack(d.Seq, err)
		}
	}
}

// call runs the handler; a panic is a failed handling like any other.
func (c *consumption) call(ctx context.Context, d messages.Delivery) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if p == nil {
			err = usercode.ErrGoexit
			d.Nack(err)
			return
		}
		err = fmt.Errorf("the handler panicked: %v", p)
		c.in.emit(messages.HandlerPanicked{
			Destination: c.in.cfg.Destination, Group: c.in.cfg.Group,
			Value: fmt.Sprint(p), Stack: string(debug.Stack()),
		})
	}()
	err = c.handler(ctx, d)
	returned = true
	return err
}

// expire cancels the handler that has had seq for too long.
func (c *consumption) expire(k *intake, seq uint64) {
	c.workersMu.Lock()
	defer c.workersMu.Unlock()
	for w := range c.workers {
		if w.from == k && w.seq == seq {
			w.cancel(errAckWait)
		}
	}
}

// end hands back what no worker took. A worker that is stuck in its handler
// does not hold the turn.
func (c *consumption) end() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.in.putBack(c.load)
	c.load = nil
}
