package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// Waiting: how long between attempts, and how to do it without outliving a
// context.

// Delayed says that etcd did not do what was asked and that Run tries again.
// It is an event of Session, Registry and Watch alike.
type Delayed struct {
	// Err is why; its text names what was asked of whom.
	Err error
	// Wait is how long Run waits before the next attempt.
	Wait time.Duration
}

func (Delayed) sessionEvent()  {}
func (Delayed) registryEvent() {}
func (Delayed) watchEvent()    {}

// backoff is the pause after the n-th failure in a row, from 0: doubling from
// base up to limit, its upper half drawn by chance (0 ≤ luck < 1) so that many
// clients of one etcd do not come back together.
func backoff(n int, base, limit time.Duration, luck float64) time.Duration {
	d := limit
	if n < 30 && base<<n < limit {
		d = base << n
	}
	return d/2 + time.Duration(luck*float64(d/2))
}

// retryBase and retryLimit bound the pause between attempts to reach etcd.
const (
	retryBase  = 100 * time.Millisecond
	retryLimit = 5 * time.Second
)

func pause(n int) time.Duration { return backoff(n, retryBase, retryLimit, rand.Float64()) }

// sleep waits for d, and answers ctx's cause when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
