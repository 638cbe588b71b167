package senders_test

// A dead-letter handler that fails.

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a dead-letter handler that does not return has not taken its
// message; it gets it again, and everything after it.
func TestDeadLetterHandlerPanics(t *testing.T) {
	var calls atomic.Int32
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{
		MaxAttempts: 1, Retry: messages.Retry{Min: time.Millisecond, Max: 2 * time.Millisecond},
		DeadLetter: func(context.Context, messages.DeadLetter) error {
			switch calls.Add(1) {
			case 1:
				panic("a bug of the user")
			case 2:
				runtime.Goexit()
			}
			return nil
		},
	})
	enginetest.Consume(t, enginetest.Join(t, e, members.Config{}), func(context.Context, messages.Delivery) error { return errors.New("no") })
	enginetest.Send(t, d, 3)
	if err := d.Flush(enginetest.Within(t)); err != nil {
		t.Errorf("after %d calls: %v", calls.Load(), err)
	}
	events := e.Stats().Events
	if events["handler_panicked"] != 2 || events["dead_lettered"] != 3 {
		t.Errorf("%d panics and %d dead letters, not 2 and 3", events["handler_panicked"], events["dead_lettered"])
	}
}
