package keeper

// When the mark of a partition goes in which records expire.

import (
	"testing"
	"time"
)

// Promise: a mark goes when nothing has been due for unmarkAfter without a break, and not before.
func TestMarkGoesWhenNothingExpiresForLong(t *testing.T) {
	part, now := newExpiringPart(), time.Unix(1e9, 0)
	for _, step := range []struct {
		after time.Duration
		due   int
		want  bool
	}{
		{0, 1, false},
		{unmarkAfter, 1, false},
		{time.Second, 0, false},
		{unmarkAfter - 1, 0, false},
		{0, 1, false}, // it begins again
		{time.Second, 0, false},
		{unmarkAfter - 1, 0, false},
		{1, 0, true},
	} {
		now = now.Add(step.after)
		part.due = make(dueBatches, step.due)
		if got := part.isIdle(now); got != step.want {
			t.Errorf("at %s, with %d due: %v", now, step.due, got)
		}
	}
}
