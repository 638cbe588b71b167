package members_test

// A user's function that ends its goroutine or does not return costs neither
// messages nor actors.

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a handler that ends its goroutine failed a message, and restarts
// nothing, however often it does.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	const failures = 12 // more than any budget of restarts
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{MaxAttempts: -1, Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond}})
	enginetest.Consume(t, enginetest.Join(t, e, members.Config{}), func(_ context.Context, d messages.Delivery) error {
		if d.Attempt <= failures {
			runtime.Goexit()
		}
		return nil
	})
	enginetest.Send(t, d, 1)
	if err := d.Flush(enginetest.Within(t)); err != nil {
		t.Error(err)
	}
	events := e.Stats().Events
	if events["actor_restarted"] > 0 || events["actor_stopped"] > 0 || events["message_nacked"] != failures {
		t.Errorf("%d actors restarted, %d stopped, %d nacks of %d",
			events["actor_restarted"], events["actor_stopped"], events["message_nacked"], failures)
	}
}

// Promise: a Leave that a handler of the user's holds up says so.
func TestLeaveBlamesSlowHandler(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{ID: "slow"})
	in, goOn := make(chan struct{}), make(chan struct{})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error {
		close(in)
		<-goOn
		return nil
	})
	enginetest.Send(t, d, 1)
	enginetest.Await(t, "the delivery", in)
	short, cancel := context.WithTimeout(enginetest.Within(t), 100*time.Millisecond)
	defer cancel()
	err := m.Leave(short)
	if !errors.Is(err, messages.ErrBusy) || errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("leave: %v", err)
	}
	if keys := s.With(t, s.Client(t), "members/slow"); len(keys) > 0 {
		t.Errorf("%v stand", keys)
	}
	close(goOn)
}
