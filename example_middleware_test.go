package penstock_test

// Examples of middleware for the documentation. Their etcd is the one of TestMain.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock"
)

// Middleware around a handler. The first given is the outermost.
func ExampleUse() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-use")

	logged := func(next penstock.Handler) penstock.Handler {
		return func(ctx context.Context, d penstock.Delivery) error {
			err := next(ctx, d)
			fmt.Printf("%s, attempt %d: %v\n", d.Value, d.Attempt, err)
			return err
		}
	}
	orders, err := rt.Register(ctx, "orders", penstock.RetryDelay(time.Millisecond, time.Second))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing",
		penstock.Use(logged), penstock.Recover(), penstock.Timeout(10*time.Second))
	check(err)
	go func() {
		_ = billing.Consume(ctx, func(_ context.Context, d penstock.Delivery) error {
			if d.Attempt == 1 {
				panic("no change")
			}
			return nil
		})
	}()
	check(orders.Send(ctx, penstock.Message{Value: []byte("tea")}))
	check(orders.Flush(ctx))
	check(rt.Stop(ctx))
	// Output:
	// tea, attempt 1: panic: no change
	// tea, attempt 2: <nil>
}

// Middleware around every way to put into a topic. What it refuses is not put.
func ExampleUseSend() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-use-send")

	checked := func(next penstock.Send) penstock.Send {
		return func(ctx context.Context, m penstock.Message) error {
			if len(m.Key) == 0 {
				return errors.New("a record of audit has a key")
			}
			m.Headers = append(slices.Clip(m.Headers), penstock.Header{Name: "schema", Value: []byte("2")})
			return next(ctx, m)
		}
	}
	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{}, penstock.UseSend(checked))
	check(err)
	_, _, err = audit.Put(ctx, penstock.Message{Value: []byte("logged in")})
	fmt.Println(err)
	_, _, err = audit.Put(ctx, penstock.Message{Key: []byte("alice"), Value: []byte("logged in")})
	check(err)
	for r, err := range audit.Read(ctx, 0, penstock.FromEarliest()) {
		check(err)
		schema, _ := r.Header("schema")
		fmt.Printf("%s %s, schema %s\n", r.Key, r.Value, schema)
		break
	}
	check(rt.Stop(ctx))
	// Output:
	// a record of audit has a key
	// alice logged in, schema 2
}
