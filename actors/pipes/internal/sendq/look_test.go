package sendq

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// Promise: a look shows each unsettled message once, where it is.
func TestLookAddsUp(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) {
		c.MaxAttempts, c.DeadLetters, c.Retry = 2, true, messages.Retry{Min: time.Minute, Max: time.Hour, Factor: 2}
	})
	want := func(l BacklogLook) {
		t.Helper()
		got := o.Look(b)
		if l.Bytes, l.Policy = b.size, messages.QueueBlock; got != l {
			t.Errorf("a look shows %+v, want %+v", got, l)
		}
		if sum := got.Queued + got.InFlight + got.Failed + got.Exhausted; sum != o.Pending() {
			t.Errorf("they add up to %d, and %d are pending", sum, o.Pending())
		}
	}
	want(BacklogLook{})
	l := linkTo(t, o, b, "m", 5, 1<<20)
	for id := range uint64(8) {
		mustSend(t, o, recordtest.Numbered(id, 8))
	}
	out := 0
	for rung(l) || out > 0 && out < 5 {
		got, ok := o.Next(b, l)
		if !ok {
			break
		}
		out += got.Count
	}
	want(BacklogLook{Links: 1, Queued: 8 - out, InFlight: out})
	if look := o.LookAt(l); look != (LinkLook{Sent: uint64(out), InFlight: out, Credit: 5 - out}) {
		t.Errorf("with %d out the link shows %+v", out, look)
	}
	now := time.Unix(1000, 0)
	back, err := o.Nack(b, l, &frame.Nack{Seq: 1, Reason: "no"}, now)
	if err != nil {
		t.Fatal(err)
	}
	want(BacklogLook{Links: 1, Queued: 8 - out, InFlight: out - 1, Failed: 1, Due: back.Due})
	o.RequeueDue(b, back.Due)
	want(BacklogLook{Links: 1, Queued: 8 - out + 1, InFlight: out - 1})
	if err := o.Ack(b, l, &frame.Ack{Cumulative: uint64(out), CreditMessages: 100, CreditBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	first := uint64(out + 1) // the one that failed goes before the others
	o.Next(b, l)
	if _, err := o.Nack(b, l, &frame.Nack{Seq: first, Reason: "no"}, now); err != nil {
		t.Fatal(err)
	}
	got := o.Look(b)
	if got.Exhausted != 1 || got.Failed != 0 || !got.Due.IsZero() {
		t.Errorf("at its limit of attempts: %+v", got)
	}
}
