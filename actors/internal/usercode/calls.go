package usercode

// Functions of a user's that are called one after the other, on no goroutine that has
// something else to do.

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Limits of one Calls.
const (
	// MaxCallsWaiting is how many calls can wait for the one before them to return, while
	// more is taken.
	MaxCallsWaiting = 1 << 16
	// MaxCallBytes is how much the calls that wait can hold, as Offer is told, before no
	// more is taken.
	MaxCallBytes = 32 << 20
	// stuckCall is how long no call may return before those that wait for room are told.
	stuckCall = time.Second
)

// Calls is a queue of calls of one handle: a call that blocks holds up the later ones of
// its handle, and nothing else. It is safe for concurrent use.
type Calls struct {
	what string // for people: "the done of SendAsync to ..."
	host func(Callbacks)
	tell func(value any, stack []byte) // of a panic, or with nil of a runtime.Goexit

	mu       sync.Mutex
	queue    []func()
	head     int
	hosted   bool // a goroutine calls, or was asked for
	queued   uint64
	returned uint64
	held     int           // bytes, as Offer was told
	moved    chan struct{} // closed when one returned; nil when nobody waits
}

// NewCalls makes a queue. host has Call called on a goroutine of its own, and tell is
// told what a call panicked with; neither may block.
func NewCalls(what string, host func(Callbacks), tell func(value any, stack []byte)) *Calls {
	return &Calls{what: what, host: host, tell: tell}
}

// Add queues f. It does not block, and takes any number: see Room.
func (c *Calls) Add(f func()) {
	c.mu.Lock()
	c.queue = append(c.queue, f)
	c.queued++
	begin := !c.hosted
	c.hosted = true
	c.mu.Unlock()
	if begin {
		c.host(c)
	}
}

// Offer is Add of a call that holds size bytes. It reports whether there was room, so that
// f is called: while a call does not return, those behind it hold MaxCallBytes at most.
func (c *Calls) Offer(f func(), size int) bool {
	c.mu.Lock()
	room := c.queued-c.returned < MaxCallsWaiting && (c.held == 0 || c.held+size <= MaxCallBytes)
	if room {
		c.held += size
	}
	c.mu.Unlock()
	if room {
		c.Add(func() { defer c.free(size); f() })
	}
	return room
}

func (c *Calls) free(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held -= size
}

// Call calls what is queued until there is no more or ctx ends.
func (c *Calls) Call(ctx context.Context) {
	for ctx.Err() == nil {
		f := c.next()
		if f == nil {
			return
		}
		c.call(f)
	}
}

// next takes the oldest call; without one, nobody calls any more.
func (c *Calls) next() (f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head == len(c.queue) {
		c.queue, c.head, c.hosted = nil, 0, false
		return nil
	}
	f, c.queue[c.head] = c.queue[c.head], nil
	if c.head++; c.head > 64 && c.head*2 >= len(c.queue) {
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	return f
}

func (c *Calls) call(f func()) {
	over := false
	defer func() {
		if !over {
			c.tell(recover(), debug.Stack())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.returned++
		if c.moved != nil {
			close(c.moved)
			c.moved = nil
		}
	}()
	f()
	over = true
}

// Room waits while as many calls wait as can, until ctx ends. It returns messages.ErrBusy
// when none returns for a second: the one that is being called may be who asks.
func (c *Calls) Room(ctx context.Context) error {
	return c.until(ctx, stuckCall, func() bool { return c.queued-c.returned < MaxCallsWaiting })
}

// Flushed waits until all that is queued now has returned, or ctx ends.
func (c *Calls) Flushed(ctx context.Context) error {
	c.mu.Lock()
	goal := c.queued
	c.mu.Unlock()
	return c.until(ctx, 0, func() bool { return c.returned >= goal })
}

// until waits until enough says so, under the lock. With a patience, that is how long no
// call may return meanwhile.
func (c *Calls) until(ctx context.Context, patience time.Duration, enough func() bool) error {
	for {
		c.mu.Lock()
		if enough() {
			c.mu.Unlock()
			return nil
		}
		if c.moved == nil {
			c.moved = make(chan struct{})
		}
		moved, left := c.moved, c.queued-c.returned
		c.mu.Unlock()
		var late <-chan time.Time
		if patience > 0 {
			late = time.After(patience)
		}
		select {
		case <-moved:
		case <-late:
			return fmt.Errorf("%s: %d calls wait for one that has not returned for %s: %w", c.what, left, patience, messages.ErrBusy)
		case <-ctx.Done():
			return fmt.Errorf("%s: %d calls have not returned: %w", c.what, left, context.Cause(ctx))
		}
	}
}

// Idle reports whether nothing is left to call, or being called.
func (c *Calls) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued == c.returned
}

// Waiting says what is left to call.
func (c *Calls) Waiting() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.queued - c.returned; n > 0 {
		return fmt.Errorf("%s: %d calls did not return or were not made", c.what, n)
	}
	return nil
}

// Run describes the calls.
func (c *Calls) Run() *Run { return &Run{What: c.what, Of: c} }
