package penstock

// The middleware that comes with Penstock, by itself.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: a panic becomes an error with its value and stack, and an error stays what it
// is.
func TestRecover(t *testing.T) {
	failed := errors.New("failed")
	h := recovering(func(_ context.Context, d messages.Delivery) error {
		if d.Seq == 1 {
			panic(failed)
		}
		return failed
	})
	err := h(t.Context(), messages.Delivery{Seq: 1})
	var bug *supervisor.PanicError
	if !errors.As(err, &bug) || !errors.Is(err, failed) || !strings.Contains(string(bug.Stack), "TestRecover") {
		t.Errorf("a panic became %v", err)
	}
	if err := h(t.Context(), messages.Delivery{Seq: 2}); err != failed {
		t.Errorf("an error became %v", err)
	}
}

// Promise: the handler's context ends after the time given, an error that comes late says
// so and keeps its cause, and a handler that succeeds late has succeeded.
func TestTimeout(t *testing.T) {
	failed := errors.New("failed")
	stopped := errors.New("stopped")
	for name, tc := range map[string]struct {
		handler func(ctx context.Context) error
		late    bool
		is      error
	}{
		"in time": {func(context.Context) error { time.Sleep(time.Second); return failed }, false, failed},
		"late":    {func(context.Context) error { time.Sleep(time.Minute); return failed }, true, failed},
		"its ctx": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, true, context.DeadlineExceeded},
		"its cause": {func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
			true, context.DeadlineExceeded},
		"succeeds late": {func(context.Context) error { time.Sleep(time.Minute); return nil }, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				h := timing[messages.Handler](10 * time.Second)(func(ctx context.Context, _ messages.Delivery) error { return tc.handler(ctx) })
				err := h(t.Context(), messages.Delivery{})
				if !errors.Is(err, tc.is) || (err == nil) != (tc.is == nil) {
					t.Errorf("after %s: %v, want %v", time.Since(began), err, tc.is)
				}
				if got := errors.Is(err, context.DeadlineExceeded) && strings.Count(fmt.Sprint(err), "Timeout of 10s") == 1; got != tc.late {
					t.Errorf("%v: it says that it is late: %v", err, got)
				}
			})
		})
	}
	t.Run("another's end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(stopped)
			h := timing[messages.Handler](10 * time.Second)(func(ctx context.Context, _ messages.Delivery) error { return context.Cause(ctx) })
			if err := h(ctx, messages.Delivery{}); err != stopped {
				t.Errorf("%v is blamed on the time", err)
			}
		})
	})
}

// settler counts what is in progress.
type settler struct {
	Settler
	progress int
}

func (s *settler) InProgress(uint64) { s.progress++ }

// Promise: what a limiter does not let pass waits, with its AckWait beginning again, and
// is handled when its turn has come; the end of the context ends the waiting, without the
// handler and without taking the limiter's next turn.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := rate.NewLimiter(rate.Every(time.Second), 1)
		var at []time.Duration
		began := time.Now()
		h := throttling[messages.Handler](limiter, messages.Delivery.InProgress)(func(context.Context, messages.Delivery) error {
			at = append(at, time.Since(began))
			return nil
		})
		s := &settler{}
		for range 3 {
			if err := h(t.Context(), messages.Delivery{Settler: s}); err != nil {
				t.Fatal(err)
			}
		}
		if want := "[0s 1s 2s]"; fmt.Sprint(at) != want {
			t.Errorf("handled at %v, want %s", at, want)
		}
		if s.progress < 20 {
			t.Errorf("in 2 s of waiting AckWait began again %d times", s.progress)
		}
		stopped := errors.New("stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(300*time.Millisecond, func() { cancel(stopped) })
		if err := h(ctx, messages.Delivery{Settler: s}); !errors.Is(err, stopped) {
			t.Errorf("the context ended: %v", err)
		}
		if err := h(t.Context(), messages.Delivery{Settler: s}); err != nil || len(at) != 4 || at[3] != 3*time.Second {
			t.Errorf("then, handled at %v: %v", at, err)
		}
		none := throttling[messages.Handler](rate.NewLimiter(1, 0), messages.Delivery.InProgress)(nil)
		if err := none(t.Context(), messages.Delivery{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a limiter that lets nothing pass: %v", err)
		}
	})
}
