//go:build unix

package pipes_test

// Links over unix sockets between processes that die.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func init() { transports = append(transports, transport{"ipc", "", false, "unix", freeFile}) }

// Promise: a sender that dies with SIGKILL leaves its socket, and the next one takes its
// place over it; the members find it there.
func TestIPCSenderKilledAndReplaced(t *testing.T) {
	t.Parallel()
	file := freeFile(t)
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
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) > 0 {
		t.Errorf("the second one left %v", left)
	}
}

// Promise: a member over a unix socket that dies with SIGKILL has its window delivered to
// another, and the sender knows by the socket which process it was.
func TestIPCMemberKilledUnderLoad(t *testing.T) {
	t.Parallel()
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.ListenOn("ipc://"+freeFile(t)+"?mode=0600"))
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

// Promise: over links within the process nothing is lost while the runtimes of members stop
// and start under load, and the sender's runtime is replaced by one of the same name.
func TestInProcRuntimesStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	ns, l := penstocktest.Space(t), harness.NewLedger()
	name := "inproc://" + strings.ReplaceAll(ns, "/", "-")
	stop := func(rt *penstock.Runtime) {
		t.Helper()
		if err := rt.Stop(harness.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	member := func(name string) *penstock.Runtime {
		t.Helper()
		rt := harness.Runtime(t, ns)
		l.Handle(t, name, harness.Join(t, rt, "orders", "billing", penstock.MemberID(name), penstock.Window(window)))
		return rt
	}
	works := func(name string) {
		t.Helper()
		before := l.Tally().By[name]
		l.Await(t, name+" at work", func(now harness.Tally) bool { return now.By[name] > before+200 })
	}
	stays := member("stays")
	from := 0
	for _, goes := range []string{"first", "second"} {
		rt := harness.Runtime(t, ns, penstock.Listen(name))
		orders := harness.Register(t, rt, "orders", penstock.SenderID("the-sender"))
		leaves := member(goes)
		load := harness.StartLoadOf(t, orders, func(id int) penstock.Message { return harness.Numbered(from + id) })
		works("stays")
		works(goes)
		stop(leaves)
		leaves = member(goes + "-again")
		works(goes + "-again")
		n := load.Stop(t)
		if err := orders.Flush(harness.Context(t)); err != nil {
			t.Fatal(err)
		}
		stop(rt)
		stop(leaves)
		from += n
	}
	stop(stays)
	l.Complete(t, from, 2*window)
}
