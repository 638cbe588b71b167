package pipes_test

// Join, Leave and a loop return when they should, though the group has no sender.

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: Leave does not wait for a sender.
func TestLeaveReturnsAtOnceWithoutSender(t *testing.T) {
	rt := harness.OrderlyRuntime(t)
	m, err := rt.Join(t.Context(), "nowhere", "group")
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Within(t, harness.Soon, "Leave", func() error { return m.Leave(t.Context()) }); err != nil {
		t.Fatal(err)
	}
}

// Promise: Leave ends a loop that waits for a sender, silently.
func TestLeaveEndsALoopThatWaitsForASender(t *testing.T) {
	rt := harness.OrderlyRuntime(t)
	m, err := rt.Join(t.Context(), "nowhere", "group")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for _, err := range m.Messages(context.Background()) {
			ended <- err
			return
		}
		ended <- nil
	}()
	if err := harness.Within(t, harness.Soon, "Leave", func() error { return m.Leave(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if err := harness.Within(t, harness.Soon, "the loop", func() error { return <-ended }); err != nil {
		t.Fatalf("Leave must end the loop silently, got %v", err)
	}
}

// Promise: a loop whose context ends yields the cause once, and ends.
func TestCancelledLoopReturnsWithoutSender(t *testing.T) {
	rt := harness.OrderlyRuntime(t)
	m, err := rt.Join(t.Context(), "nowhere", "group")
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		var last error
		n := 0
		for _, err := range m.Messages(ctx) {
			last = err
			n++
		}
		if n != 1 {
			last = errors.New("the error must come once, last")
		}
		ended <- last
	}()
	cancel(why)
	if err := harness.Within(t, harness.Soon, "the loop", func() error { return <-ended }); !errors.Is(err, why) {
		t.Fatalf("got %v, want the context's cause", err)
	}
}

// Promise: a Join whose context has ended returns its error.
func TestCancelledJoinReturns(t *testing.T) {
	rt := harness.OrderlyRuntime(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rt.Join(ctx, "nowhere", "group"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
