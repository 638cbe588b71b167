package cli

// How long a command may take, and how long it takes to end.

import (
	"context"
	"time"
)

// DrainFor is how long a command finishes what it took after a signal.
const DrainFor = 10 * time.Second

// Finishing returns a context for what is still to be done after ctx ended: it has DrainFor.
func Finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), DrainFor)
}

// ErrTimeout is the cause of a context that --timeout ended.
var ErrTimeout = Incompletef("time ran out")

// Limited returns a context that ends after timeout, with the cause ErrTimeout; 0 is
// no limit.
func Limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, ErrTimeout)
}
