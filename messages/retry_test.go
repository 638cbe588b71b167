package messages

import (
	"math"
	"testing"
	"time"
)

func TestRetryDelays(t *testing.T) {
	r := Retry{Min: 100 * time.Millisecond, Max: time.Second, Factor: 2}
	for failures, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond,
		5: time.Second, 60000: time.Second,
	} {
		if got := r.Delay(failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
	// A float rounds the longest delay up, beyond what a Duration holds.
	for _, long := range []Retry{{Min: math.MaxInt64, Max: math.MaxInt64, Factor: 2}, {Min: 1, Max: math.MaxInt64, Factor: math.Inf(1)}} {
		for _, failures := range []int{1, 2, 60000} {
			if got := long.Delay(failures); got <= 0 {
				t.Errorf("after %d failures %s", failures, got)
			}
		}
	}
	flat := Retry{Min: time.Second, Max: time.Minute, Factor: 1}
	if got := flat.Delay(1000); got != time.Second {
		t.Errorf("a flat retry waits %s", got)
	}
}
