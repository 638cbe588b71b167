package penstock_test

// Examples of the ways to send.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
)

// A sender that may not wait sheds load, whatever the members of a group chose.
func ExampleDestination_TrySend() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-try")

	orders, err := rt.Register(ctx, "orders", penstock.MaxMessageSize(1<<10), penstock.MaxQueue(2, 64<<10))
	check(err)
	fmt.Println("without a group:", errors.Is(orders.TrySend(ctx, penstock.Message{}), penstock.ErrNoGroup))
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)

	for _, item := range []string{"tea", "milk", "sugar"} {
		err := orders.TrySend(ctx, penstock.Message{Value: []byte(item)})
		fmt.Println(item, "refused:", errors.Is(err, penstock.ErrGroupFull))
	}
	for msg, err := range billing.Messages(ctx) {
		check(err)
		if msg.Ack(); string(msg.Value) == "milk" {
			break
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// without a group: true
	// tea refused: false
	// milk refused: false
	// sugar refused: true
}

// SendBatch accepts in order, up to the first message that is refused.
func ExampleDestination_SendBatch() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-batch")

	orders, err := rt.Register(ctx, "orders", penstock.MaxMessageSize(10))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)

	accepted, err := orders.SendBatch(ctx, []penstock.Message{
		{Value: []byte("tea")}, {Value: []byte("milk")}, {Value: []byte("a whole sack of sugar")}, {Value: []byte("salt")},
	})
	fmt.Println(accepted, "accepted, too large:", errors.Is(err, penstock.ErrTooLarge))
	for msg, err := range billing.Messages(ctx) {
		check(err)
		fmt.Printf("billed %s\n", msg.Value)
		if msg.Ack(); string(msg.Value) == "milk" {
			break
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// 2 accepted, too large: true
	// billed tea
	// billed milk
}

// SendAsync reports when every group has acked a message, or why one never will.
func ExampleDestination_SendAsync() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-async")

	orders, err := rt.Register(ctx, "orders", penstock.MaxAttempts(1), penstock.DeadLetters(
		func(context.Context, penstock.DeadLetter) error { return nil }))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)

	for _, item := range []string{"tea", "gunpowder"} {
		check(orders.SendAsync(ctx, penstock.Message{Value: []byte(item)}, func(err error) {
			fmt.Println(item, "handled:", err == nil, "dead letter:", errors.Is(err, penstock.ErrDeadLettered))
		}))
	}
	for msg, err := range billing.Messages(ctx) {
		check(err)
		if string(msg.Value) == "gunpowder" {
			msg.Nack(errors.New("not for sale"))
			break
		}
		msg.Ack()
	}
	check(orders.Flush(ctx)) // waits for the functions, too
	check(rt.Stop(ctx))
	// Unordered output:
	// tea handled: true dead letter: false
	// gunpowder handled: false dead letter: true
}

// A price that nobody took in time is not handed out, and OnExpired gets it.
func ExampleOnExpired() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-expired")

	late := make(chan string, 1)
	prices, err := rt.Register(ctx, "prices", penstock.OnExpired(func(_ context.Context, m penstock.ExpiredMessage) {
		late <- fmt.Sprintf("%s came too late for %s", m.Message.Value, m.Group)
	}))
	check(err)
	check(rt.DeclareGroup(ctx, "prices", "trading"))

	check(prices.Send(ctx, penstock.Message{Value: []byte("tea at 5"), ExpiresAt: time.Now()}))
	check(prices.Send(ctx, penstock.Message{Value: []byte("tea at 6")}))
	fmt.Println(<-late) // no member is there
	trading, err := rt.Join(ctx, "prices", "trading")
	check(err)
	for msg, err := range trading.Messages(ctx) {
		check(err)
		fmt.Printf("%s\n", msg.Value)
		msg.Ack()
		break
	}
	check(rt.Stop(ctx))
	// Output:
	// tea at 5 came too late for trading
	// tea at 6
}
