package pipes_test

// Nothing is left behind: goroutines, file descriptors, actors, keys.

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
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
func TestJoinsAndLeavesLeaveNothing(t *testing.T) {
	n := 10_000
	if testing.Short() || harness.RaceEnabled {
		n = 500
	}
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	l := harness.NewLedger()
	l.Handle(t, "stays", harness.Join(t, rt, "orders", "stays"))
	ctx, cancel := context.WithTimeout(t.Context(), 4*harness.Patience)
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
	for deadline := time.Now().Add(harness.Patience / 4); ; runtime.Gosched() {
		after = use(t, rt)
		if after.goroutines <= before.goroutines+noise && after.descriptors <= before.descriptors+noise && after.actors <= before.actors {
			break
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("before %+v, after %+v\n%s", before, after, buf[:runtime.Stack(buf, true)])
		}
	}
	harness.AwaitKeys(t, harness.Client(t), ns+"/dest/orders/groups/billing/members/", "no member", harness.Exactly(nil))
	harness.Send(t, orders, 0, 100)
	l.Await(t, "the messages of who stayed", func(now harness.Tally) bool { return now.Distinct == 100 })
}
