package penstock_test

// Examples of middleware for the documentation. Their etcd is the one of TestMain.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

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

// A trace of OpenTelemetry goes along with a message, from the request that sends it to
// the handler. The provider is a service's own, with its exporter.
func ExampleTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	spans := tracetest.NewSpanRecorder() // in place of an exporter
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	rt, err := penstock.Start(ctx,
		penstock.EtcdConfig(etcd()),
		penstock.Prefix("/example-tracing"),
		penstock.Listen("tcp://127.0.0.1:0"),
		penstock.Tracing(provider))
	check(err)

	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	go func() {
		_ = billing.Consume(ctx, func(ctx context.Context, d penstock.Delivery) error {
			_, span := provider.Tracer("billing").Start(ctx, "bill")
			defer span.End()
			return nil
		})
	}()
	request, span := provider.Tracer("api").Start(ctx, "POST /orders")
	check(orders.Send(request, penstock.Message{Value: []byte("tea")}))
	span.End()
	check(orders.Flush(ctx))
	check(rt.Stop(ctx))

	names := map[trace.SpanID]string{}
	for _, s := range spans.Ended() {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	for _, s := range spans.Ended() {
		if parent, ok := names[s.Parent().SpanID()]; ok {
			fmt.Printf("%s: %s\n", parent, s.Name())
		}
	}
	// Unordered output:
	// POST /orders: send orders
	// send orders: process orders
	// process orders: bill
}
