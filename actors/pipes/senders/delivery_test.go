package senders_test

// What a sender accepted is delivered, whatever ends in between.

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: with nobody reading, Leave waits for nothing, also when the reader
// ends after the drain began: what it left goes back to the sender.
func TestLeaveWhileReaderEnds(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, actors.MemberConfig{})
	const sent = 20
	enginetest.Send(t, d, sent)
	reading, stopReading := context.WithCancel(t.Context())
	defer stopReading()
	handling, finish := make(chan struct{}, sent), make(chan struct{})
	consumed := enginetest.Aside(func() error {
		return m.Consume(reading, func(context.Context, messages.Delivery) error {
			handling <- struct{}{}
			<-finish
			return nil
		})
	})
	enginetest.Await(t, "the handler has a message", handling)
	left := enginetest.Aside(func() error { return m.Leave(enginetest.Within(t)) })
	enginetest.Until(t, "the sender was asked for no more", func() bool {
		return d.Queue().Held(d.Queue().Backlogs()[0]) > 0
	})
	stopReading()
	close(finish)
	if err := enginetest.Outcome(t, "consume", consumed); !errors.Is(err, context.Canceled) {
		t.Errorf("consume: %v", err)
	}
	if err := enginetest.Outcome(t, "leave", left); err != nil {
		t.Errorf("leave: %v", err)
	}
	// The rest is still there for whoever comes next.
	enginetest.Consume(t, enginetest.Join(t, e, actors.MemberConfig{}), func(context.Context, messages.Delivery) error { return nil })
	if err := d.Flush(enginetest.Within(t)); err != nil {
		t.Error(err)
	}
}

// Promise: a nack that was taken is tried again, also when its link ends before
// it could tell the group.
func TestNackWhileItsLinkStops(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{Retry: messages.Retry{Min: 10 * time.Millisecond}})
	emit := d.Queue().Emit
	var stops sync.Once
	// Between the taking of a nack and its telling, its link is told to stop:
	// that overtakes what is told.
	d.Queue().Emit = func(event messages.Event) {
		emit(event)
		if _, ok := event.(messages.MessageNacked); !ok {
			return
		}
		stops.Do(func() {
			for _, info := range enginetest.ActorsOf(e, "link") {
				enginetest.StopActor(e, info)
			}
		})
	}
	enginetest.Consume(t, enginetest.Join(t, e, actors.MemberConfig{}), func(_ context.Context, d messages.Delivery) error {
		if d.Attempt == 1 {
			return errors.New("no")
		}
		return nil
	})
	enginetest.Send(t, d, 1)
	if err := d.Flush(enginetest.Within(t)); err != nil {
		t.Error(err)
	}
	if n := e.Stats().Events["member_unlinked"]; n != 1 {
		t.Errorf("%d links ended, not 1", n)
	}
}
