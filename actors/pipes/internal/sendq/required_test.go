package sendq

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

// A Send waits for each required group, whatever order they come in and whoever else is
// there, and again for one that was removed.
func TestSendWaitsForRequiredGroups(t *testing.T) {
	settings := messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock, KeepFor: messages.Forever}
	synctest.Test(t, func(t *testing.T) {
		events := make(chan messages.Event, 10)
		cfg := testConfig()
		cfg.Require = []string{"audit", "billing"}
		o := New("orders", cfg, func(e messages.Event) { events <- e }, func(func()) {})
		sent := make(chan error, 1)
		send := func(id uint64) { sent <- o.Send(t.Context(), recordtest.Numbered(id, 8)) }
		blocked := func(missing string) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond)
			e, ok := (<-events).(messages.SendBlocked)
			if !ok || strings.Join(e.Missing, " ") != missing || e.Group != "" || e.Why != groupMissing {
				t.Errorf("%+v, want %s missing", e, missing)
			}
			if len(sent) > 0 {
				t.Fatal("it was sent")
			}
		}
		passed := func() {
			t.Helper()
			synctest.Wait()
			if len(sent) == 0 {
				t.Fatal("it was not sent")
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}

		other := o.Backlog("other", settings) // not a required one
		go send(1)
		blocked("audit billing")
		billing := o.Backlog("billing", settings)
		synctest.Wait()
		if len(sent) > 0 {
			t.Fatal("one of two is enough")
		}
		audit := o.Backlog("audit", settings)
		passed()
		for _, b := range []*Backlog{other, billing, audit} {
			if b.count != 1 {
				t.Errorf("%s has %d messages", b.Group, b.count)
			}
		}

		o.Remove(other)
		go send(2)
		passed()
		o.Remove(billing)
		go send(3)
		blocked("billing")
		billing = o.Backlog("billing", settings)
		if e, ok := (<-events).(messages.GroupBegan); !ok || e.Group != "billing" || e.Missed != 2 {
			t.Errorf("%+v, want 2 messages missed", e)
		}
		passed()
		if billing.count != 1 || audit.count != 3 {
			t.Errorf("billing has %d messages and audit %d", billing.count, audit.count)
		}

		o.Remove(audit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		err := o.Send(ctx, recordtest.Numbered(4, 8))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"audit"`) {
			t.Errorf("%v does not name who is missing", err)
		}
		if len(events) > 0 {
			t.Errorf("event %+v", <-events)
		}
	})
}
