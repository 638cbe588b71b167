package pulse

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A process is dead when a connection of its was kept and closed, and a refusal follows
// before much else was seen. Whatever is seen, waits are bounded, and one that cannot
// be reached is not dialed more often than it should be.
func TestJudge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var j judge
		briefs := 0
		since := -1 // unclear outcomes since the last connection that was kept; -1 without one
		for _, o := range rapid.SliceOf(rapid.SampledFrom([]outcome{kept, brief, refused, unclear})).Draw(t, "outcomes") {
			v, wait := j.sees(o)
			if wait < 0 || wait > longestWhile || v == later && wait < while {
				t.Fatalf("%d: waits %s", v, wait)
			}
			if evidence := o == refused && since >= 0 && since < tries; evidence != (v == dead) {
				t.Fatalf("%d after %d unclear ones: %d", o, since, v)
			}
			switch {
			case v == dead:
				return
			case o == kept && v != again:
				t.Fatalf("a connection was kept, and it says %d", v)
			case v == later:
				since, briefs = -1, 0
			case o == kept:
				since, briefs = 0, 0
			case o == brief:
				since = 0
				if briefs++; briefs >= tries {
					t.Fatal("it dials again and again")
				}
			default:
				since++
			}
		}
	})
}

// The time in which a refusal counts is short.
func TestJudgeDoesNotWaitLong(t *testing.T) {
	var j judge
	j.sees(kept)
	var all time.Duration
	for range tries {
		v, wait := j.sees(unclear)
		if v == later {
			if all > time.Second {
				t.Errorf("a refusal counts for %s", all)
			}
			if v, _ := j.sees(refused); v == dead {
				t.Error("a late refusal counts")
			}
			return
		}
		all += wait
	}
	t.Error("a refusal counts without end")
}
