package joined

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever comes, leaves and ends, in whatever order: each item is carried once or
// leaves, no trip has two of a place or more than it may, nobody is overtaken but by
// a leader or for its place, and nobody waits while nothing is under way.
func TestQueueCarriesEverythingOnce(t *testing.T) {
	type item = Item[int, int]
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{
			Items: rapid.IntRange(1, 5).Draw(t, "items"),
			Bytes: rapid.IntRange(1, 50).Draw(t, "bytes"),
			Full:  rapid.IntRange(1, 50).Draw(t, "full"),
			Late:  time.Second,
		}
		now := time.Unix(1, 0)
		var q queue[int, int]
		var came, here []*item // ever, and in the queue
		var led *item
		var under []*trip[int, int]
		carried, left := make(map[*item]int), make(map[*item]bool)
		next := func() {
			if it := q.successor(limits, now); it != nil {
				if led != nil || it != here[0] {
					t.Fatal("a second leader, or not the first of those who wait")
				}
				led = it
			}
		}
		drop := func(it *item) { here = slices.DeleteFunc(here, func(other *item) bool { return other == it }) }
		enter := func() {
			it := NewItem[int](len(came))
			it.load = Load[int]{Place: rapid.IntRange(0, 3).Draw(t, "place"), Bytes: rapid.IntRange(1, 40).Draw(t, "size")}
			came, here = append(came, it), append(here, it)
			if q.enter(it, limits, now) {
				if led != nil {
					t.Fatal("a second leader")
				}
				led = it
			}
		}
		board := func() {
			by := led
			if by == nil {
				return
			}
			led = nil
			one := q.board(by, limits, now)
			bytes, seen := 0, make(map[int]bool)
			last := -1
			for i, it := range one.items {
				if seen[it.load.Place] {
					t.Fatalf("two of place %d", it.load.Place)
				}
				seen[it.load.Place] = true
				bytes += it.load.Bytes
				carried[it]++
				at := slices.Index(here, it)
				if i > 0 && at <= last {
					t.Fatal("not in order")
				}
				if i > 0 {
					last = at
				}
			}
			if one.items[0] != by || len(one.items) > 1 && (len(one.items) > limits.Items || bytes > limits.Bytes) {
				t.Fatalf("%d items, %d bytes, with %+v", len(one.items), bytes, limits)
			}
			for i, it := range here {
				if i < last && !slices.Contains(one.items, it) && !seen[it.load.Place] {
					t.Fatal("somebody was overtaken")
				}
			}
			for _, it := range one.items {
				drop(it)
			}
			under = append(under, one)
			next()
		}
		quit := func() {
			if len(here) == 0 {
				return
			}
			it := rapid.SampledFrom(here).Draw(t, "who")
			q.quit(it)
			if left[it] = true; it == led {
				led = nil
			}
			drop(it)
			next()
		}
		over := func() {
			if len(under) == 0 {
				return
			}
			i := rapid.IntRange(0, len(under)-1).Draw(t, "which")
			q.over(under[i])
			under = slices.Delete(under, i, i+1)
			next()
		}
		late := func() {
			now = now.Add(limits.Late)
			if len(here) == 0 {
				return
			}
			it := rapid.SampledFrom(here).Draw(t, "impatient")
			switch leads := q.askAgain(it, limits, now); {
			case leads && led != nil:
				t.Fatal("a second leader")
			case leads:
				led = it
			case led == nil && len(under) < mostTrips:
				t.Fatal("the trip before is late, and it waits")
			}
		}
		check := func() {
			bytes := 0
			for _, it := range here {
				bytes += it.load.Bytes
			}
			switch {
			case q.bytes != bytes || !slices.Equal(q.items, here):
				t.Fatalf("%d bytes of %d items, want %d of %d", q.bytes, len(q.items), bytes, len(here))
			case len(here) > 0 && led == nil && len(under) == 0:
				t.Fatal("somebody waits, and nothing is under way")
			case led == nil && len(under) < mostTrips && len(here) > 0 && (bytes >= limits.Full || len(here) >= limits.Items):
				t.Fatal("a full trip waits")
			case len(under) > mostTrips:
				t.Fatalf("%d trips", len(under))
			}
		}
		steps := map[string]func(){"enter": enter, "board": board, "quit": quit, "over": over, "late": late}
		for _, step := range rapid.SliceOfN(rapid.SampledFrom([]string{"enter", "enter", "enter", "board", "quit", "over", "late"}), 0, 100).Draw(t, "steps") {
			steps[step]()
			check()
		}
		for led != nil || len(under) > 0 {
			board()
			over()
			check()
		}
		for _, it := range came {
			if n := carried[it]; left[it] == (n == 1) || n > 1 {
				t.Fatalf("item %d was carried %d times, left: %v", it.What, n, left[it])
			}
		}
	})
}

// The memory of a trip holds no item that stayed.
func TestQueueForgets(t *testing.T) {
	var q queue[int, int]
	limits, now := Limits{Items: 2, Bytes: 10, Full: 10, Late: time.Second}, time.Unix(1, 0)
	first := NewItem[int](0)
	q.enter(first, limits, now)
	q.board(first, limits, now)
	for i := range 3 {
		it := NewItem[int](i)
		it.load.Place = i
		q.enter(it, limits, now)
	}
	q.board(q.items[0], limits, now)
	for _, it := range q.items[len(q.items):cap(q.items)] {
		if it != nil {
			t.Errorf("item %d is kept", it.What)
		}
	}
}
