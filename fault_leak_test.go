package penstock_test

// Nothing is left behind: goroutines, file descriptors, actors, keys.

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
)

// usage is what a process holds.
type usage struct{ goroutines, descriptors, actors int }

func use(t *testing.T, rt *penstock.Runtime) usage {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return usage{runtime.NumGoroutine(), len(open), len(rt.Engine().Tree())}
}

// Promise: 10,000 joins and leaves leave nothing behind: no goroutine, no file
// descriptor, no dialer, no actor and no key.
func TestFaultJoinsAndLeavesLeaveNothing(t *testing.T) {
	n := 10_000
	if testing.Short() || raceEnabled {
		n = 500
	}
	ns := space(t)
	rt := meet(t, ns)
	orders := register(t, rt, "orders")
	l := newLedger()
	l.handle(t, "stays", joinGroup(t, rt, "orders", "stays"))
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	round := func() error {
		m, err := rt.Join(ctx, "orders", "billing")
		if err != nil {
			return err
		}
		return m.Leave(ctx)
	}
	for range 20 { // what is made once is made now
		if err := round(); err != nil {
			t.Fatal(err)
		}
	}
	before := use(t, rt)
	const workers = 8
	errs := make(chan error, workers)
	began := time.Now()
	for range workers {
		go func() {
			for range n / workers {
				if err := round(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d joins and leaves took %s", n, time.Since(began))

	// Ends that are under way end; what stays is a leak. A handful is the
	// runtime's and etcd's coming and going.
	const noise = 5
	var after usage
	for deadline := time.Now().Add(patience / 4); ; runtime.Gosched() {
		after = use(t, rt)
		if after.goroutines <= before.goroutines+noise && after.descriptors <= before.descriptors+noise && after.actors <= before.actors {
			break
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("before %+v, after %+v\n%s", before, after, buf[:runtime.Stack(buf, true)])
		}
	}
	awaitKeys(t, control(t), ns+"/dest/orders/groups/billing/members/", "no member", same(nil))
	send(t, orders, 0, 100)
	l.await(t, "the messages of who stayed", func(now tally) bool { return now.distinct == 100 })
}
