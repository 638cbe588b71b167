package enginetest

// Waiting that ends.

import (
	"context"
	"testing"
	"time"
)

// Patience is how long a step may take on a busy machine.
const Patience = time.Minute

// Within returns a context that bounds a test's steps.
func Within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Aside runs f and yields its outcome when it has one.
func Aside(f func() error) <-chan error {
	outcome := make(chan error, 1)
	go func() { outcome <- f() }()
	return outcome
}

// Outcome waits for what was begun aside.
func Outcome(t *testing.T, what string, outcome <-chan error) error {
	t.Helper()
	select {
	case err := <-outcome:
		return err
	case <-time.After(Patience):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

// Until waits for what only a look can tell.
func Until(t *testing.T, what string, so func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(Patience)
	for !so() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Await waits for a signal, or for a value, which it returns.
func Await[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(Patience):
		t.Fatalf("not within %s: %s", Patience, what)
	}
	return got
}
