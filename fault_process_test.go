package penstock_test

// Processes that die, stand still and come back. Members and senders are
// processes of their own here, joined by real sockets.

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
)

// window is that of the members, and so the bound of what a fault repeats.
const window = 256

func memberProcess(t *testing.T, ns, name string, mode penstock.Mode, l *ledger) *child {
	t.Helper()
	return spawn(t, childSpec{
		Role: roleMember, Endpoint: etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
		Member: name, Mode: mode, Window: window,
	}, l)
}

// Promise: at least once. A member that dies with SIGKILL has its unacked
// window delivered to another; nothing accepted is lost, and no more than that
// window is handled twice.
func TestFaultMemberKilledUnderLoad(t *testing.T) {
	ns, l := space(t), newLedger()
	rt := meet(t, ns)
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders")
	dies, lives := memberProcess(t, ns, "dies", penstock.AtLeastOnce, l), memberProcess(t, ns, "lives", penstock.AtLeastOnce, l)
	dies.awaitReady(t)
	lives.awaitReady(t)

	load := startLoad(t, orders)
	l.await(t, "both at work", func(now tally) bool { return now.by["dies"] > 500 && now.by["lives"] > 500 })
	dies.kill(t)
	gone := penstocktest.WaitEvent(t, events, patience, func(e messages.MemberUnlinked) bool { return e.Member == "dies" })
	if gone.Cause == nil {
		t.Error("the death of a member must have a cause")
	}
	after := l.tally().by["lives"]
	l.await(t, "the other goes on", func(now tally) bool { return now.by["lives"] > after+500 })
	n := settle(t, load, orders, l)
	l.complete(t, n, window)
}

// Promise: at most once. A member that dies may take its window along, and
// nothing is ever handled twice.
func TestFaultAtMostOnceNeverRepeats(t *testing.T) {
	ns, l := space(t), newLedger()
	rt := meet(t, ns)
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders")
	dies, lives := memberProcess(t, ns, "dies", penstock.AtMostOnce, l), memberProcess(t, ns, "lives", penstock.AtMostOnce, l)
	dies.awaitReady(t)
	lives.awaitReady(t)

	load := startLoad(t, orders)
	l.await(t, "both at work", func(now tally) bool { return now.by["dies"] > 500 && now.by["lives"] > 500 })
	dies.kill(t)
	penstocktest.WaitEvent(t, events, patience, func(e messages.MemberUnlinked) bool { return e.Member == "dies" })
	after := l.tally().by["lives"]
	l.await(t, "the other goes on", func(now tally) bool { return now.by["lives"] > after+500 })
	n := load.stop(t)
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	// Flushed means written; what was written to the living arrives.
	now := l.await(t, "all but a window", func(now tally) bool { return now.distinct >= n-window })
	if now.total != now.distinct {
		t.Errorf("%d messages were handled twice", now.total-now.distinct)
	}
}

// Promise: liveness is judged by the link, not by the lease. A member frozen
// past the beat loses its link and its window goes to another; when it wakes,
// its late acks settle nothing, what it had not begun is thrown away, and it
// works again. At most one window is handled twice.
func TestFaultMemberFrozenAndResumed(t *testing.T) {
	ns, l := space(t), newLedger()
	rt := meet(t, ns)
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders")
	freezes, lives := memberProcess(t, ns, "freezes", penstock.AtLeastOnce, l), memberProcess(t, ns, "lives", penstock.AtLeastOnce, l)
	freezes.awaitReady(t)
	lives.awaitReady(t)

	load := startLoad(t, orders)
	l.await(t, "both at work", func(now tally) bool { return now.by["freezes"] > 500 && now.by["lives"] > 500 })
	resume := penstocktest.Freeze(t, freezes.cmd.Process)
	frozen := time.Now()
	penstocktest.WaitEvent(t, events, patience, func(e messages.MemberUnlinked) bool { return e.Member == "freezes" && e.Cause != nil })
	if took := time.Since(frozen); took < time.Second { // the last beat may have been heard a while before
		t.Errorf("given up after %s: three beats are three seconds", took)
	}
	again := penstocktest.Record(t, rt)
	resume()
	penstocktest.WaitEvent(t, again, patience, func(e messages.MemberLinked) bool { return e.Member == "freezes" })
	awake := l.tally().by["freezes"]
	l.await(t, "it works again", func(now tally) bool { return now.by["freezes"] > awake+500 })
	n := settle(t, load, orders, l)
	l.complete(t, n, window)
}

// Promise: members follow their senders. A sender that drains delivers all it
// accepted; its successor, under the same id and on another port, is found.
func TestFaultSenderRestartedOnAnotherPort(t *testing.T) {
	ns, l := space(t), newLedger()
	rt := meet(t, ns)
	m := joinGroup(t, rt, "orders", "billing", penstock.Window(window))
	l.handle(t, "member", m)
	sender := func() *child {
		return spawn(t, childSpec{
			Role: roleSender, Endpoint: etcd.Endpoint(), Space: ns, Destination: "orders",
			Listen: fmt.Sprintf("tcp://127.0.0.1:%d", penstocktest.FreePort(t)),
		}, l)
	}
	first := sender()
	first.awaitReady(t)
	first.tell(t, "send 0 2000")
	first.tell(t, "stop")
	await(t, "the drain", closing(first.left))
	if now := l.tally(); now.distinct != 2000 {
		t.Fatalf("the sender said it drained, and %d of 2000 were handled", now.distinct)
	}
	second := sender()
	second.awaitReady(t)
	second.tell(t, "send 2000 4000")
	l.await(t, "the messages of the second", func(now tally) bool { return now.distinct == 4000 })
	l.complete(t, 4000, 0)
}

// Promise: the same after a crash, as soon as the dead one's lease is over.
// What it had accepted and not sent is lost; what its successor accepts is not.
func TestFaultSenderKilledAndReplaced(t *testing.T) {
	t.Parallel()
	ns, l := space(t), newLedger()
	rt := meet(t, ns)
	m := joinGroup(t, rt, "orders", "billing", penstock.Window(window))
	l.handle(t, "member", m)
	events := penstocktest.Record(t, rt)
	sender := func() *child {
		return spawn(t, childSpec{
			Role: roleSender, Endpoint: etcd.Endpoint(), Space: ns, Destination: "orders", LeaseTTL: 2 * time.Second,
			Listen: fmt.Sprintf("tcp://127.0.0.1:%d", penstocktest.FreePort(t)),
		}, l)
	}
	first := sender()
	first.awaitReady(t)
	first.tell(t, "send 0 1000")
	l.await(t, "the first messages", func(now tally) bool { return now.distinct >= 500 })
	first.kill(t)
	penstocktest.WaitEvent(t, events, patience, func(e messages.SenderUnlinked) bool { return e.Cause != nil })
	// The id is the dead one's until etcd gives its lease up.
	watch := watchGone(t, ns+"/dest/orders/senders/the-sender")
	await(t, "the end of the dead sender's lease", watch)
	second := sender()
	second.awaitReady(t)
	second.tell(t, "send 1000 2000")
	l.await(t, "the messages of the second", func(tally) bool { return l.has(1000, 2000) })
}
