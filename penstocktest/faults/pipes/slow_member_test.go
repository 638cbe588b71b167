package pipes_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: work goes where credit is. A member that needs 10 ms for each message
// keeps few of them waiting, and the quick one does the rest.
func TestASlowMemberDoesNotSlowItsGroup(t *testing.T) {
	ns := penstocktest.Space(t)
	sender := harness.Runtime(t, ns)
	orders := harness.Register(t, sender, "orders")
	var slow, quick atomic.Int64
	consume(t, harness.Join(t, harness.Runtime(t, ns), "orders", "billing"), func(ctx context.Context, _ penstock.Delivery) error {
		slow.Add(1)
		select {
		case <-time.After(10 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	consume(t, harness.Join(t, harness.Runtime(t, ns), "orders", "billing"), func(context.Context, penstock.Delivery) error {
		quick.Add(1)
		return nil
	})
	const n = 10_000
	began := time.Now()
	harness.Send(t, orders, 0, n)
	if err := orders.Flush(harness.Context(t)); err != nil {
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
