package produce

// The end of puts, of a topic or of one handle.

import (
	"sync/atomic"
)

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
