package usercode

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// of is a run's owner.
type of struct{ name string }

// waitsFor is an end that waits for the runs of o.
func waitsFor(o *of) func(*Run) bool { return func(r *Run) bool { return r.Of == o } }

// elsewhere runs f on another goroutine.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// Promise: an end that would wait for its caller fails at once, whether the caller
// gives it the context that it was given or another one.
func TestRefuse(t *testing.T) {
	rs, o := New(), &of{"the handler"}
	refused := func(when string, ctx context.Context, want bool) {
		t.Helper()
		err := rs.Refuse(ctx, "leave", waitsFor(o))
		if errors.Is(err, messages.ErrBusy) != want || (err == nil) == want {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("before", t.Context(), false)
	r := &Run{What: "a handler", Of: o}
	leave := rs.Enter(r)
	given := r.Mark(t.Context())
	refused("on its goroutine", t.Context(), true)
	refused("on its goroutine, with its context", given, true)
	elsewhere(func() {
		refused("on another goroutine", t.Context(), false)
		refused("on another goroutine, with its context", given, true)
	})
	err := rs.Refuse(t.Context(), "leave", waitsFor(o))
	if err == nil || !strings.HasPrefix(err.Error(), "leave in a handler") {
		t.Errorf("it does not say which end and where: %v", err)
	}
	if err := rs.Refuse(given, "leave", waitsFor(&of{"another"})); err != nil {
		t.Errorf("an end that does not wait for it: %v", err)
	}
	leave()
	refused("after it returned", t.Context(), false)
}

// Promise: a context that a function of another runtime was given is no mark here.
func TestRefuseIsOfOneRuntime(t *testing.T) {
	ours, theirs, o := New(), New(), &of{"the handler"}
	r := &Run{What: "a handler", Of: o}
	defer theirs.Enter(r)()
	given := r.Mark(t.Context())
	if err := ours.Refuse(given, "stop", waitsFor(o)); err != nil {
		t.Error(err)
	}
	if err := theirs.Refuse(given, "stop", waitsFor(o)); !errors.Is(err, messages.ErrBusy) {
		t.Error(err)
	}
}

// Promise: within a loop that runs within a handler, the ends of both fail, and
// after the loop that of the handler.
func TestRefuseOfNestedRuns(t *testing.T) {
	rs, handler, loop := New(), &of{"the handler"}, &of{"the loop"}
	busy := func(ctx context.Context) (names string) {
		for _, o := range []*of{handler, loop} {
			if rs.Refuse(ctx, "end", waitsFor(o)) != nil {
				names += o.name + ";"
			}
		}
		return names
	}
	outer := &Run{What: "a handler", Of: handler}
	leaveOuter := rs.Enter(outer)
	ctx := outer.Mark(t.Context())
	inner := &Run{What: "a loop", Of: loop}
	leaveInner := rs.Enter(inner)
	within := inner.Mark(ctx)
	if got := busy(t.Context()); got != "the handler;the loop;" {
		t.Errorf("by goroutine: %q", got)
	}
	elsewhere(func() {
		if got := busy(within); got != "the handler;the loop;" {
			t.Errorf("by context: %q", got)
		}
		if got := busy(ctx); got != "the handler;" {
			t.Errorf("by the outer context: %q", got)
		}
	})
	leaveInner()
	if got := busy(t.Context()); got != "the handler;" {
		t.Errorf("after the inner one: %q", got)
	}
	leaveOuter()
	if got := busy(t.Context()); got != "" {
		t.Errorf("after both: %q", got)
	}
	if len(rs.on) != 0 {
		t.Errorf("%d goroutines are still noted", len(rs.on))
	}
}

func TestNoRunsNoteNothing(t *testing.T) {
	var rs *Runs
	rs.Enter(&Run{What: "a handler"})()
}

func TestHasInHand(t *testing.T) {
	if (&Run{}).HasInHand("orders", "s") {
		t.Error("a run that holds nothing has a message in hand")
	}
	r := &Run{Holds: func(dest, sender string) bool { return dest == "orders" && sender == "s" }}
	if !r.HasInHand("orders", "s") || r.HasInHand("orders", "other") {
		t.Error("it is not asked for the sender")
	}
}
