package usercode

import (
	"slices"
	"testing"
	"time"
)

// heard are the times that somebody was told of.
type heard struct{ all []string }

func (h *heard) Took(what Timed, of, group string, d time.Duration) {
	if d < 0 {
		panic(d)
	}
	h.all = append(h.all, string(what)+" "+of+" "+group)
}

// Promise: a time is told to whoever wants to know when it ends; nothing is timed that
// began while nobody did.
func TestTimings(t *testing.T) {
	runs := New()
	early := runs.Begins()
	var a, b heard
	stopA, stopB := runs.Measure(&a), runs.Measure(&b)
	runs.Took(early, TimedPut, "early", "")
	runs.Took(runs.Begins(), TimedDelivery, "d", "g")
	stopA()
	began := runs.Begins()
	runs.Took(began, TimedRecords, "t", "g")
	stopB()
	runs.Took(began, TimedPut, "late", "")
	if !early.IsZero() || !runs.Begins().IsZero() {
		t.Error("a clock was read for nobody")
	}
	if want := []string{"delivery d g"}; !slices.Equal(a.all, want) {
		t.Errorf("the first heard %q, want %q", a.all, want)
	}
	if want := []string{"delivery d g", "records t g"}; !slices.Equal(b.all, want) {
		t.Errorf("the second heard %q, want %q", b.all, want)
	}
}

// What a handler's call costs more while nobody wants to know its time.
func BenchmarkTimingsOff(b *testing.B) {
	runs := New()
	for b.Loop() {
		runs.Took(runs.Begins(), TimedDelivery, "d", "g")
	}
}
