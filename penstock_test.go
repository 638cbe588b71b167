package penstock_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

var etcd *embedded.Server

func TestMain(m *testing.M) {
	var err error
	if etcd, err = embedded.Start(context.Background(), "", embedded.UnsafeNoFsync()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	etcd.Close()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// start begins a runtime in a namespace of the test's own.
func start(t *testing.T, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opts = append([]penstock.StartOption{
		penstock.EtcdConfig(etcd.Config()), penstock.Prefix("/" + t.Name()), penstock.Listen("tcp://127.0.0.1:0"),
	}, opts...)
	rt, err := penstock.Start(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := rt.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return rt
}

func TestMessagesFlow(t *testing.T) {
	rt := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	orders, err := rt.Register(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	billing, err := rt.Join(ctx, "orders", "billing")
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := orders.Send(ctx, penstock.Message{Value: fmt.Appendf(nil, "%d", i)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- orders.Flush(ctx)
	}()
	got := 0
	for msg, err := range billing.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(got); string(msg.Value) != want {
			t.Fatalf("got %q, want %q", msg.Value, want)
		}
		if got++; got == n {
			msg.Ack()
			break
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
