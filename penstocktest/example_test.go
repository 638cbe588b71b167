package penstocktest_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
)

// t stands for the argument of a test.
var t *testing.T

// A service's test: an etcd, a runtime, a message.
func Example() {
	ctx := t.Context()
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	orders, err := rt.Register(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	billing, err := rt.Join(ctx, "orders", "billing")
	if err != nil {
		t.Fatal(err)
	}
	if err := orders.Send(ctx, penstock.Message{Value: []byte("one")}); err != nil {
		t.Fatal(err)
	}
	for msg, err := range billing.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(msg.Value))
		msg.Ack()
		break
	}
}

// Traffic continues while etcd is away.
func ExampleServer_Stop() {
	etcd := penstocktest.Etcd(t)
	rt := penstocktest.Runtime(t, etcd, penstock.LeaseTTL(2*time.Second))
	events := penstocktest.Record(t, rt)
	etcd.Stop()
	penstocktest.WaitEvent[messages.SessionSuspended](t, events, time.Minute, nil)
	// Send and receive here.
	etcd.Restart()
	penstocktest.WaitEvent[messages.SessionRenewed](t, events, time.Minute, nil)
}

// Two runtimes that see one another share a namespace.
func ExampleSpace() {
	etcd, space := penstocktest.Etcd(t), penstock.Prefix(penstocktest.Space(t))
	sender := penstocktest.Runtime(t, etcd, space)
	member := penstocktest.Runtime(t, etcd, space)
	_, _ = sender, member
}

// An append whose answer was lost is looked up, not repeated: the topic has each
// record once.
func ExampleDropReplies() {
	ctx, etcd := t.Context(), penstocktest.Etcd(t)
	cfg := etcd.Config()
	cfg.DialOptions = append(cfg.DialOptions, penstocktest.DropReplies(3).Option())
	rt := penstocktest.Runtime(t, etcd, penstock.EtcdConfig(cfg))
	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		_, offset, err := audit.Put(ctx, penstock.Message{Value: []byte("one")})
		if err != nil || offset != int64(i) {
			t.Error(offset, err)
		}
	}
}

// The keys of a runtime vanish, and come back.
func ExampleExpireLease() {
	etcd := penstocktest.Etcd(t)
	rt := penstocktest.Runtime(t, etcd)
	if _, err := rt.Register(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	events := penstocktest.Record(t, rt)
	penstocktest.ExpireLease(t, etcd, rt)
	back := penstocktest.WaitEvent[messages.RegistrationRestored](t, events, time.Minute, nil)
	fmt.Println(back.Key, back.Why)
}

// A member process that stands still loses its link, and its messages go to
// another member.
func ExampleFreeze() {
	var member *os.Process // started by the test
	var sender *penstock.Runtime
	events := penstocktest.Record(t, sender)
	resume := penstocktest.Freeze(t, member)
	gone := penstocktest.WaitEvent(t, events, time.Minute, func(e messages.MemberUnlinked) bool { return e.Cause != nil })
	fmt.Println(gone.Requeued)
	resume()
}

// The link between a sender and its members is cut and mended.
func ExampleNewProxy() {
	etcd := penstocktest.Etcd(t)
	port := penstocktest.FreePort(t)
	proxy := penstocktest.NewProxy(t, fmt.Sprintf("127.0.0.1:%d", port))
	sender := penstocktest.Runtime(t, etcd,
		penstock.Listen(fmt.Sprintf("tcp://127.0.0.1:%d?advertise=%s", port, proxy.Addr())))
	events := penstocktest.Record(t, sender)
	proxy.Cut()
	penstocktest.WaitEvent[messages.MemberUnlinked](t, events, time.Minute, nil)
	proxy.Resume()
}

// A commit that was given up comes to etcd after a newer one, and changes nothing.
func ExampleNewLateProxy() {
	ctx, etcd := t.Context(), penstocktest.Etcd(t)
	proxy := penstocktest.NewLateProxy(t, etcd.Endpoint())
	rt := penstocktest.Runtime(t, etcd, penstock.Etcd(proxy.Addr()), penstock.LeaseTTL(2*time.Minute))
	audit, err := rt.Topic(ctx, "audit")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := audit.Subscribe(ctx, "billing", penstock.ManualCommit())
	if err != nil {
		t.Fatal(err)
	}
	recs, err := sub.Poll(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Hold() // what is sent from now on is late
	for _, rec := range recs {
		if err := sub.Commit(ctx, rec); err != nil { // by another connection
			t.Error(err)
		}
	}
	proxy.Release(ctx, 100*time.Millisecond)
}

// A signal in place of a sleep: the group is known to the sender.
func ExampleWaitEvent() {
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	events := penstocktest.Record(t, rt)
	if _, err := rt.Register(context.Background(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := rt.Join(context.Background(), "orders", "billing"); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, events, time.Minute, func(e messages.GroupFound) bool { return e.Group == "billing" })
}
