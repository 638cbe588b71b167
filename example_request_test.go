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
