package penstock_test

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
)

// Promise: the sender is gone when Unregister returns, so its name is free.
func TestRegisterAgainAfterUnregister(t *testing.T) {
	rt := meet(t, space(t))
	for range 200 {
		d, err := rt.Register(patient(t), "orders", penstock.SoleSender())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Unregister(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// Promise: KeepFor counts from when the last member left, whoever sends when. A
// sender that comes later does not begin to count anew.
func TestDesertionIsCountedAcrossSenders(t *testing.T) {
	t.Parallel()
	const keep, nobody = 6 * time.Second, 5 * time.Second
	ns := space(t)
	member := meet(t, ns)
	m := joinGroup(t, member, "orders", "old", penstock.KeepFor(keep))
	left := time.Now()
	if err := m.Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	<-time.After(nobody) // no sender is there to notice
	sender := meet(t, ns)
	events := penstocktest.Record(t, sender)
	register(t, sender, "orders")
	penstocktest.WaitEvent(t, events, patience, func(e messages.GroupRemoved) bool { return e.Group == "old" })
	if took := time.Since(left); took < keep-100*time.Millisecond || took > nobody+keep-100*time.Millisecond {
		t.Errorf("the group was removed %s after its last member left, its KeepFor is %s", took, keep)
	}
}

// Promise: whoever joins again ends the count.
func TestJoiningEndsDesertion(t *testing.T) {
	t.Parallel()
	const keep = 4 * time.Second
	ns := space(t)
	rt := meet(t, ns)
	register(t, rt, "orders")
	m := joinGroup(t, rt, "orders", "billing", penstock.KeepFor(keep))
	if err := m.Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	events := penstocktest.Record(t, rt)
	joinGroup(t, rt, "orders", "billing", penstock.KeepFor(keep))
	awaitKeys(t, control(t), ns+"/dest/orders/groups/billing/deserted", "no mark of desertion", same(nil))
	<-time.After(keep * 3 / 2) // the time in which the group would go
	for _, e := range events.Events() {
		if e, ok := e.(messages.GroupRemoved); ok {
			t.Fatalf("%+v, and somebody had joined", e)
		}
	}
}
