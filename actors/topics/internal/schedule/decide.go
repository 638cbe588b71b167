package schedule

// What is due of a schedule.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Step is what is to be done with a schedule, in one transaction.
type Step struct {
	// Fire is the tick whose record is put; the zero Time for none.
	Fire time.Time
	// Missed are ticks that are given up, counted up to MostCounted.
	Missed uint64
	// Next is the next tick from then on; the zero Time for none.
	Next time.Time
}

// MostCounted is how many ticks of one step are counted as missed: those of years would
// take too long.
const MostCounted = 10000

// Decide returns the step that is due of a schedule whose ticks are t; false for none. Ticks
// before present are missed, others are late at most.
func Decide(t *Times, s *messages.ScheduleInfo, present, now time.Time) (Step, bool) {
	due := s.Next
	if s.Paused || due.IsZero() || due.After(now) {
		return Step{}, false
	}
	if !due.Before(present) {
		return Step{Fire: due, Next: t.After(due)}, true
	}
	late := t.After(present.Add(-time.Nanosecond))
	n := t.count(due, present, MostCounted)
	switch {
	case s.Missed == messages.MissedAll:
		kept := t.last(s.MaxMissed, due, present)
		if len(kept) > 0 {
			return Step{Fire: kept[0], Missed: n - min(n, uint64(len(kept))), Next: t.After(kept[0])}, true
		}
	case s.Missed == messages.MissedLatest && (late.IsZero() || late.After(now)):
		if kept := t.last(1, due, present); len(kept) > 0 {
			return Step{Fire: kept[0], Missed: n - min(n, 1), Next: late}, true
		}
	}
	if late.IsZero() || late.After(now) {
		return Step{Missed: n, Next: late}, true
	}
	return Step{Fire: late, Missed: n, Next: t.After(late)}, true
}
