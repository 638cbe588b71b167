package penstock_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
)

// Promise: work goes where credit is. A member that needs 10 ms for each message
// keeps few of them waiting, and the quick one does the rest.
func TestASlowMemberDoesNotSlowItsGroup(t *testing.T) {
	ns := space(t)
	sender := meet(t, ns)
	orders := register(t, sender, "orders")
	var slow, quick atomic.Int64
	consume(t, joinGroup(t, meet(t, ns), "orders", "billing"), func(ctx context.Context, _ penstock.Delivery) error {
		slow.Add(1)
		select {
		case <-time.After(10 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	consume(t, joinGroup(t, meet(t, ns), "orders", "billing"), func(context.Context, penstock.Delivery) error {
		quick.Add(1)
		return nil
	})
	const n = 10_000
	began := time.Now()
	send(t, orders, 0, n)
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%s; slow %d, quick %d", took, slow.Load(), quick.Load())
	if most := n / 2 * 10 * time.Millisecond / 5; took > most {
		t.Errorf("%d messages took %s; an even split would take %s", n, took, 5*most)
	}
	if slow.Load()+quick.Load() < n || slow.Load() > n/10 {
		t.Errorf("the slow member handled %d, the quick one %d", slow.Load(), quick.Load())
	}
}
