package supervisor

import (
	"math"
	"time"
)

// This file computes delays. It performs nothing and keeps nothing.

// Backoff is a delay that grows with each failure in a row.
//
// The zero Backoff means DefaultBackoff. In any other one a negative Min counts
// as 0, a Max below Min as Min, a Factor below 1 as 1 (2 when it is 0), and
// Jitter is held within 0 and 1.
type Backoff struct {
	// Min is the first delay, Max the longest.
	Min, Max time.Duration
	// Factor is how much longer each delay is than the one before.
	Factor float64
	// Jitter spreads a delay d evenly over d·(1−Jitter) to d·(1+Jitter), cut
	// off at Min and Max, so that many that failed together do not all come
	// back together.
	Jitter float64
	// Healthy is how long an incarnation has to live for the next failure to
	// count as the first again; 0 means Max.
	Healthy time.Duration
}

// DefaultBackoff runs from 100 ms to 30 s, doubles, spreads by a fifth, and
// starts again after a healthy minute.
func DefaultBackoff() Backoff {
	return Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second, Factor: 2, Jitter: 0.2, Healthy: time.Minute}
}

// Delay is how long to wait before attempt, counted from 1. random, in [0,1),
// picks the place within the jitter. The result is within Min and Max.
func (b Backoff) Delay(attempt int, random float64) time.Duration {
	b = b.orDefault()
	lowest, highest := float64(b.Min), float64(b.Max)
	base := lowest * math.Pow(b.Factor, float64(max(attempt, 1)-1))
	base = min(base, highest) // also when Pow overflowed to +Inf
	from := max(lowest, base*(1-b.Jitter))
	to := min(highest, base*(1+b.Jitter))
	d := from + (to-from)*random
	if d >= highest { // which a float rounds up
		return b.Max
	}
	return max(time.Duration(d), b.Min)
}

// orDefault is b with every field usable.
func (b Backoff) orDefault() Backoff {
	if b == (Backoff{}) {
		return DefaultBackoff()
	}
	b.Min = max(b.Min, 0)
	b.Max = max(b.Max, b.Min)
	if b.Factor == 0 {
		b.Factor = 2
	}
	b.Factor = max(b.Factor, 1)
	b.Jitter = min(max(b.Jitter, 0), 1)
	if b.Healthy <= 0 {
		b.Healthy = b.Max
	}
	return b
}
