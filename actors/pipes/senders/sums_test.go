package senders

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

// sumBus is a bus whose sums are told by a timer.
func sumBus() *events.Bus {
	h := events.New()
	h.Arm = func() { time.AfterFunc(events.SumEvery, h.TellSums) }
	return h
}

// Promise: what may happen for each message is told as a sum, a few times a second,
// and pushes no other event out of a subscriber's buffer.
func TestFloodsAreToldAsSums(t *testing.T) {
	for name, flood := range map[string]struct {
		each  func(*events.Bus, *sendq.Queue)
		count func(messages.Event) (int, bool)
	}{
		"a full group": {
			func(_ *events.Bus, o *sendq.Queue) {
				if err := o.Send(t.Context(), recordtest.Numbered(1, 8)); err != nil {
					t.Error(err)
				}
			},
			func(e messages.Event) (int, bool) { d, ok := e.(messages.MessagesDropped); return d.Count, ok },
		},
		"nacks": {
			func(h *events.Bus, _ *sendq.Queue) { h.Emit(messages.MessageNacked{Group: "g"}) },
			func(e messages.Event) (int, bool) { d, ok := e.(messages.MessageNacked); return max(1, d.Count), ok },
		},
		"failed records": {
			func(h *events.Bus, _ *sendq.Queue) { h.Emit(messages.RecordFailed{Group: "g"}) },
			func(e messages.Event) (int, bool) { d, ok := e.(messages.RecordFailed); return max(1, d.Count), ok },
		},
		"late acks": {
			func(h *events.Bus, _ *sendq.Queue) { h.Emit(messages.LateAck{Group: "g"}) },
			func(e messages.Event) (int, bool) { d, ok := e.(messages.LateAck); return max(1, d.Count), ok },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := sumBus()
				all := h.Events(t.Context())
				cfg := Config{Name: "orders", DropWithoutGroup: true}
				cfg.EnsureDefaults()
				o := sendq.New(cfg.Name, cfg.queue(""), h.Emit, h.Later)
				const rounds, burst = 20, 2000
				for range rounds {
					for range burst {
						flood.each(h, o)
					}
					time.Sleep(100 * time.Millisecond)
				}
				h.Emit(messages.SessionLost{})
				time.Sleep(time.Second)
				o.Close(nil)
				h.Close(messages.RuntimeStopped{})
				total, told, lost := 0, 0, false
				for e := range all {
					if n, ok := flood.count(e); ok {
						total += n
						told++
					} else {
						_, ok := e.(messages.SessionLost)
						lost = lost || ok
					}
				}
				if total != rounds*burst || told > 12 || !lost {
					t.Errorf("%d events for %d of %d, the other one came: %v", told, total, rounds*burst, lost)
				}
			})
		})
	}
}

// Nobody waits for what is told when there is nobody left to tell: a destination
// drops under its lock.
func TestDropsAfterTheEnd(t *testing.T) {
	h := events.New()
	h.Arm = func() {}
	h.Close(messages.RuntimeStopped{})
	cfg := Config{Name: "orders", DropWithoutGroup: true}
	cfg.EnsureDefaults()
	o := sendq.New(cfg.Name, cfg.queue(""), h.Emit, h.Later)
	sent := make(chan error, 1)
	go func() { sent <- o.Send(t.Context(), recordtest.Numbered(1, 8)) }()
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Send waits for itself")
	}
}
