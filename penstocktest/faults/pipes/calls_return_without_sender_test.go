package pipes_test

// The known faults of the design that Penstock grew out of, each under its name.

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Leave used to block while the group waited for its destination.
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

func TestCancelledJoinReturns(t *testing.T) {
	rt := harness.OrderlyRuntime(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rt.Join(ctx, "nowhere", "group"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
