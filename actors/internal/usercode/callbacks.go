package usercode

// Callbacks that are called on a goroutine of their own.

import "context"

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

// Due says that something is queued in Of, and nobody calls it.
type Due struct{ Of Callbacks }
