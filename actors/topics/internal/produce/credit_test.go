package produce

// Room for records is given in turn.

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Who waits for room gets it in turn: a small record does not pass a large one,
// and goes on when the large one gives up.
func TestRoomIsGivenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c credit
		over := make(chan struct{})
		c.init(100, over, nil)
		order := make(chan string, 10)
		want := func(name string, n int64) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if err := c.take(ctx, n); err != nil {
					name += " not"
				}
				order <- name
			}()
			synctest.Wait()
			return cancel
		}
		expect := func(names ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for len(order) > 0 {
				got = append(got, <-order)
			}
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("served: %q, want %q", got, names)
			}
		}
		defer want("first", 90)()
		expect("first")
		giveUp := want("large", 80)
		defer want("small", 5)()
		expect()
		giveUp()
		expect("large not", "small")
		defer want("larger", 60)()
		defer want("last", 1)()
		c.give(90) // 95 are free
		expect("larger", "last")
		defer want("nobody's", 50)()
		expect()
		close(over)
		expect("nobody's not")
		c.give(66)
		if c.used() != 0 || c.waiting.Load() != 0 {
			t.Errorf("%d bytes lost, %d waiting", c.used(), c.waiting.Load())
		}
	})
}

// Room that is granted at the very moment when its context ends is either used or
// given back.
func TestRoomGrantedTooLateIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c credit
		c.init(10, nil, nil)
		for range 200 {
			if err := c.take(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan error, 1)
			go func() { got <- c.take(ctx, 10) }()
			synctest.Wait()
			cancel()
			c.give(10)
			if err := <-got; err == nil {
				c.give(10)
			}
			if c.used() != 0 {
				t.Fatalf("%d bytes are lost", c.used())
			}
		}
	})
}

// The bound holds, nothing is lost and nobody starves, with many who put records
// of all sizes and give up now and then.
func TestManyPutsInLittleRoom(t *testing.T) {
	f := newFakeTopic(4)
	f.run(t)
	const room, goroutines, each = 4 << 10, 8, 300
	p := f.producer(bounded(room))
	var most, put atomic.Int64
	for _, l := range f.logs {
		l.before = func(context.Context) error {
			for {
				seen, now := most.Load(), p.buffered()
				if now <= seen || most.CompareAndSwap(seen, now) {
					return nil
				}
			}
		}
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range each {
				ctx, cancel := context.WithCancelCause(within(t))
				if rnd.IntN(5) == 0 {
					go cancel(errGivenUp)
				}
				err := p.PutAsync(ctx, blob(200+rnd.IntN(room-200)), nil)
				cancel(nil)
				switch {
				case err == nil:
					put.Add(1)
				case !errors.Is(err, errGivenUp):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	var end int64
	for _, l := range f.logs {
		end += l.end
	}
	if end != put.Load() || p.buffered() != 0 || most.Load() > room {
		t.Errorf("%d put, %d in the logs; %d bytes left, at most %d of %d taken", put.Load(), end, p.buffered(), most.Load(), room)
	}
}
