package penstock_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func TestMessagesFlow(t *testing.T) {
	rt := harness.OrderlyRuntime(t)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
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
