package pipes_test

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: the sender is gone when Unregister returns, so its name is free.
func TestRegisterAgainAfterUnregister(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	for range 200 {
		d, err := rt.Register(harness.Context(t), "orders", penstock.SoleSender())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Unregister(harness.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// Promise: KeepFor counts from when the last member left, whoever sends when. A
// sender that comes later does not begin to count again.
func TestDesertionIsCountedAcrossSenders(t *testing.T) {
	t.Parallel()
	const keep, nobody = 6 * time.Second, 5 * time.Second
	ns := penstocktest.Space(t)
	member := harness.Runtime(t, ns)
	m := harness.Join(t, member, "orders", "old", penstock.KeepFor(keep))
	left := time.Now()
	if err := m.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	<-time.After(nobody) // no sender is there to notice
	sender := harness.Runtime(t, ns)
	events := penstocktest.Record(t, sender)
	harness.Register(t, sender, "orders")
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupRemoved) bool { return e.Group == "old" })
	if took := time.Since(left); took < keep-100*time.Millisecond || took > nobody+keep-100*time.Millisecond {
		t.Errorf("the group was removed %s after its last member left, its KeepFor is %s", took, keep)
	}
}

// Promise: whoever joins again ends the count.
func TestJoiningEndsDesertion(t *testing.T) {
	t.Parallel()
	const keep = 4 * time.Second
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	harness.Register(t, rt, "orders")
	m := harness.Join(t, rt, "orders", "billing", penstock.KeepFor(keep))
	if err := m.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	events := penstocktest.Record(t, rt)
	harness.Join(t, rt, "orders", "billing", penstock.KeepFor(keep))
	harness.AwaitKeys(t, harness.Client(t), ns+"/dest/orders/groups/billing/deserted", "no mark of desertion", harness.Exactly(nil))
	<-time.After(keep * 3 / 2) // the time in which the group would go
	for _, e := range events.Events() {
		if e, ok := e.(messages.GroupRemoved); ok {
			t.Fatalf("%+v, and somebody had joined", e)
		}
	}
}
