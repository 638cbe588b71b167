package joined

// Who waits, who may leave, and what a trip takes along.

import (
	"slices"
	"time"
)

// Load is what an item takes of a trip.
type Load[P comparable] struct {
	// Place is what it is for: no trip has two of a place.
	Place P
	// Bytes is its size.
	Bytes int
}

// Limits bound one trip. What is larger by itself travels alone.
type Limits struct {
	Items, Bytes int
	// Beside is how many trips are under way at once, however little they take; 0 is
	// one.
	Beside int
	// Full is how many bytes are enough for a trip to leave beside those under way.
	Full int
	// Late is how long the trip before may take. After that another one leaves: what
	// holds that one up may hold up nothing else.
	Late time.Duration
}

// mostTrips bounds the trips that are under way at once.
const mostTrips = 8

// standing is where an item is.
//
//	outside ──▶ waits ──▶ leads ──▶ aboard ──▶ outside
//	   ▲          │  └───────┼────────▲
//	   └──────────┴──────────┘ (its context ended)
type standing uint8

const (
	outside standing = iota
	waits
	leads // a trip that it has yet to begin
	aboard
)

// queue decides. It is not safe for concurrent use.
type queue[P comparable, T any] struct {
	items []*Item[P, T] // those that wait, and the one that leads, as they came
	bytes int           // of items
	trips int           // begun, and the one that has a leader
	led   bool          // one of items leads
	begun time.Time     // when the last trip was
}

// trip is what one leader takes along.
type trip[P comparable, T any] struct {
	items  []*Item[P, T] // the leader's first
	bytes  int
	cancel func()
}

// enter lets an item wait. It returns true when the item is to lead a trip now.
func (q *queue[P, T]) enter(it *Item[P, T], l Limits, now time.Time) bool {
	q.items = append(q.items, it)
	q.bytes += it.load.Bytes
	it.standing = waits
	return q.askAgain(it, l, now)
}

// askAgain returns true when an item that waits is to lead a trip now.
func (q *queue[P, T]) askAgain(it *Item[P, T], l Limits, now time.Time) bool {
	if it.standing != waits || !q.mayLeave(l, now) {
		return false
	}
	q.lead(it)
	return true
}

// mayLeave reports whether another trip may begin. One leader at a time gathers
// those who wait.
func (q *queue[P, T]) mayLeave(l Limits, now time.Time) bool {
	if q.led || len(q.items) == 0 {
		return false
	}
	return q.trips < max(1, l.Beside) || q.trips < mostTrips && (q.bytes >= l.Full || len(q.items) >= l.Items || now.Sub(q.begun) >= l.Late)
}

func (q *queue[P, T]) lead(it *Item[P, T]) {
	it.standing = leads
	q.led = true
	q.trips++
}

// successor is the item that leads the next trip from now on, or nil.
func (q *queue[P, T]) successor(l Limits, now time.Time) *Item[P, T] {
	if !q.mayLeave(l, now) {
		return nil
	}
	q.lead(q.items[0])
	return q.items[0]
}

// board begins the trip of an item that leads: it takes along, in order, those that
// fit, and nobody overtakes one that did not.
func (q *queue[P, T]) board(by *Item[P, T], l Limits, now time.Time) *trip[P, T] {
	q.begun = now
	t := &trip[P, T]{items: make([]*Item[P, T], 0, min(len(q.items), max(1, l.Items)))}
	q.take(by, t)
	rest, full := q.items[:0], false
	for _, it := range q.items {
		switch {
		case it == by:
		case full, len(t.items) >= l.Items, t.bytes+it.load.Bytes > l.Bytes:
			full = true
			rest = append(rest, it)
		case t.has(it.load.Place):
			rest = append(rest, it)
		default:
			q.take(it, t)
		}
	}
	clear(q.items[len(rest):])
	q.items, q.led = rest, false
	return t
}

func (q *queue[P, T]) take(it *Item[P, T], t *trip[P, T]) {
	it.standing, it.trip = aboard, t
	q.bytes -= it.load.Bytes
	t.items = append(t.items, it)
	t.bytes += it.load.Bytes
}

func (t *trip[P, T]) has(place P) bool {
	return slices.ContainsFunc(t.items, func(it *Item[P, T]) bool { return it.load.Place == place })
}

// quit takes out an item that is not aboard.
func (q *queue[P, T]) quit(it *Item[P, T]) {
	if it.standing == leads {
		q.led = false
		q.trips--
	}
	i := slices.Index(q.items, it)
	q.items = slices.Delete(q.items, i, i+1)
	q.bytes -= it.load.Bytes
	it.standing = outside
}

// over ends a trip.
func (q *queue[P, T]) over(t *trip[P, T]) {
	q.trips--
	for _, it := range t.items {
		it.standing, it.trip = outside, nil
	}
}
