package schedule

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

func decided(x *Times, s *messages.ScheduleInfo, present, now time.Time) (steps []Step) {
	for {
		step, due := Decide(x, s, present, now)
		if !due {
			return steps
		}
		steps = append(steps, step)
		s.Next = step.Next
	}
}

// Promise: ticks in a keeper's presence are all fired, however late; of those before, what the
// policy says, and the rest is counted.
func TestMissedTicks(t *testing.T) {
	begin := at(t, "2026-06-01T12:00:00Z")
	minute := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
	for _, tt := range []struct {
		name         string
		missed       messages.MissedTicks
		most         int
		present, now time.Time
		fired        []int // minutes
		given        uint64
		next         int
	}{
		{"nothing is due", messages.MissedLatest, 100, minute(-1), begin.Add(59 * time.Second), nil, 0, 1},
		{"on time", messages.MissedSkip, 100, minute(0), minute(1), []int{1}, 0, 2},
		{"late", messages.MissedSkip, 100, minute(0), minute(3), []int{1, 2, 3}, 0, 4},
		{"skip", messages.MissedSkip, 100, minute(5).Add(time.Second), minute(5).Add(20 * time.Second), nil, 5, 6},
		{"skip, and one late", messages.MissedSkip, 100, minute(5).Add(time.Second), minute(6), []int{6}, 5, 7},
		{"latest", messages.MissedLatest, 100, minute(5).Add(time.Second), minute(5).Add(20 * time.Second), []int{5}, 4, 6},
		{"latest, and one late", messages.MissedLatest, 100, minute(5).Add(time.Second), minute(6), []int{6}, 5, 7},
		{"all", messages.MissedAll, 100, minute(4).Add(time.Second), minute(5), []int{1, 2, 3, 4, 5}, 0, 6},
		{"all that are allowed", messages.MissedAll, 2, minute(4).Add(time.Second), minute(5), []int{3, 4, 5}, 2, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := times(t, "* * * * *", "")
			s := &messages.ScheduleInfo{Schedule: messages.Schedule{Missed: tt.missed, MaxMissed: tt.most}, Next: minute(1)}
			var given uint64
			var fired []time.Time
			for _, step := range decided(x, s, tt.present, tt.now) {
				given += step.Missed
				if !step.Fire.IsZero() {
					fired = append(fired, step.Fire)
				}
			}
			if len(fired) != len(tt.fired) || given != tt.given || !s.Next.Equal(minute(tt.next)) {
				t.Fatalf("fired %v, gave up %d, next %v", fired, given, s.Next)
			}
			for i, n := range tt.fired {
				if !fired[i].Equal(minute(n)) {
					t.Errorf("fired %v, want minutes %v", fired, tt.fired)
				}
			}
		})
	}
}

// Promise: nothing is due of a schedule that is paused, or has no tick any more.
func TestNothingDue(t *testing.T) {
	x, now := times(t, "* * * * *", ""), at(t, "2026-06-01T12:00:00Z")
	for name, s := range map[string]*messages.ScheduleInfo{
		"paused": {Paused: true, Next: now}, "no next tick": {},
	} {
		if step, due := Decide(x, s, now, now); due {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

// Promise: whatever the policy and however long nobody was there, each tick up to now is fired
// once, in order, or counted as given up, and none later is touched.
func TestEachTickOnceOrGivenUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, begin := drawTimes(t), drawTime(t, "begin")
		s := &messages.ScheduleInfo{Schedule: messages.Schedule{
			Missed:    rapid.SampledFrom([]messages.MissedTicks{messages.MissedLatest, messages.MissedSkip, messages.MissedAll}).Draw(t, "missed"),
			MaxMissed: rapid.IntRange(1, 20).Draw(t, "most"),
		}, Next: x.After(begin)}
		first, now := s.Next, begin
		var fired []time.Time
		var given uint64
		for range rapid.IntRange(1, 5).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(50*time.Hour)).Draw(t, "passed")))
			present := now.Add(-time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "present")))
			for _, step := range decided(x, s, present, now) {
				given += step.Missed
				if !step.Fire.IsZero() {
					fired = append(fired, step.Fire)
				}
			}
		}
		for i, tick := range fired {
			if tick.After(now) || i > 0 && !tick.After(fired[i-1]) {
				t.Fatalf("fired %v until %v", fired, now)
			}
		}
		if all := x.count(first, now.Add(time.Nanosecond), 1e6); uint64(len(fired))+given != all {
			t.Fatalf("%d ticks fired and %d given up, of %d", len(fired), given, all)
		}
		if !s.Next.After(now) {
			t.Fatalf("the next tick is %v, at %v", s.Next, now)
		}
	})
}
