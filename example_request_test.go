package penstock_test

// Examples of requests and typed payloads.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
)

// One member of a group replies to a request; one that rejects it is a RemoteError.
func ExampleDestination_Request() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-request")

	prices, err := rt.Register(ctx, "prices")
	check(err)
	catalog, err := rt.Join(ctx, "prices", "catalog")
	check(err)
	go catalog.Consume(ctx, penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
		if string(d.Value) != "tea" {
			return penstock.Message{}, fmt.Errorf("no price of %s: %w", d.Value, penstock.ErrReject)
		}
		return penstock.Message{Value: []byte("4.20")}, nil
	}))

	for _, item := range []string{"tea", "gold"} {
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		reply, err := prices.Request(soon, penstock.Message{Value: []byte(item)})
		cancel()
		var refused *penstock.RemoteError
		switch {
		case errors.As(err, &refused):
			fmt.Println(refused.Group, "refuses:", refused.Text)
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Printf("%s costs %s, says %s\n", item, reply.Value, reply.Group)
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// tea costs 4.20, says catalog
	// catalog refuses: no price of gold: rejected
}

// Values are encoded and decoded on the way. What does not decode is a dead letter.
func ExampleTyped() {
	type order struct {
		Item  string
		Count int
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-typed")

	dead := make(chan penstock.DeadLetter, 1)
	raw, err := rt.Register(ctx, "orders", penstock.DeadLetters(func(_ context.Context, d penstock.DeadLetter) error {
		dead <- d
		return nil
	}))
	check(err)
	member, err := rt.Join(ctx, "orders", "billing")
	check(err)

	typed := penstock.Typed[order]{Codec: penstock.JSON[order](), Key: func(o order) []byte { return []byte(o.Item) }}
	orders, billing := typed.Destination(raw), typed.Member(member)

	check(raw.Send(ctx, penstock.Message{Value: []byte("no JSON")}))
	check(orders.Send(ctx, order{"tea", 2}))
	for o, err := range billing.Messages(ctx) {
		check(err)
		fmt.Printf("%s: %d\n", o.Key, o.Body.Count)
		o.Ack()
		break
	}
	fmt.Printf("dead letter: %s\n", (<-dead).Message.Value)
	check(rt.Stop(ctx))
	// Output:
	// tea: 2
	// dead letter: no JSON
}
