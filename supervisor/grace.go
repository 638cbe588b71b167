package supervisor

// A context that outlives another for a while.

import (
	"context"
	"sync"
	"time"
)

// Grace returns a context with ctx's values that ends d after ctx does: for what
// an end has to do even when there was no time for more. Its cause is ctx's.
// The function it returns must be called; it ends the context at once.
func Grace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var mu sync.Mutex
	var last *time.Timer
	over := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			last = time.AfterFunc(d, func() { cancel(context.Cause(ctx)) })
		}
	})
	return out, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		if last != nil {
			last.Stop()
		}
		cancel(nil)
	}
}
