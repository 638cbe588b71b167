package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: a caller without a reply is told whose fault it is. One that ran out of
// time while our own actor was away is not told of etcd.
func TestUnanswered(t *testing.T) {
	gone := errors.New("the caller has no more time")
	over, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	other := errors.New("refused")
	held := &KeyWait{}
	held.On("held", false)
	for name, tt := range map[string]struct {
		ctx        context.Context
		err        error
		held       *KeyWait
		written    bool
		restarting bool
		want       []error
		not        error
	}{
		"the runtime is over":      {ctx: over, err: supervisor.ErrNoActor, want: []error{messages.ErrClosed}, not: gone},
		"our actor failed over it": {ctx: t.Context(), err: fmt.Errorf("ask: %w: %w", supervisor.ErrFailed, other), want: []error{messages.ErrRestarted, other}, not: messages.ErrUnavailable},
		"refused in time":          {ctx: t.Context(), err: other, want: []error{other}, not: messages.ErrUnavailable},
		"refused too late":         {ctx: over, err: other, want: []error{other}, not: messages.ErrUnavailable},
		"written":                  {ctx: over, err: gone, written: true, restarting: true, want: []error{gone}, not: messages.ErrRestarted},
		"our actor is away":        {ctx: over, err: gone, held: held, restarting: true, want: []error{messages.ErrRestarted, gone}, not: messages.ErrUnavailable},
		"the id is held":           {ctx: over, err: gone, held: held, want: []error{messages.ErrTaken, gone}, not: messages.ErrUnavailable},
		"etcd says nothing":        {ctx: over, err: gone, want: []error{messages.ErrUnavailable, gone}, not: messages.ErrRestarted},
		"etcd says nothing, again": {ctx: over, err: fmt.Errorf("ask: %w", gone), want: []error{messages.ErrUnavailable, gone}, not: messages.ErrTaken},
	} {
		n := withdrawing(t, nil)
		n.SetRestarting(tt.restarting)
		if tt.held == nil {
			tt.held = &KeyWait{}
		}
		err := n.Unanswered(tt.ctx, tt.err, tt.held, tt.written, "the groups")
		for _, want := range tt.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if errors.Is(err, tt.not) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.written && !strings.Contains(err.Error(), "the groups") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Promise: an error for lack of time names etcd, where it is, and what it said
// last.
func TestExplain(t *testing.T) {
	n := withdrawing(t, nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Explain(t.Context(), messages.ErrDenied); !errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("in time: %v", err)
	}
	if err := n.Explain(over, messages.ErrUnavailable); err.Error() != messages.ErrUnavailable.Error() {
		t.Errorf("what says it already: %v", err)
	}
	n.SetDelay(messages.ErrNoSpace)
	err := n.Explain(over, context.Canceled)
	if !errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("too late: %v", err)
	}
	n.SetDelay(nil)
	if why := n.Delay(); why != nil {
		t.Errorf("etcd has done what it was asked: %v", why)
	}
}

func TestStopBeginsOnce(t *testing.T) {
	n := &Node{}
	if n.Stopping() || !n.BeginStop() || n.BeginStop() || !n.Stopping() {
		t.Error("Stop did not begin once")
	}
}

func TestFailure(t *testing.T) {
	n := &Node{}
	if err := n.Failure(); err != nil {
		t.Error(err)
	}
	n.Fail(messages.ErrDenied)
	if err := n.Failure(); !errors.Is(err, messages.ErrDenied) {
		t.Error(err)
	}
}

func TestNamesAreUnique(t *testing.T) {
	n := &Node{}
	if a, b, c := n.Name("member", "m"), n.Name("member", "m"), n.Name("session", ""); a != "member/m#1" || b != "member/m#2" || c != "session#3" {
		t.Error(a, b, c)
	}
}

// Promise: a question that the engine's actor fails over, or forgets because it
// restarts, gets to its next incarnation, and no further than the caller's time.
func TestInsist(t *testing.T) {
	tries := 0
	n := withdrawing(t, nil)
	pid := n.System.Root.Spawn(supervisor.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(string); !ok {
				return
			}
			switch tries++; tries {
			case 1:
				panic("a bug")
			case 2:
				ctx.Respond(ErrAskAgain)
			case 3:
				ctx.Respond(&Withdrawn{})
			}
		})
	}))
	defer supervisor.Stop(t.Context(), n.System, pid)
	if _, err := InsistOn[*Withdrawn](t.Context(), n, pid, "end"); err != nil || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := InsistOn[*Withdrawn](ctx, n, pid, "end"); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
}

// Promise: an actor that answers from its first message on is found under the PID
// of its handle by whoever it answers.
func TestAnActorsPIDIsThereBeforeItBegins(t *testing.T) {
	system := actor.NewActorSystem()
	defer system.Shutdown()
	var at atomic.Pointer[actor.PID]
	seen := make(chan bool, 1)
	began := supervisor.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				seen <- ctx.Self().Equal(at.Load())
			}
		})
	}, ShowPID(&at))
	for range 100 {
		at.Store(nil)
		pid := system.Root.Spawn(began)
		if !<-seen {
			t.Fatal("the actor began, and its PID was not there")
		}
		_ = system.Root.StopFuture(pid).Wait()
	}
}
