package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"
)

func TestInboxIsBoundedAndObeysTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewInbox[int](2, nil)
		for i := range 2 {
			if err := b.Send(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		if b.TrySend(2) {
			t.Error("found room in a full inbox")
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errBoom)
		defer cancel()
		if err := b.Send(ctx, 2); !errors.Is(err, errBoom) {
			t.Errorf("full: %v", err)
		}
		sent := make(chan error, 1)
		go func() { sent <- b.Send(t.Context(), 3) }()
		synctest.Wait()
		b.Take(1)
		synctest.Wait()
		if len(sent) != 0 {
			t.Error("room before the confirmation")
		}
		b.Confirm(1)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if err := b.Send(ctx, 4); !errors.Is(err, errBoom) {
			t.Errorf("ended context: %v", err)
		}
		if b.Len() != 2 {
			t.Error(b.Len())
		}
	})
}

func TestInboxClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewInbox[int](3, func() {})
		for i := range 3 {
			b.TrySend(i)
		}
		b.Take(2)
		b.Confirm(1)
		b.TrySend(3)
		sent := make(chan error, 1)
		go func() { sent <- b.Send(context.Background(), 4) }()
		synctest.Wait()
		if left := b.Close(); !slices.Equal(left, []int{1, 2, 3}) {
			t.Error(left)
		}
		if err := <-sent; err != ErrInboxClosed {
			t.Error(err)
		}
		b.Confirm(1)
		if err := b.Send(t.Context(), 5); err != ErrInboxClosed || b.TrySend(6) || b.Len() != 0 || b.Close() != nil || len(b.Take(9)) != 0 {
			t.Error("a closed inbox is alive")
		}
	})
}

func TestInboxRingsOncePerBurst(t *testing.T) {
	rings := 0
	b := NewInbox[int](100, func() { rings++ })
	for range 3 {
		for i := range 10 {
			b.TrySend(i)
		}
		for len(b.Take(4)) > 0 {
			b.Confirm(4)
		}
	}
	if rings != 3 {
		t.Errorf("%d rings for 3 bursts", rings)
	}
	late := NewInbox[int](1, nil)
	late.SetBell(func() { t.Error("nothing to ring for") })
	late.SetBell(nil)
	late.TrySend(1)
	late.SetBell(func() { rings++ })
	if rings != 4 {
		t.Error("a bell set late does not ring for what is there")
	}
}

func TestInboxLimit(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a limit of 0 does not panic")
		}
	}()
	NewInbox[int](0, nil)
}

// An inbox is a queue with a window of taken values at its front.
func TestInboxAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		awake := false // the reader has something to ask for, as far as it knows
		b := NewInbox[int](limit, func() { awake = true })
		var model []int
		taken, next := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				if ok := b.TrySend(next); ok != (len(model) < limit) {
					t.Fatalf("sent: %v with %d of %d", ok, len(model), limit)
				} else if ok {
					model = append(model, next)
					next++
				}
			},
			"take": func(t *rapid.T) {
				n := rapid.IntRange(-1, 10).Draw(t, "n")
				got := b.Take(n)
				n = max(n, 1)
				if taken == 0 {
					taken = min(n, len(model))
				}
				if !slices.Equal(got, model[:min(n, taken)]) {
					t.Fatalf("took %v of %v", got, model)
				}
				awake = taken > 0
			},
			"confirm": func(t *rapid.T) {
				n := rapid.IntRange(0, 10).Draw(t, "n")
				b.Confirm(n)
				n = min(n, taken)
				model, taken = model[n:], taken-n
			},
			"": func(t *rapid.T) {
				if b.Len() != len(model) {
					t.Fatalf("holds %d, want %d", b.Len(), len(model))
				}
				if len(model) > 0 && !awake {
					t.Fatal("values that nobody was told about")
				}
			},
		})
		if left := b.Close(); !slices.Equal(left, model) {
			t.Fatalf("left %v, want %v", left, model)
		}
	})
}

type wake struct{}

// A reader that crashes in the middle of its batches loses nothing and handles
// nothing twice that it has confirmed.
func TestCrashInMidBatchLosesNothing(t *testing.T) {
	sys := newSystem()
	const n, senders = 5000, 4
	b := NewInbox[int](64, nil)
	var got []int
	done := make(chan struct{})
	poison := map[int]bool{}
	for i := 0; i < n; i += 97 {
		poison[i] = true
	}
	policy := Policy{Backoff: Backoff{Min: time.Microsecond, Max: time.Millisecond}}
	pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started, *wake:
			batch := b.Take(16)
			for _, v := range slices.Clone(batch) {
				if poison[v] {
					delete(poison, v)
					panic(fmt.Errorf("poison %d", v))
				}
				got = append(got, v)
				b.Confirm(1)
			}
			if len(batch) > 0 {
				ctx.Send(ctx.Self(), &wake{})
			}
			if len(got) == n {
				close(done)
			}
		}
	}), WithGuardian(policy)))
	b.SetBell(func() { sys.Root.Send(pid, &wake{}) })
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for v := s; v < n; v += senders {
				if err := b.Send(t.Context(), v); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	<-done
	mustStop(t, sys, pid)
	last := [senders]int{-1, -1, -1, -1}
	for _, v := range got {
		if v <= last[v%senders] {
			t.Fatalf("%d after %d", v, last[v%senders])
		}
		last[v%senders] = v
	}
	if len(poison) != 0 {
		t.Errorf("%d crashes left out", len(poison))
	}
}

func TestInboxAllocatesNothing(t *testing.T) {
	b := NewInbox[*int](64, func() {})
	v := new(int)
	round := func() {
		for range 64 {
			if err := b.Send(context.Background(), v); err != nil {
				t.Fatal(err)
			}
		}
		for batch := b.Take(16); len(batch) > 0; batch = b.Take(16) {
			b.Confirm(len(batch))
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for 64 values", n)
	}
}
