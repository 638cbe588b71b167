package produce

// Callbacks of those who do not wait. User code runs on no goroutine that
// appends, commits or serves an actor: each handle has a queue of its own, and a
// goroutine while there is something in it. A callback that blocks holds up the
// later ones of its handle, and nothing else.

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// MaxCallbacksWaiting is how many callbacks of PutAsync can wait in a handle for
// the one before them to return, while more is taken.
const MaxCallbacksWaiting = 1 << 16

// stuckCallback is how long no callback of a handle may return before those that
// wait for it are told.
const stuckCallback = time.Second

// putCalls is the queue of one producer. A record's credit is given back before
// it comes here, so no callback need return for another record to be committed.
type putCalls struct {
	host func(usercode.Callbacks) // has Call called on a goroutine of its own
	of   func(error) error        // names the handle
	fail func(error)              // is told of a callback that panicked
	// panicked is told with what a callback panicked, or nil of one that ended its
	// goroutine, and returns the error of that, if it is one.
	panicked func(value any, stack []byte) error
	left     atomic.Int64 // queued and not returned
	ears     atomic.Int32 // who waits for one to return

	now      toCall // the caller's alone
	returned atomic.Uint64

	mu     sync.Mutex
	queue  []toCall
	hosted hostState
	queued uint64
	moved  chan struct{} // closed when one returned; nil when nobody waits
}

// hostState says whether a goroutine calls, or was asked for.
type hostState uint8

const (
	notHosted hostState = iota
	isHosted
)

// toCall is a run of slots of a shipment that are callbacks of one producer.
type toCall struct {
	acc      *Accumulator
	ship     *shipment
	next, to int
	offset   int64 // of next's record, from the base
}

// add queues a run. It never blocks.
func (c *putCalls) add(t toCall) {
	n := t.to - t.next
	t.ship.users.Add(1)
	c.left.Add(int64(n))
	c.mu.Lock()
	c.queue = append(c.queue, t)
	c.queued += uint64(n)
	begin := c.hosted == notHosted
	c.hosted = isHosted
	c.mu.Unlock()
	if begin {
		c.host(c)
	}
}

// Call calls what is queued, one after the other, until there is no more or ctx
// ends. A callback may end the goroutine: then Call is to be called again.
func (c *putCalls) Call(ctx context.Context) {
	for c.take() {
		for c.now.next < c.now.to {
			if ctx.Err() != nil {
				return
			}
			c.callSome(ctx)
		}
		c.now.ship.recycle()
		c.now = toCall{}
	}
}

// take sees to it that there is a run to call; without one, nobody calls any more.
func (c *putCalls) take() bool {
	if c.now.ship != nil {
		return true // a callback ended the goroutine
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.queue, c.hosted = nil, notHosted
		return false
	}
	c.now = c.queue[0]
	c.queue[0] = toCall{}
	c.queue = c.queue[1:]
	return true
}

// callSome calls to the end of the run, to a callback that panics, or until ctx
// ends.
func (c *putCalls) callSome(ctx context.Context) {
	t, over := &c.now, false
	defer func() {
		if over {
			return
		}
		if err := c.panicked(recover(), debug.Stack()); err != nil {
			c.fail(t.acc.wrap(fmt.Errorf("callback: %w", err)))
		}
		c.count()
	}()
	for ; t.next < t.to && ctx.Err() == nil; c.count() {
		s, r := t.ship.slot(t.next), t.ship.result(t.acc.partition, t.offset)
		// Before the call: nobody is told twice.
		t.next++
		t.offset++
		s.to.(callback)(r)
	}
	over = true
}

// count notes that a callback returned.
func (c *putCalls) count() {
	c.left.Add(-1)
	c.returned.Add(1)
	if c.ears.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

// until waits until enough says so, which is asked again whenever a callback
// returned, or ctx ends, whose cause it returns. With a patience, it returns
// messages.ErrBusy when no callback returns for so long.
func (c *putCalls) until(ctx context.Context, patience time.Duration, enough func() bool) error {
	c.ears.Add(1)
	defer c.ears.Add(-1)
	var late <-chan time.Time
	for {
		c.mu.Lock()
		if enough() {
			c.mu.Unlock()
			return nil
		}
		if c.moved == nil {
			c.moved = make(chan struct{})
		}
		moved := c.moved
		c.mu.Unlock()
		if patience > 0 {
			late = time.After(patience)
		}
		select {
		case <-moved:
		case <-late:
			return c.of(fmt.Errorf("%d callbacks wait for one that has not returned for %s: %w", c.left.Load(), patience, messages.ErrBusy))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// room waits while as many callbacks wait as can. The one that is being called
// may be who asks, so that is not waited for without end.
func (c *putCalls) room(ctx context.Context) error {
	if c.left.Load() < MaxCallbacksWaiting {
		return nil
	}
	return c.until(ctx, stuckCallback, func() bool { return c.left.Load() < MaxCallbacksWaiting })
}

// tryRoom is room that does not wait: it returns messages.ErrBusy.
func (c *putCalls) tryRoom() error {
	if n := c.left.Load(); n >= MaxCallbacksWaiting {
		return fmt.Errorf("%d callbacks wait for one to return: %w", n, messages.ErrBusy)
	}
	return nil
}

// flushed waits until all that is queued now has returned, or ctx ends.
func (c *putCalls) flushed(ctx context.Context) error {
	c.mu.Lock()
	goal := c.queued
	c.mu.Unlock()
	if c.returned.Load() >= goal {
		return nil
	}
	return c.until(ctx, 0, func() bool { return c.returned.Load() >= goal })
}

// Waiting says what is left to call.
func (c *putCalls) Waiting() error {
	if n := c.left.Load(); n > 0 {
		return c.of(fmt.Errorf("%d callbacks did not return or were not called", n))
	}
	return nil
}

// Run describes the callbacks.
func (c *putCalls) Run() *usercode.Run {
	return &usercode.Run{What: "a callback of PutAsync", Of: c}
}
