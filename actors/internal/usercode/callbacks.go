package usercode

// Callbacks that are called on a goroutine of their own.

import (
	"context"
	"sync"
)

// Callbacks is a queue of callbacks that a goroutine of its own calls.
type Callbacks interface {
	// Call calls what is queued until there is no more or ctx ends. After a
	// callback that ended the goroutine it is called again.
	Call(ctx context.Context)
	// Waiting says what is left to call; nil for nothing.
	Waiting() error
	// Run describes the callbacks.
	Run() *Run
}

// Dues are the queues in which something is queued that nobody calls yet. They outlive
// the actor that has them called, with which its mailbox is lost. Safe for concurrent use.
type Dues struct {
	mu  sync.Mutex
	all []Callbacks
}

// Due says that there are Dues.
type Due struct{}

// Add notes a queue, and reports whether it is the first, so that a *Due is to be sent.
func (d *Dues) Add(c Callbacks) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, c)
	return len(d.all) == 1
}

// Take takes all of them.
func (d *Dues) Take() []Callbacks {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	return all
}
