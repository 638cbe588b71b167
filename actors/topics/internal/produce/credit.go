package produce

// The room that a handle has for records, and the end of puts, of a topic or of one
// handle.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/messages"
)

// credit is the room that a producer has for records, in bytes. Who waits for it
// gets it in the order they came, so that a large record is not passed by without
// end.
type credit struct {
	size    int64
	free    atomic.Int64
	waiting atomic.Int32 // len(queue), for those who do not hold mu

	mu    sync.Mutex
	queue []*want
	// over and closed are closed when nothing is granted any more.
	over, closed <-chan struct{}
}

// want is a record that waits for room.
type want struct {
	size    int64
	granted chan struct{}
}

func (c *credit) init(size int64, over, closed <-chan struct{}) {
	c.size, c.over, c.closed = size, over, closed
	c.free.Store(size)
}

func (c *credit) used() int64 { return c.size - c.free.Load() }

// take waits for room for n bytes, until ctx ends, whose cause it returns, or
// the credit is closed: messages.ErrClosed.
func (c *credit) take(ctx context.Context, n int64) error {
	if c.there(n) {
		return nil
	}
	w := &want{n, make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, w)
	c.waiting.Store(int32(len(c.queue)))
	c.grant()
	c.mu.Unlock()
	var err error
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-c.over:
		err = messages.ErrClosed
	case <-c.closed:
		err = messages.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.queue, w); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
		c.waiting.Store(int32(len(c.queue)))
	} else {
		c.free.Add(n) // granted at the same moment
	}
	c.grant() // it may have held up smaller ones
	return err
}

// try is take that does not wait, nor pass by those who do: it returns
// messages.ErrGroupFull.
func (c *credit) try(n int64) error {
	if !c.there(n) {
		return fmt.Errorf("no room for %d bytes, %d of %d are taken: %w", n, c.used(), c.size, messages.ErrGroupFull)
	}
	return nil
}

// there takes room for n bytes that is there, unless others wait: who passed them by
// would keep them waiting.
func (c *credit) there(n int64) bool { return c.waiting.Load() == 0 && c.tryTake(n) }

func (c *credit) tryTake(n int64) bool {
	for {
		free := c.free.Load()
		if free < n {
			return false
		}
		if c.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

// give puts n bytes back.
func (c *credit) give(n int64) {
	c.free.Add(n)
	if c.waiting.Load() > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.grant()
	}
}

// grant serves the queue from its front. mu is held.
func (c *credit) grant() {
	served := 0
	for ; served < len(c.queue) && c.tryTake(c.queue[served].size); served++ {
		close(c.queue[served].granted)
	}
	if served > 0 {
		c.queue = slices.Delete(c.queue, 0, served)
		c.waiting.Store(int32(len(c.queue)))
	}
}

// closure is why a producer takes no more.
type closure struct{ err error }

// Ending lets every put from then on, and those that wait for room, end with an
// error. What was taken is the accumulators' to finish.
type Ending struct {
	cause atomic.Pointer[closure]
	over  chan struct{} // closed with it
}

// NewEnding makes an Ending of what has not ended.
func NewEnding() *Ending { return &Ending{over: make(chan struct{})} }

// End says why. The first one counts, and only of it End returns true.
func (e *Ending) End(err error) bool {
	first := e.cause.CompareAndSwap(nil, &closure{err})
	if first {
		close(e.over)
	}
	return first
}

// Over is closed by the end.
func (e *Ending) Over() <-chan struct{} { return e.over }

// Why returns the cause of the end, nil before it.
func (e *Ending) Why() error {
	if c := e.cause.Load(); c != nil {
		return c.err
	}
	return nil
}
