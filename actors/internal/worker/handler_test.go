package worker

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// bubble runs f in virtual time with a node of no etcd, and what happened to its
// actors.
func bubble(t *testing.T, f func(t *testing.T, n *node.Node, happened *[]any)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &node.Node{System: node.NewSystem()}
		supervisor.Prepare(n.System)
		var happened []any
		n.System.EventStream.Subscribe(func(event any) {
			switch event.(type) {
			case *supervisor.Restarted, *supervisor.Escalated, *supervisor.Overdue:
				happened = append(happened, event)
			}
		})
		f(t, n, &happened)
		time.Sleep(time.Second) // for the system's throttle: a bubble's clock stops with this function
	})
}

// job is work that a test describes, call by call.
type job struct {
	ctx      context.Context
	work     []func(context.Context) error // the last one is for all further calls
	calls    int
	ended    int
	patience time.Duration
}

func (j *job) Context() context.Context { return j.ctx }
func (j *job) Ended()                   { j.ended++ }
func (j *job) Patience() time.Duration  { return j.patience }

func (j *job) Work(ctx context.Context) error {
	j.calls++
	return j.work[min(j.calls, len(j.work))-1](ctx)
}

func over(context.Context) error { return nil }

func goexit(context.Context) error {
	runtime.Goexit()
	return nil
}

func panics(context.Context) error { panic("a bug") }

func untilEnded(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func begin(n *node.Node, j *job) *actor.PID {
	return n.System.Root.Spawn(supervisor.Props(newHandler(j, &atomic.Bool{})))
}

// Promise: what a user's function does wrong takes another goroutine and no
// restart; the stream's end is told once, and ends the actor.
func TestHandlerWorksUntilTheStreamIsOver(t *testing.T) {
	for name, tt := range map[string]struct {
		work    []func(context.Context) error
		calls   int
		restart bool
	}{
		"at once":             {[]func(context.Context) error{over}, 1, false},
		"with an error":       {[]func(context.Context) error{func(context.Context) error { return messages.ErrClosed }}, 1, false},
		"after two Goexits":   {[]func(context.Context) error{goexit, goexit, over}, 3, false},
		"after a bug of ours": {[]func(context.Context) error{panics, over}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node.Node, happened *[]any) {
				j := &job{ctx: t.Context(), work: tt.work, patience: time.Minute}
				if err := supervisor.Await(t.Context(), n.System, begin(n, j)); err != nil {
					t.Fatal(err)
				}
				if j.calls != tt.calls || j.ended != 1 {
					t.Errorf("%d calls and %d ends, want %d and 1", j.calls, j.ended, tt.calls)
				}
				if restarted := len(*happened) > 0; restarted != tt.restart {
					t.Errorf("this happened: %+v", *happened)
				}
			})
		})
	}
}

// Promise: the work's context ends with the consumption.
func TestHandlerEndsWithItsConsumption(t *testing.T) {
	bubble(t, func(t *testing.T, n *node.Node, _ *[]any) {
		ctx, cancel := context.WithCancel(t.Context())
		j := &job{ctx: ctx, patience: time.Minute, work: []func(context.Context) error{untilEnded}}
		pid := begin(n, j)
		synctest.Wait()
		if j.calls != 1 || j.ended != 0 {
			t.Fatalf("%d calls and %d ends before it", j.calls, j.ended)
		}
		cancel()
		if err := supervisor.Await(t.Context(), n.System, pid); err != nil {
			t.Fatal(err)
		}
		if j.calls != 1 || j.ended != 1 {
			t.Errorf("%d calls and %d ends", j.calls, j.ended)
		}
	})
}

// Promise: a handler that is stopped cuts its work short, which is no end of the
// stream. Work that does not return is waited for as long as that was promised.
func TestHandlerIsStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		returns bool
		took    time.Duration
	}{
		"and its work returns": {true, 0},
		"and its work stays":   {false, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node.Node, happened *[]any) {
				stays := make(chan struct{})
				var cause error
				j := &job{ctx: t.Context(), patience: 3 * time.Second, work: []func(context.Context) error{func(ctx context.Context) error {
					cause = untilEnded(ctx)
					if !tt.returns {
						<-stays
					}
					return cause
				}}}
				pid := begin(n, j)
				synctest.Wait()
				began := time.Now()
				if err := supervisor.Stop(t.Context(), n.System, pid); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("its end took %s, want %s", took, tt.took)
				}
				if left := len(*happened) > 0; left == tt.returns {
					t.Errorf("this happened: %+v", *happened)
				}
				close(stays)
				synctest.Wait()
				if !errors.Is(cause, context.Canceled) || j.calls != 1 || j.ended != 0 {
					t.Errorf("%d calls and %d ends: %v", j.calls, j.ended, cause)
				}
			})
		})
	}
}
