package usercode

import (
	"testing"
	"testing/synctest"
	"time"
)

// Promise: functions that do not return hold an end up for Grace, all of them
// together.
func TestLastWaitIsOfAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l LastWait
		time.Sleep(time.Hour) // no end has begun
		for _, step := range []struct{ after, left time.Duration }{
			{0, Grace}, {Grace / 4, Grace * 3 / 4}, {Grace / 2, Grace / 4}, {Grace, 0}, {time.Hour, 0},
		} {
			time.Sleep(step.after)
			if got := l.Patience(); got != step.left {
				t.Errorf("%s are left, want %s", got, step.left)
			}
		}
	})
}
