package actors_test

// An engine and its parts may end in any order, by anybody's hand, and whoever
// waits for one of them hears of it.

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: a Leave whose member fails meanwhile is continued by the member's next
// incarnation.
func TestLeaveWhileMemberRestarts(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	handling, release := make(chan struct{}, 8), make(chan struct{})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error {
		handling <- struct{}{}
		<-release
		return nil
	})
	enginetest.Send(t, d, 1)
	enginetest.Await(t, "the handler has the message", handling)
	left := enginetest.Aside(func() error { return m.Leave(context.Background()) })
	enginetest.Until(t, "the member leaves", func() bool {
		all := enginetest.ActorsOf(e, "member")
		return len(all) == 1 && all[0].State == "leaving"
	})
	enginetest.Crash(e, "member")
	close(release) // the next incarnation begins when the handler has returned
	if err := enginetest.Outcome(t, "leave", left); err != nil {
		t.Errorf("leave: %v", err)
	}
	enginetest.Until(t, "the member is gone", func() bool { return len(enginetest.ActorsOf(e, "member")) == 0 })
	if left := s.With(t, s.Client(t), "/members/"); len(left) > 0 {
		t.Errorf("these keys are left: %v", left)
	}
}

// Promise: an engine that a bug has used up ends by itself: its keys leave etcd, and
// every handle, Done, Err and the last event name the bug.
func TestEngineGivenUp(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	consumed := enginetest.Aside(func() error {
		return m.Consume(context.Background(), func(context.Context, messages.Delivery) error { return nil })
	})
	events := e.Events(context.Background())
	for over := false; !over; {
		enginetest.Crash(e, enginetest.Root)
		enginetest.Until(t, "the engine's actor is back, or over", func() bool {
			root := enginetest.ActorsOf(e, enginetest.Root)
			over = e.Stopped()
			return over || len(root) == 1 && root[0].State == "running" && root[0].Queue == 0
		})
	}
	named := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "a bug in "+enginetest.Root) {
			t.Errorf("%s: %v", what, err)
		}
	}
	named("the engine", e.Err())
	named("consume", enginetest.Outcome(t, "consume", consumed))
	named("send", d.Send(enginetest.Within(t), messages.Message{}))
	_, err := e.Join(enginetest.Within(t), members.Config{Destination: "orders", Group: "late"})
	named("join", err)
	if !errors.Is(err, messages.ErrClosed) {
		t.Errorf("join: %v", err)
	}
	if exhausted := (*supervisor.BudgetError)(nil); !errors.As(e.Err(), &exhausted) {
		t.Errorf("the engine: %v", e.Err())
	}
	var last messages.Event
	for last = range events {
	}
	stopped, _ := last.(messages.RuntimeStopped)
	named("the last event", stopped.Err)
	noKeys(t, s, "/"+d.ID(), "/"+m.ID())
}

// Promise: an engine that was stopped in order is over without an error.
func TestDoneAfterStop(t *testing.T) {
	e := enginetest.NewSpace(t).Start(t)
	select {
	case <-e.Done():
		t.Error("over before its end")
	default:
	}
	if err := errors.Join(e.Err(), e.Stop(enginetest.Within(t))); err != nil {
		t.Error(err)
	}
	enginetest.Await(t, "done", e.Done())
	if err := e.Err(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
