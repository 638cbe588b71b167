package joined

// Waiting for a trip, and making one.

import (
	"context"
	"sync"
	"time"
)

// Item is one caller's request. It is made by NewItem, and used for one Do at a time.
type Item[P comparable, T any] struct {
	// What is carried, and what became of it. Whoever leads the trip may read and
	// write it during Do.
	What T

	// The rest is the line's, under its lock.
	load     Load[P]
	standing standing
	trip     *trip[P, T]   // while it is aboard
	call     chan struct{} // holds one call: to lead, or that the trip is over
	late     *time.Timer   // Do's
}

// NewItem makes an item that can be used again and again.
func NewItem[P comparable, T any](what T) *Item[P, T] {
	late := time.NewTimer(time.Hour)
	late.Stop()
	return &Item[P, T]{What: what, call: make(chan struct{}, 1), late: late}
}

// Line is where items wait for a trip. It is safe for concurrent use.
type Line[P comparable, T any] struct {
	limits func() Limits
	mu     sync.Mutex
	queue  queue[P, T]
}

// NewLine makes a line. limits is asked before each trip, and must be cheap.
func NewLine[P comparable, T any](limits func() Limits) *Line[P, T] {
	return &Line[P, T]{limits: limits}
}

// Do has an item carried, by this caller or by another one of the line, and blocks
// until that trip is over. carry makes a trip: it sets What of every item, of which
// there is at least one. Its context ends with that of the leader, and when that of
// anybody aboard does. No two items have the same place.
//
// The error is ctx's cause, and the item was not given to any carry; without one, it
// was given to one that has returned. When a carry panics, its items stay as they are.
func (l *Line[P, T]) Do(ctx context.Context, it *Item[P, T], load Load[P], carry func(ctx context.Context, items []*Item[P, T])) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	limits := l.limits()
	l.mu.Lock()
	it.load = load
	mine := l.queue.enter(it, limits, time.Now())
	l.mu.Unlock()
	if !mine {
		it.late.Reset(limits.Late)
		defer it.late.Stop()
	}
	for !mine {
		select {
		case <-it.call:
			l.mu.Lock()
			mine = it.standing == leads
			l.mu.Unlock()
			if !mine {
				return nil
			}
		case <-it.late.C:
			l.mu.Lock()
			mine = l.queue.askAgain(it, limits, time.Now())
			l.mu.Unlock()
			it.late.Reset(limits.Late)
		case <-ctx.Done():
			if l.quit(it) {
				return context.Cause(ctx)
			}
			<-it.call
			return nil
		}
	}
	if ctx.Err() != nil && l.quit(it) {
		return context.Cause(ctx)
	}
	l.lead(ctx, it, carry)
	return nil
}

// Waiting is how many items wait for a trip.
func (l *Line[P, T]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue.items)
}

// quit takes an item whose context ended out of the line, or ends the trip that
// it is aboard of, and then returns false.
func (l *Line[P, T]) quit(it *Item[P, T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch it.standing {
	case waits, leads:
		l.queue.quit(it)
		select {
		case <-it.call:
		default:
		}
		l.next()
		return true
	case aboard:
		it.trip.cancel()
	}
	return false
}

// lead makes a trip.
func (l *Line[P, T]) lead(ctx context.Context, it *Item[P, T], carry func(ctx context.Context, items []*Item[P, T])) {
	l.mu.Lock()
	t := l.queue.board(it, l.limits(), time.Now())
	t.cancel = func() {}
	if len(t.items) > 1 {
		ctx, t.cancel = context.WithCancel(ctx)
	}
	l.next()
	l.mu.Unlock()
	defer func() {
		t.cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queue.over(t)
		for _, other := range t.items[1:] {
			other.call <- struct{}{}
		}
		l.next()
	}()
	carry(ctx, t.items)
}

// next has the next trip made, if one may begin. mu is held.
func (l *Line[P, T]) next() {
	if it := l.queue.successor(l.limits(), time.Now()); it != nil {
		it.call <- struct{}{}
	}
}
