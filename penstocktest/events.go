package penstocktest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

// Events as signals: a test waits for what it caused, and does not sleep.

// Recording is what happened in a runtime since Record. Its methods are safe
// for concurrent use.
type Recording struct {
	mu     sync.Mutex
	events []messages.Event
	grown  chan struct{} // closed when events grows
	over   bool          // no more will come
}

// Record writes down the events of rt from now on, until t or rt ends. Begin
// it before you do what you want to see the event of.
func Record(t testing.TB, rt *penstock.Runtime) *Recording {
	r := &Recording{grown: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	events := rt.Events(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events {
			r.add(e)
		}
		r.end()
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *Recording) add(e messages.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.grown)
	r.grown = make(chan struct{})
}

func (r *Recording) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	close(r.grown)
	r.grown = make(chan struct{})
}

// Events copies what has happened so far, in order.
func (r *Recording) Events() []messages.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]messages.Event(nil), r.events...)
}

// since returns the events after the first n, whether more may come, and the
// signal that they have.
func (r *Recording) since(n int) (events []messages.Event, grown <-chan struct{}, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[n:len(r.events):len(r.events)], r.grown, r.over
}

// WaitEvent returns the first event of type E in r for which match is true; a
// nil match takes any. It waits for one until within has passed or the
// runtime's events end, and then fails t. What happened before the call counts
// too, from the Record on: make another Recording to wait for a second time.
func WaitEvent[E messages.Event](t testing.TB, r *Recording, within time.Duration, match func(E) bool) E {
	t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	for seen := 0; ; {
		events, grown, over := r.since(seen)
		for _, e := range events {
			if e, ok := e.(E); ok && (match == nil || match(e)) {
				return e
			}
		}
		seen += len(events)
		if over {
			t.Fatalf("penstocktest: the runtime's events ended without a %s", reflect.TypeFor[E]())
		}
		select {
		case <-grown:
		case <-late.C:
			all := r.Events()
			t.Fatalf("penstocktest: no %s within %s; the events are %s", reflect.TypeFor[E](), within, texts(all))
		}
	}
}

// texts shows events, each with its type.
func texts(events []messages.Event) string {
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = fmt.Sprintf("%T%+v", e, e)
	}
	return strings.Join(lines, "\n")
}
