package socket

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Beats of connections that opened at any time fall together, and none is late.
func TestBeatsFallTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		beat := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Minute)).Draw(t, "beat"))
		beat -= beat % 4
		now := time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "now"))
		wait := untilBeat(now, beat)
		if wait <= beat*3/4 || wait > beat {
			t.Fatalf("the next of every %v is due after %v", beat, wait)
		}
		due := now.Add(wait)
		if off := due.UnixNano() % int64(beat/4); off != 0 {
			t.Fatalf("it is due %v after the others", time.Duration(off))
		}
		// One that is told a little late is not moved.
		late := time.Duration(rapid.Int64Range(0, int64(beat/4)-1).Draw(t, "late"))
		if next := due.Add(late).Add(untilBeat(due.Add(late), beat)); next.Sub(due) != beat {
			t.Fatalf("told %v late, the next is due %v after it", late, next.Sub(due))
		}
	})
}
