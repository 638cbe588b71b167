//go:build unix

package pipes_test

// Links over unix sockets between processes that die.

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a sender that dies with SIGKILL leaves its socket, and the next one takes its
// place over it; the members find it there.
func TestIPCSenderKilledAndReplaced(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := dir + "/orders"
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	m := harness.Join(t, rt, "orders", "billing", penstock.Window(window))
	l.Handle(t, "member", m)
	events := penstocktest.Record(t, rt)
	for i, ends := range []string{"killed", "stopped"} {
		sender := spawn(t, childSpec{
			Role: roleSender, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", LeaseTTL: 2 * time.Second, Listen: "ipc://" + file,
		}, l)
		sender.awaitReady(t)
		from := i * 1000
		sender.tell(t, "send %d %d", from, from+1000)
		l.Await(t, "its messages", func(harness.Tally) bool { return l.Has(from, from+1000) })
		linked := penstocktest.WaitEvent(t, events, harness.Patience, func(messages.SenderLinked) bool { return true })
		if linked.Addr != file {
			t.Errorf("linked at %s", linked.Addr)
		}
		if ends == "stopped" {
			sender.tell(t, "stop")
			harness.Await(t, "its end", harness.Closing(sender.left))
			continue
		}
		sender.kill(t)
		penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.SenderUnlinked) bool { return e.Cause != nil })
		if info, err := os.Lstat(file); err != nil || info.Mode().Type() != os.ModeSocket {
			t.Errorf("it left %v, %v", info, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("the second one left %v", left)
	}
}

// Promise: a member over a unix socket that dies with SIGKILL has its window delivered to
// another, and the sender knows by the socket which process it was.
func TestIPCMemberKilledUnderLoad(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.ListenOn("ipc://"+dir+"/orders?mode=0600"))
	dies, lives := memberProcess(t, ns, "dies", penstock.AtLeastOnce, l), memberProcess(t, ns, "lives", penstock.AtLeastOnce, l)
	dies.awaitReady(t)
	lives.awaitReady(t)
	load := harness.StartLoad(t, orders)
	l.Await(t, "both at work", func(now harness.Tally) bool { return now.By["dies"] > 500 && now.By["lives"] > 500 })
	dies.kill(t)
	gone := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "dies" })
	if gone.Cause == nil || !strings.Contains(gone.Addr, "process") {
		t.Errorf("the end of the link: %+v", gone)
	}
	n := harness.Settle(t, load, orders, l)
	l.Complete(t, n, window)
}
