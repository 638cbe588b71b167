package usercode

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// hostedCalls are called on goroutines as the actor of callbacks does, again after one
// that ended its goroutine.
func hostedCalls(tell func(any, []byte)) *Calls {
	var host func(c Callbacks)
	host = func(c Callbacks) {
		go func() {
			ended := false
			defer func() {
				if !ended {
					host(c)
				}
			}()
			c.Call(context.Background())
			ended = true
		}()
	}
	return NewCalls("the calls", host, tell)
}

// Promise: each call is made once, in order, whatever those before it do.
func TestCallsAreMadeOnceAndInOrder(t *testing.T) {
	const n = 1000
	var mu sync.Mutex
	var got []int
	var panics []any
	c := hostedCalls(func(v any, _ []byte) { panics = append(panics, v) })
	for i := range n {
		c.Add(func() {
			mu.Lock()
			got = append(got, i)
			mu.Unlock()
			switch i {
			case 10:
				panic("ten")
			case 20:
				runtime.Goexit()
			}
		})
	}
	if err := c.Flushed(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("called were %d: %v", len(got), got)
	}
	if !slices.Equal(panics, []any{"ten", nil}) {
		t.Errorf("told was %v", panics)
	}
	if !c.Idle() || c.Waiting() != nil {
		t.Errorf("left is %v", c.Waiting())
	}
}

// Promise: who adds more than can wait is held, until one returns, or told after a second.
func TestCallsHaveRoomForSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hostedCalls(nil)
		open := make(chan struct{})
		for range MaxCallsWaiting {
			if err := c.Room(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Add(func() { <-open })
		}
		if err := c.Room(t.Context()); !errors.Is(err, messages.ErrBusy) {
			t.Errorf("without room: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := c.Room(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("until the context ends: %v", err)
		}
		if err := c.Flushed(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a flush until the context ends: %v", err)
		}
		roomy := make(chan error, 1)
		go func() { roomy <- c.Room(t.Context()) }()
		synctest.Wait()
		close(open)
		if err := <-roomy; err != nil {
			t.Error(err)
		}
		if err := c.Flushed(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Promise: while a call does not return, what is offered behind it holds no more than
// MaxCallBytes, or is one call; when it has returned there is room again.
func TestOfferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hostedCalls(func(any, []byte) {})
		release := make(chan struct{})
		made := 0
		stuck := func() { <-release; made++ }
		if !c.Offer(stuck, 2*MaxCallBytes) {
			t.Error("no room for one that holds more than all may")
		}
		if c.Offer(stuck, 1) {
			t.Error("room behind it")
		}
		release <- struct{}{}
		synctest.Wait()
		for i := range 4 {
			if !c.Offer(stuck, MaxCallBytes/4) {
				t.Errorf("no room for number %d", i)
			}
		}
		if c.Offer(stuck, 1) {
			t.Error("room for more bytes than there may be")
		}
		n := 4
		for c.Offer(stuck, 0) {
			n++
		}
		if n != MaxCallsWaiting {
			t.Errorf("%d calls wait", n)
		}
		close(release)
		if err := c.Flushed(t.Context()); err != nil || made != 1+n {
			t.Errorf("made were %d of %d: %v", made, 1+n, err)
		}
		synctest.Wait()
		if !c.Offer(func() { panic("it frees its room, too") }, MaxCallBytes) {
			t.Error("no room after all have returned")
		}
		synctest.Wait()
		if !c.Offer(func() {}, MaxCallBytes) {
			t.Error("no room after a panic")
		}
		synctest.Wait()
	})
}
