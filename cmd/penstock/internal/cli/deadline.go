package cli

// How long a command may take, and how long it takes to end.

import (
	"context"
	"time"
)

// DrainFor is how long a command finishes what it took after a signal.
const DrainFor = 10 * time.Second

// Finishing is a context for what is still to be done after ctx ended.
func Finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), DrainFor)
}

// ErrTimeout is the cause of a context that --timeout ended.
var ErrTimeout = Incompletef("time ran out")

// Limited ends ctx after a timeout; 0 does not.
func Limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, ErrTimeout)
}
