package retry

// Pauses and clocks.

import (
	"testing"
	"time"
)

func TestElapsedTakesTheClockThatSawMore(t *testing.T) {
	now := time.Now()
	if d := Elapsed(now, now.Add(time.Second)); d != time.Second {
		t.Error(d)
	}
	// A wall clock that was set forward, or a host that slept: now has no
	// monotonic reading that says so.
	if d := Elapsed(now, now.Round(0).Add(time.Hour)); d != time.Hour {
		t.Error(d)
	}
}

func TestBackoff(t *testing.T) {
	for n := range 100 {
		for _, luck := range []float64{0, 0.5, 0.999} {
			d := backoff(n, Base, Limit, luck)
			if d < Base/2 || d > Limit {
				t.Fatalf("%d, %v: %v", n, luck, d)
			}
		}
	}
	if a, b := backoff(0, Base, Limit, 0), backoff(5, Base, Limit, 0); a >= b {
		t.Errorf("does not grow: %v, %v", a, b)
	}
}
