package pipes_test

// Processes that die, stand still and come back. Members and senders are
// processes of their own here, joined by real sockets.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// window is that of the members, and so the bound of what a fault repeats.
const window = 256

func memberProcess(t *testing.T, ns, name string, mode penstock.Mode, l *harness.Ledger) *child {
	t.Helper()
	return spawn(t, childSpec{
		Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
		Member: name, Mode: mode, Window: window,
	}, l)
}

// Promise: at least once. A member that dies with SIGKILL has its unacked
// window delivered to another; nothing accepted is lost, and no more than that
// window is handled twice.
func TestMemberKilledUnderLoad(t *testing.T) {
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders")
	dies, lives := memberProcess(t, ns, "dies", penstock.AtLeastOnce, l), memberProcess(t, ns, "lives", penstock.AtLeastOnce, l)
	dies.awaitReady(t)
	lives.awaitReady(t)

	load := harness.StartLoad(t, orders)
	l.Await(t, "both at work", func(now harness.Tally) bool { return now.By["dies"] > 500 && now.By["lives"] > 500 })
	dies.kill(t)
	gone := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "dies" })
	if gone.Cause == nil {
		t.Error("the death of a member must have a cause")
	}
	after := l.Tally().By["lives"]
	l.Await(t, "the other goes on", func(now harness.Tally) bool { return now.By["lives"] > after+500 })
	n := harness.Settle(t, load, orders, l)
	l.Complete(t, n, window)
}

// Promise: at most once. A member that dies may take its window along, and
// nothing is ever handled twice.
func TestAtMostOnceNeverRepeats(t *testing.T) {
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders")
	dies, lives := memberProcess(t, ns, "dies", penstock.AtMostOnce, l), memberProcess(t, ns, "lives", penstock.AtMostOnce, l)
	dies.awaitReady(t)
	lives.awaitReady(t)

	load := harness.StartLoad(t, orders)
	l.Await(t, "both at work", func(now harness.Tally) bool { return now.By["dies"] > 500 && now.By["lives"] > 500 })
	dies.kill(t)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "dies" })
	after := l.Tally().By["lives"]
	l.Await(t, "the other goes on", func(now harness.Tally) bool { return now.By["lives"] > after+500 })
	n := load.Stop(t)
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	// Flushed means written; what was written to the living arrives.
	now := l.Await(t, "all but a window", func(now harness.Tally) bool { return now.Distinct >= n-window })
	if now.Total != now.Distinct {
		t.Errorf("%d messages were handled twice", now.Total-now.Distinct)
	}
}

// Promise: liveness is judged by the link, not by the lease. A member frozen
// past the beat loses its link and its window goes to another; when it wakes,
// its late acks settle nothing, what it had not started is thrown away, and it
// works again. At most one window is handled twice.
func TestMemberFrozenAndResumed(t *testing.T) {
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders")
	freezes, lives := memberProcess(t, ns, "freezes", penstock.AtLeastOnce, l), memberProcess(t, ns, "lives", penstock.AtLeastOnce, l)
	freezes.awaitReady(t)
	lives.awaitReady(t)

	load := harness.StartLoad(t, orders)
	l.Await(t, "both at work", func(now harness.Tally) bool { return now.By["freezes"] > 500 && now.By["lives"] > 500 })
	resume := penstocktest.Freeze(t, freezes.cmd.Process)
	frozen := time.Now()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "freezes" && e.Cause != nil })
	if took := time.Since(frozen); took < time.Second { // the last beat may have been heard a while before
		t.Errorf("given up after %s: three beats are three seconds", took)
	}
	again := penstocktest.Record(t, rt)
	resume()
	penstocktest.WaitEvent(t, again, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "freezes" })
	awake := l.Tally().By["freezes"]
	l.Await(t, "it works again", func(now harness.Tally) bool { return now.By["freezes"] > awake+500 })
	n := harness.Settle(t, load, orders, l)
	l.Complete(t, n, window)
}

// Promise: members follow their senders. A sender that drains delivers all it
// accepted; its successor, under the same id and on another port, is found.
func TestSenderRestartedOnAnotherPort(t *testing.T) {
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	m := harness.Join(t, rt, "orders", "billing", penstock.Window(window))
	l.Handle(t, "member", m)
	sender := func() *child {
		return spawn(t, childSpec{
			Role: roleSender, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders",
			Listen: fmt.Sprintf("tcp://127.0.0.1:%d", penstocktest.FreePort(t)),
		}, l)
	}
	first := sender()
	first.awaitReady(t)
	first.tell(t, "send 0 2000")
	first.tell(t, "stop")
	harness.Await(t, "the drain", harness.Closing(first.left))
	if now := l.Tally(); now.Distinct != 2000 {
		t.Fatalf("the sender said it drained, and %d of 2000 were handled", now.Distinct)
	}
	second := sender()
	second.awaitReady(t)
	second.tell(t, "send 2000 4000")
	l.Await(t, "the messages of the second", func(now harness.Tally) bool { return now.Distinct == 4000 })
	l.Complete(t, 4000, 0)
}

// Promise: the same after a crash, as soon as the dead one's lease is over.
// What it had accepted and not sent is lost; what its successor accepts is not.
func TestSenderKilledAndReplaced(t *testing.T) {
	t.Parallel()
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	m := harness.Join(t, rt, "orders", "billing", penstock.Window(window))
	l.Handle(t, "member", m)
	events := penstocktest.Record(t, rt)
	sender := func() *child {
		return spawn(t, childSpec{
			Role: roleSender, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", LeaseTTL: 2 * time.Second,
			Listen: fmt.Sprintf("tcp://127.0.0.1:%d", penstocktest.FreePort(t)),
		}, l)
	}
	first := sender()
	first.awaitReady(t)
	first.tell(t, "send 0 1000")
	l.Await(t, "the first messages", func(now harness.Tally) bool { return now.Distinct >= 500 })
	first.kill(t)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.SenderUnlinked) bool { return e.Cause != nil })
	// The id is the dead one's until etcd gives its lease up.
	watch := watchGone(t, ns+"/dest/orders/senders/the-sender")
	harness.Await(t, "the end of the dead sender's lease", watch)
	second := sender()
	second.awaitReady(t)
	second.tell(t, "send 1000 2000")
	l.Await(t, "the messages of the second", func(harness.Tally) bool { return l.Has(1000, 2000) })
}

// watchGone yields once key is not in the package's etcd.
func watchGone(t *testing.T, key string) <-chan struct{} {
	c := harness.Client(t)
	gone := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if harness.UntilKeys(ctx, c, key, func(keys []string) bool { return len(keys) == 0 }) == nil {
			gone <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return gone
}
