package usercode

// How long calls take, for as long as somebody wants to know.

import (
	"slices"
	"sync/atomic"
	"time"
)

// Timed is what is timed.
type Timed string

// What is timed.
const (
	// TimedDelivery is a handler's call for one message of a pipe, TimedRecords one for a
	// record, or for several at once.
	TimedDelivery Timed = "delivery"
	TimedRecords  Timed = "records"
	// TimedPut is a put that was committed, from its call on.
	TimedPut Timed = "put"
)

// Timings take times. They must be safe for concurrent use, and not block. of is a
// destination or topic, group is empty for puts.
type Timings interface {
	Took(what Timed, of, group string, d time.Duration)
}

// measuring are those who want to know. It is never changed, only replaced.
type measuring struct{ all atomic.Pointer[[]Timings] }

// change replaces who wants to know.
func (m *measuring) change(to func([]Timings) []Timings) {
	for {
		before := m.all.Load()
		var had []Timings
		if before != nil {
			had = *before
		}
		after := to(slices.Clone(had))
		next := &after
		if len(after) == 0 {
			next = nil
		}
		if m.all.CompareAndSwap(before, next) {
			return
		}
	}
}

// Measure has t told of times until stop is called. t is compared by identity.
func (rs *Runs) Measure(t Timings) (stop func()) {
	rs.measuring.change(func(all []Timings) []Timings { return append(all, t) })
	return func() {
		rs.measuring.change(func(all []Timings) []Timings {
			return slices.DeleteFunc(all, func(x Timings) bool { return x == t })
		})
	}
}

// Measured reports whether anybody wants to know times.
func (rs *Runs) Measured() bool { return rs.measuring.all.Load() != nil }

// Begins is when what is to be timed begins; zero while nobody wants to know, so that
// no clock is read.
func (rs *Runs) Begins() time.Time {
	if rs == nil || rs.measuring.all.Load() == nil {
		return time.Time{}
	}
	return time.Now()
}

// Took tells how long something took that began then.
func (rs *Runs) Took(began time.Time, what Timed, of, group string) {
	if began.IsZero() {
		return
	}
	if all := rs.measuring.all.Load(); all != nil {
		d := time.Since(began)
		for _, t := range *all {
			t.Took(what, of, group, d)
		}
	}
}
