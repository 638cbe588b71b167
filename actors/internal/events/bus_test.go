package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/penstock-io/penstock/messages"
)

func TestHubHandsEveryEventToEverySubscriber(t *testing.T) {
	h := New()
	const subscribers, n = 3, 100
	var all sync.WaitGroup
	var ended atomic.Int32
	for range subscribers {
		events := h.Events(t.Context())
		all.Go(func() {
			i := 0
			for e := range events {
				if e == (messages.RuntimeStopped{}) {
					ended.Add(1)
					continue
				}
				if e != (messages.MemberLinked{Member: fmt.Sprint(i)}) {
					t.Errorf("event %d is %+v", i, e)
				}
				i++
			}
			if i != n {
				t.Errorf("%d events of %d", i, n)
			}
		})
	}
	for i := range n {
		h.Emit(messages.MemberLinked{Member: fmt.Sprint(i)})
	}
	h.Close(messages.RuntimeStopped{})
	h.Close(messages.RuntimeStopped{})
	all.Wait()
	if n := ended.Load(); n != subscribers {
		t.Errorf("%d of %d subscribers got the last event once", n, subscribers)
	}
	h.Emit(messages.MemberLinked{})
	if got := h.Count()[messages.EventName(messages.MemberLinked{})]; got != n+1 {
		t.Errorf("counted %v", h.Count())
	}
	for e := range h.Events(t.Context()) {
		t.Errorf("event %+v of a closed bus", e)
	}
}

// Promise: no subscriber is too slow for the last event, nor for how many it missed
// before.
func TestTheLastEventIsNeverLost(t *testing.T) {
	h := New()
	events := h.Events(t.Context())
	for range 2 * eventBuffer {
		h.Emit(messages.SessionLost{})
	}
	last := messages.RuntimeStopped{Err: errors.New("why")}
	h.Close(last)
	var got []messages.Event
	for e := range events {
		got = append(got, e)
	}
	if n := len(got); n != eventBuffer+2 || got[n-2] != (messages.EventsLost{Count: eventBuffer}) || got[n-1] != last {
		t.Errorf("%d events, which end in %v", n, got[max(0, n-2):])
	}
}

func TestASlowSubscriberIsToldWhatItMissed(t *testing.T) {
	h := New()
	defer h.Close(messages.RuntimeStopped{})
	events := h.Events(t.Context())
	const missed = 7
	for range eventBuffer + missed {
		h.Emit(messages.Drained{})
	}
	n := 0
	for e := range events {
		switch n++; {
		case n <= eventBuffer:
			if e != (messages.Drained{}) {
				t.Fatalf("event %d is %+v", n, e)
			}
			if n == eventBuffer {
				h.Emit(messages.DestinationUnregistered{})
			}
			continue
		case n == eventBuffer+1:
			if e != (messages.EventsLost{Count: missed}) {
				t.Errorf("event %+v, want to be told of %d lost", e, missed)
			}
			continue
		case e != (messages.DestinationUnregistered{}):
			t.Errorf("event %+v", e)
		}
		break
	}
}

func TestEventsEnd(t *testing.T) {
	for name, end := range map[string]func(h *Bus, cancel func()){
		"with the bus":     func(h *Bus, _ func()) { h.Close(messages.Unsubscribed{}) },
		"with the context": func(_ *Bus, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				events := h.Events(ctx)
				h.Emit(messages.Drained{}) // before anybody iterates
				var got []string
				done := make(chan struct{})
				go func() {
					defer close(done)
					for e := range events {
						got = append(got, messages.EventName(e))
					}
				}()
				synctest.Wait()
				h.Emit(messages.DestinationUnregistered{})
				synctest.Wait()
				end(h, func() { cancel(errors.New("enough")) })
				<-done
				want := []string{messages.EventName(messages.Drained{}), messages.EventName(messages.DestinationUnregistered{})}
				if name == "with the bus" {
					want = append(want, messages.EventName(messages.Unsubscribed{}))
				}
				if !slices.Equal(got, want) {
					t.Errorf("events %v, want %v", got, want)
				}
				if len(h.subs) != 0 {
					t.Error("a loop that ended is still subscribed")
				}
			})
		})
	}
}

func TestABrokenEventLoopUnsubscribes(t *testing.T) {
	h := New()
	defer h.Close(messages.RuntimeStopped{})
	events := h.Events(t.Context())
	h.Emit(messages.Drained{})
	for range events {
		break
	}
	if len(h.subs) != 0 {
		t.Error("still subscribed")
	}
}

// Events asked for and never looped over do not stay.
func TestEventsNeverLoopedOver(t *testing.T) {
	h := New()
	defer h.Close(messages.RuntimeStopped{})
	ctx, cancel := context.WithCancel(t.Context())
	_ = h.Events(ctx)
	cancel()
	h.Emit(messages.Drained{})
	if len(h.subs) != 0 {
		t.Error("still subscribed after its context ended")
	}
}
