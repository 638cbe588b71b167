package usercode

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Promise: who is at the same call for the limit is told once, and again at each
// doubling. A sign of life, another call and an end begin again.
func TestStuckWatch(t *testing.T) {
	type busy = map[string]time.Time
	begin := time.Unix(1000, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	var w StuckWatch[string]
	for _, step := range []struct {
		now  int
		busy busy
		want []int // seconds of "a"
	}{
		{0, busy{"a": {}}, nil},
		{9, busy{"a": {}}, nil},
		{10, busy{"a": {}}, []int{10}},
		{19, busy{"a": {}}, nil},
		{20, busy{"a": {}}, []int{20}},
		{90, busy{"a": {}}, []int{90}}, // it was not looked for long
		{159, busy{"a": {}}, nil},
		{160, busy{"a": {}}, []int{160}},
		{170, busy{}, nil},
		{180, busy{"a": {}}, nil}, // another call
		{189, busy{"a": at(185)}, nil},
		{194, busy{"a": at(185)}, nil},
		{195, busy{"a": at(185)}, []int{10}},
		{196, busy{"a": at(196)}, nil},
		{206, busy{"a": at(196)}, []int{10}},
	} {
		var got []int
		for _, s := range w.Look(at(step.now), 10*time.Second, step.busy) {
			got = append(got, int(s.Running/time.Second))
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("at %d: %v, want %v", step.now, got, step.want)
		}
	}
	if len(w.seen) != 1 {
		t.Errorf("%d calls are remembered", len(w.seen))
	}
}

// Consumption stands for those whose workers have a label.
type Consumption struct{ runs *Runs }

// Work runs f as a worker does.
func (c *Consumption) Work(f func(ctx context.Context, label string)) {
	ctx, label, restore := c.runs.Label(context.Background(), `a "b"/c`)
	defer restore()
	f(ctx, label)
}

// Promise: the stack of a worker is found by its label, before those of goroutines that
// it began; a worker that is over, or has other labels, has none. Few are given out of one
// profile, and none out of one from before the call.
func TestStackOfLabel(t *testing.T) {
	runs, began := New(), time.Now()
	stand, up, over := make(chan string), make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	var labels []string
	for range 2 {
		all.Go(func() {
			(&Consumption{runs}).Work(func(_ context.Context, label string) {
				all.Go(func() { standsBeside(up, over) })
				<-up
				stand <- label
				standsStill(over)
			})
		})
		labels = append(labels, <-stand)
	}
	for _, label := range labels {
		own, begun, ok := strings.Cut(runs.Stack(label, began), "\n\n")
		if !ok || !strings.Contains(own, "usercode.standsStill") || !strings.Contains(own, "stuck_test.go:") || !strings.Contains(begun, "usercode.standsBeside") {
			t.Errorf("%s: %q", label, runs.Stack(label, began))
		}
	}
	if s := runs.Stack("another", began); s != "" {
		t.Errorf("of nobody: %q", s)
	}
	given := 0
	for range 10 * stacksAtOnce {
		if runs.Stack(labels[0], began) != "" {
			given++
		}
	}
	if given >= stacksAtOnce {
		t.Errorf("%d of one profile, want less than %d", given, stacksAtOnce)
	}
	for old, want := range map[time.Duration]bool{time.Millisecond: false, stacksApart: true} {
		at := time.Now().Add(-old)
		runs.stacks.taken, runs.stacks.left = at, stacksAtOnce
		if got := runs.Stack(labels[0], at.Add(1)) != ""; got != want {
			t.Errorf("a stack out of a profile that is %s old, of a call that began after it: %v, want %v", old, got, want)
		}
	}
	close(over)
	all.Wait()
	runs.stacks.byLabel = nil
	if s := runs.Stack(labels[0], began); strings.Contains(s, "standsStill") {
		t.Errorf("of a worker that is over: %q", s)
	}
}

//go:noinline
func standsStill(over chan struct{}) { <-over }

//go:noinline
func standsBeside(up, over chan struct{}) {
	up <- struct{}{}
	<-over
}
