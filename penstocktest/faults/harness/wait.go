package harness

// Waiting, with an end.

import (
	"context"
	"testing"
	"time"
)

// Patience is how long a fault test waits for what must happen. Only a test
// that fails waits so long.
const Patience = 60 * time.Second

// Context is t's, with an end after Patience.
func Context(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Await returns ch's next value, or fails t.
func Await[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatalf("%s: the end came first", what)
		}
		return v
	case <-time.After(Patience):
		t.Fatalf("%s: nothing in %s", what, Patience)
		panic("unreachable")
	}
}

// Closing turns a channel that will be closed into one that yields then.
func Closing(ch <-chan struct{}) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		<-ch
		out <- struct{}{}
	}()
	return out
}

// Eventually waits until is is true, for what no event tells of.
func Eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(Patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %s", what, Patience)
		}
	}
}

// Soon is how long something that must not block may take on a busy machine.
const Soon = 5 * time.Second

// Within calls f in a goroutine of its own, and returns its error; it fails t when
// that takes longer than d.
func Within(t *testing.T, d time.Duration, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		t.Fatalf("%s took longer than %s", what, d)
		return nil
	}
}
