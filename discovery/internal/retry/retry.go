package retry

// The pauses between attempts, and clocks.

import (
	"context"
	"math/rand/v2"
	"time"
)

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

// Base and Limit bound the pause between attempts to reach etcd.
const (
	Base  = 100 * time.Millisecond
	Limit = 5 * time.Second
)

// Pause returns how long to wait after the n-th failure in a row, from 0: 50 to
// 100 ms at first, doubling up to 2.5 to 5 s.
func Pause(n int) time.Duration { return backoff(n, Base, Limit, rand.Float64()) }

// Sleep waits for d, and returns ctx's cause when ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Elapsed returns how much time went by, by the clock that saw more of it: the
// monotonic clock stands still while the host is suspended, the wall clock can
// be set back.
func Elapsed(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
