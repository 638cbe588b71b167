package joined

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type testItem = Item[int, string]

// trips notes what was carried; each trip lasts until it is let go, or its context
// ends.
type trips struct {
	mu    sync.Mutex
	made  [][]int // places
	going []chan struct{}
}

func (r *trips) carry(ctx context.Context, items []*testItem) {
	r.mu.Lock()
	var places []int
	for _, it := range items {
		places = append(places, it.load.Place)
	}
	r.made = append(r.made, places)
	leave := make(chan struct{})
	r.going = append(r.going, leave)
	r.mu.Unlock()
	result := "carried"
	select {
	case <-leave:
	case <-ctx.Done():
		result = "ended"
	}
	for _, it := range items {
		it.What = result
	}
}

func (r *trips) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.made)
}

func (r *trips) arrive(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.going[i])
}

// done is what became of one Do.
type done struct {
	it  *testItem
	err error
}

func begin(ctx context.Context, l *Line[int, string], r *trips, place, bytes int) chan done {
	result := make(chan done, 1)
	it := NewItem[int]("nothing")
	go func() {
		err := l.Do(ctx, it, Load[int]{Place: place, Bytes: bytes}, r.carry)
		result <- done{it, err}
	}()
	synctest.Wait()
	return result
}

func small() Limits { return Limits{Items: 10, Bytes: 100, Full: 100, Late: time.Second} }

func wantDone(t *testing.T, c chan done, what string, err error) {
	t.Helper()
	synctest.Wait()
	select {
	case d := <-c:
		if d.it.What != what || !errors.Is(d.err, err) {
			t.Errorf("%q, %v, want %q, %v", d.it.What, d.err, what, err)
		}
	default:
		t.Errorf("it is not over, want %q", what)
	}
}

// One alone leaves at once; who comes meanwhile leaves together with all others.
func TestThoseWhoWaitLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := NewLine[int, string](small), &trips{}
		first := begin(t.Context(), l, r, 1, 1)
		second, third := begin(t.Context(), l, r, 2, 1), begin(t.Context(), l, r, 3, 1)
		again := begin(t.Context(), l, r, 2, 1)
		if r.count() != 1 {
			t.Fatalf("%v", r.made)
		}
		r.arrive(0)
		wantDone(t, first, "carried", nil)
		if r.count() != 2 || len(r.made[1]) != 2 {
			t.Fatalf("%v: want the two places that wait, each once", r.made)
		}
		r.arrive(1)
		wantDone(t, second, "carried", nil)
		wantDone(t, third, "carried", nil)
		r.arrive(2)
		wantDone(t, again, "carried", nil)
	})
}

// As many leave at once as may be under way beside each other.
func TestSomeLeaveBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := small()
		limits.Beside = 2
		l, r := NewLine[int, string](func() Limits { return limits }), &trips{}
		first, second := begin(t.Context(), l, r, 1, 1), begin(t.Context(), l, r, 2, 1)
		third, fourth := begin(t.Context(), l, r, 3, 1), begin(t.Context(), l, r, 4, 1)
		if r.count() != 2 {
			t.Fatalf("%v", r.made)
		}
		r.arrive(1)
		wantDone(t, second, "carried", nil)
		if r.count() != 3 || len(r.made[2]) != 2 {
			t.Fatalf("%v: want those who wait together", r.made)
		}
		r.arrive(0)
		wantDone(t, first, "carried", nil)
		r.arrive(2)
		wantDone(t, third, "carried", nil)
		wantDone(t, fourth, "carried", nil)
	})
}

// A full trip does not wait for the one under way.
func TestFullTripLeavesBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := NewLine[int, string](small), &trips{}
		first := begin(t.Context(), l, r, 1, 1)
		second, third := begin(t.Context(), l, r, 2, 50), begin(t.Context(), l, r, 3, 50)
		if r.count() != 2 {
			t.Fatalf("%v", r.made)
		}
		for i, c := range []chan done{first, second} {
			r.arrive(i)
			wantDone(t, c, "carried", nil)
		}
		wantDone(t, third, "carried", nil)
	})
}

// A trip that hangs holds up the others for a while, and once.
func TestHungTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := NewLine[int, string](small), &trips{}
		hung := begin(t.Context(), l, r, 1, 1)
		second, third := begin(t.Context(), l, r, 2, 1), begin(t.Context(), l, r, 3, 1)
		time.Sleep(small().Late - time.Nanosecond)
		if synctest.Wait(); r.count() != 1 {
			t.Fatalf("%v", r.made)
		}
		time.Sleep(time.Nanosecond)
		if synctest.Wait(); r.count() != 2 || len(r.made[1]) != 2 {
			t.Fatalf("%v", r.made)
		}
		r.arrive(1)
		wantDone(t, second, "carried", nil)
		wantDone(t, third, "carried", nil)
		// The next one leaves at once: that one is late already.
		time.Sleep(small().Late)
		next := begin(t.Context(), l, r, 4, 1)
		r.arrive(2)
		wantDone(t, next, "carried", nil)
		r.arrive(0)
		wantDone(t, hung, "carried", nil)
	})
}

// Whoever's context ends is not held up: who waits was not carried, and who is
// aboard ends the trip for all, who learn that.
func TestContextsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := NewLine[int, string](small), &trips{}
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		first := begin(t.Context(), l, r, 1, 1)
		quits, stays := begin(ctx, l, r, 2, 1), begin(t.Context(), l, r, 3, 1)
		cancel(reason)
		wantDone(t, quits, "nothing", reason)
		wantDone(t, begin(ctx, l, r, 5, 1), "nothing", reason)

		ctx, cancel = context.WithCancelCause(t.Context())
		aboard := begin(ctx, l, r, 4, 1)
		r.arrive(0)
		wantDone(t, first, "carried", nil)
		cancel(reason)
		wantDone(t, aboard, "ended", nil)
		wantDone(t, stays, "ended", nil)

		// The leader's ends it, too.
		ctx, cancel = context.WithCancelCause(t.Context())
		alone := begin(ctx, l, r, 1, 1)
		cancel(reason)
		wantDone(t, alone, "ended", nil)
	})
}

// A carry that panics ends its trip for all, and the line goes on.
func TestCarryPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := NewLine[int, string](small), &trips{}
		first := begin(t.Context(), l, r, 1, 1)
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_ = l.Do(t.Context(), NewItem[int]("nothing"), Load[int]{Place: 2}, func(context.Context, []*testItem) { panic("bug") })
		}()
		synctest.Wait()
		second, third := begin(t.Context(), l, r, 3, 1), begin(t.Context(), l, r, 2, 1)
		r.arrive(0)
		wantDone(t, first, "carried", nil)
		wantDone(t, second, "nothing", nil)
		if p := <-panicked; p != "bug" {
			t.Errorf("panicked with %v", p)
		}
		r.arrive(1)
		wantDone(t, third, "carried", nil)
	})
}

// Many at once, whose contexts end at any time: each Do returns, with what carry
// said, and nothing is left in the line.
func TestManyAtOnce(t *testing.T) {
	l := NewLine[int, string](func() Limits { return Limits{Items: 5, Bytes: 40, Full: 20, Late: 200 * time.Microsecond} })
	var all sync.WaitGroup
	for place := range 16 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(place), 1))
			it := NewItem[int]("")
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(300))*time.Microsecond)
				it.What = ""
				err := l.Do(ctx, it, Load[int]{Place: place % 10, Bytes: 1 + random.IntN(10)}, func(ctx context.Context, items []*testItem) {
					select {
					case <-ctx.Done():
					case <-time.After(50 * time.Microsecond):
					}
					for _, it := range items {
						it.What = "carried"
					}
				})
				if (err == nil) != (it.What == "carried") {
					t.Errorf("%v, and %q", err, it.What)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if q := &l.queue; len(q.items) > 0 || q.bytes != 0 || q.trips != 0 || q.led {
		t.Errorf("left in the line: %+v", q)
	}
}
