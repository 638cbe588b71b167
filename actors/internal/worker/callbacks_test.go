package worker

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// queue is callbacks that a test describes, call by call.
type queue struct {
	call  []func(context.Context) // the last one is for all further calls
	calls int
	waits error
}

func (q *queue) Call(ctx context.Context) {
	q.calls++
	q.call[min(q.calls, len(q.call))-1](ctx)
}
func (q *queue) Waiting() error { return q.waits }

func (q *queue) Run() *usercode.Run { return &usercode.Run{What: "a callback", Of: q} }

func beginCallbacks(n *node.Node) {
	n.Runs = usercode.New()
	n.Callbacks = n.System.Root.Spawn(supervisor.Props(NewCallbacks(n.Runs, &n.Dues)))
}

// Promise: what is due is called, and at the end waited for.
func TestCallbacksAreCalledBeforeTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, _ *[]any) {
		beginCallbacks(n)
		var called atomic.Int32
		slow := func(context.Context) {
			time.Sleep(2 * time.Second)
			called.Add(1)
		}
		for range 3 {
			n.Call(&queue{call: []func(context.Context){slow}})
		}
		began := time.Now()
		if err := EndCallbacks(t.Context(), n); err != nil || called.Load() != 3 {
			t.Errorf("%d were called: %v", called.Load(), err)
		}
		if took := time.Since(began); took != 2*time.Second { // beside each other
			t.Errorf("it took %s", took)
		}
		if err := EndCallbacks(t.Context(), n); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// Promise: what becomes due while its queue is being called is not forgotten, and
// one queue is called by one goroutine at a time.
func TestCallbacksDueMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, _ *[]any) {
		beginCallbacks(n)
		under, most := 0, 0
		q := &queue{call: []func(context.Context){func(context.Context) {
			under++
			most = max(most, under)
			time.Sleep(time.Second)
			under--
		}}}
		n.Call(q)
		time.Sleep(time.Second / 2)
		n.Call(q)
		n.Call(q)
		if err := EndCallbacks(t.Context(), n); err != nil {
			t.Error(err)
		}
		if q.calls != 2 || most != 1 {
			t.Errorf("%d calls, %d at a time; want 2, one at a time", q.calls, most)
		}
	})
}

// Promise: a callback that ends its goroutine, or panics, costs no other one.
func TestCallbackEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, happened *[]any) {
		beginCallbacks(n)
		q := &queue{call: []func(context.Context){
			func(context.Context) { runtime.Goexit() },
			func(context.Context) { panic("a bug of the user") },
			func(context.Context) {},
		}}
		n.Call(q)
		if err := EndCallbacks(t.Context(), n); err != nil {
			t.Error(err)
		}
		if q.calls != 3 || len(*happened) > 0 {
			t.Errorf("%d calls; this happened: %v", q.calls, *happened)
		}
	})
}

// Promise: a bug of ours forgets nothing that is due, nor who waits for it.
func TestCallbacksOutliveACrash(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, happened *[]any) {
		beginCallbacks(n)
		q := &queue{call: []func(context.Context){func(ctx context.Context) { <-ctx.Done() }, func(context.Context) {}}}
		n.Call(q)
		ended := make(chan error, 1)
		go func() { ended <- EndCallbacks(t.Context(), n) }()
		synctest.Wait()
		if q.calls != 1 {
			t.Fatalf("%d calls before it", q.calls)
		}
		n.Send(n.Callbacks, node.Crash{Err: errors.New("a bug")})
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if q.calls != 2 || len(*happened) != 1 {
			t.Errorf("%d calls; this happened: %v", q.calls, *happened)
		}
	})
}

// Promise: an end that a callback calls would wait for itself, and is refused.
func TestCallbackIsARunOfItsQueue(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, _ *[]any) {
		beginCallbacks(n)
		var within error
		q := &queue{}
		waits := func(r *usercode.Run) bool { return r.Of == q }
		q.call = []func(context.Context){func(ctx context.Context) { within = n.Runs.Refuse(ctx, "close", waits) }}
		n.Call(q)
		if err := EndCallbacks(t.Context(), n); err != nil {
			t.Error(err)
		}
		if !errors.Is(within, messages.ErrBusy) {
			t.Errorf("an end within: %v", within)
		}
	})
}

// Promise: an end says which callbacks are not called because their actor was stopped from
// outside while it was waited for, or before it heard of them.
func TestCallbacksWhoseActorIsStopped(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, _ *[]any) {
		beginCallbacks(n)
		n.Call(&queue{call: []func(context.Context){func(ctx context.Context) { <-ctx.Done() }}, waits: errors.New("5 callbacks of orders")})
		ended := make(chan error, 1)
		go func() { ended <- EndCallbacks(t.Context(), n) }()
		synctest.Wait()
		if err := supervisor.Stop(t.Context(), n.System, n.Callbacks); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, node.ErrOutside) || !strings.Contains(err.Error(), "5 callbacks of orders") {
			t.Errorf("stopped meanwhile: %v", err)
		}
		n.Call(&queue{waits: errors.New("3 callbacks of audit")})
		if err := EndCallbacks(t.Context(), n); !errors.Is(err, node.ErrOutside) || !strings.Contains(err.Error(), "3 callbacks of audit") {
			t.Errorf("stopped before: %v", err)
		}
		if err := EndCallbacks(t.Context(), n); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// Promise: an end waits for a callback that does not return no longer than for
// callbackGrace, or its context, and says which it was.
func TestCallbackThatDoesNotReturn(t *testing.T) {
	for name, tt := range map[string]struct {
		within, took time.Duration
		cause        error
	}{
		"with time":        {time.Hour, callbackGrace, messages.ErrBusy},
		"with little time": {time.Second, time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node.Node, _ *[]any) {
				beginCallbacks(n)
				returns := make(chan struct{})
				q := &queue{call: []func(context.Context){func(context.Context) { <-returns }}, waits: errors.New("5 callbacks of orders")}
				n.Call(q)
				ctx, cancel := context.WithTimeout(t.Context(), tt.within)
				defer cancel()
				began := time.Now()
				err := EndCallbacks(ctx, n)
				if !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), "wait for callbacks: 5 callbacks of orders: ") {
					t.Errorf("it says %v", err)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
				close(returns)
				if err := supervisor.Await(t.Context(), n.System, n.Callbacks); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
