package penstock_test

// Examples of what a message that was not handled leads to.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
)

// What will never be handled is a dead letter at once.
func ExampleDelivery_Reject() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-reject")

	orders, err := rt.Register(ctx, "orders", penstock.DeadLetters(func(_ context.Context, d penstock.DeadLetter) error {
		fmt.Printf("dead letter %q: rejected %t, %s\n", d.Message.Value, d.Rejected, d.Cause)
		return nil // it is settled
	}))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	for _, item := range []string{"tea", "", "milk"} {
		check(orders.Send(ctx, penstock.Message{Value: []byte(item)}))
	}
	for msg, err := range billing.Messages(ctx) {
		check(err)
		if len(msg.Value) == 0 {
			msg.Reject(errors.New("the order is empty"))
			continue
		}
		fmt.Printf("%s\n", msg.Value)
		if string(msg.Value) == "milk" {
			msg.Ack()
			break
		}
	}
	check(orders.Flush(ctx))
	check(rt.Stop(ctx))
	// Unordered output:
	// tea
	// milk
	// dead letter "": rejected true, the order is empty
}

// A message can be put off; that counts as an attempt.
func ExampleDelivery_NackAfter() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-nack-after")

	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	began := time.Now()
	check(orders.Send(ctx, penstock.Message{Value: []byte("tea")}))
	for msg, err := range billing.Messages(ctx) {
		check(err)
		if msg.Attempt == 1 {
			msg.NackAfter(500*time.Millisecond, errors.New("the bank is closed"))
			continue
		}
		fmt.Printf("attempt %d of %s, later: %t\n", msg.Attempt, msg.Value, time.Since(began) >= 500*time.Millisecond)
		msg.Ack()
		break
	}
	check(orders.Flush(ctx))
	check(rt.Stop(ctx))
	// Output:
	// attempt 2 of tea, later: true
}

// A handler says by its error what becomes of the message.
func ExampleRetryAfter() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-retry-after")

	orders, err := rt.Register(ctx, "orders", penstock.DeadLetters(func(_ context.Context, d penstock.DeadLetter) error {
		fmt.Printf("dead letter %q: %s\n", d.Message.Value, d.Cause)
		return nil
	}))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	consumed := make(chan error)
	go func() {
		consumed <- billing.Consume(ctx, func(_ context.Context, msg penstock.Delivery) error {
			switch {
			case len(msg.Value) == 0:
				return fmt.Errorf("the order is empty: %w", penstock.ErrReject)
			case msg.Attempt == 1:
				return penstock.RetryAfter(100*time.Millisecond, errors.New("the bank is closed"))
			}
			fmt.Printf("attempt %d of %s\n", msg.Attempt, msg.Value)
			return nil
		})
	}()
	for _, item := range []string{"", "tea"} {
		check(orders.Send(ctx, penstock.Message{Value: []byte(item)}))
	}
	check(orders.Flush(ctx))
	check(billing.Leave(ctx))
	check(<-consumed)
	check(rt.Stop(ctx))
	// Unordered output:
	// attempt 2 of tea
	// dead letter "": the order is empty: rejected
}
