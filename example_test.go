package penstock_test

// Examples for the documentation. Their etcd is the one of TestMain.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}

// exampleRuntime begins a runtime in a namespace of the example's own.
func exampleRuntime(ctx context.Context, prefix string) *penstock.Runtime {
	rt, err := penstock.Start(ctx,
		penstock.EtcdConfig(etcd()),
		penstock.Prefix(prefix),
		penstock.Listen("tcp://127.0.0.1:0"))
	check(err)
	return rt
}

// A sender and a group of one member, in one process for once.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt, err := penstock.Start(ctx,
		penstock.EtcdConfig(etcd()), // or penstock.Etcd("127.0.0.1:2379")
		penstock.Prefix("/example"),
		penstock.Listen("tcp://127.0.0.1:0"))
	check(err)

	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)

	for _, item := range []string{"tea", "milk", "sugar"} {
		check(orders.Send(ctx, penstock.Message{Value: []byte(item)}))
	}
	for msg, err := range billing.Messages(ctx) {
		check(err)
		fmt.Printf("billed %s\n", msg.Value)
		if string(msg.Value) == "sugar" {
			msg.Ack() // taking the next message would have
			break
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// billed tea
	// billed milk
	// billed sugar
}

// A handler runs until the member leaves; its errors are tried again.
func ExampleMember_Consume() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-consume")

	orders, err := rt.Register(ctx, "orders", penstock.RetryDelay(time.Millisecond, time.Second))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing", penstock.AckWait(10*time.Second))
	check(err)

	consumed := make(chan error)
	go func() {
		consumed <- billing.Consume(ctx, func(_ context.Context, msg penstock.Delivery) error {
			fmt.Printf("attempt %d of %s\n", msg.Attempt, msg.Value)
			if msg.Attempt < 3 {
				return errors.New("the bank is closed")
			}
			return nil
		})
	}()
	check(orders.Send(ctx, penstock.Message{Value: []byte("tea")}))
	check(orders.Flush(ctx)) // everything is acked

	check(billing.Leave(ctx))
	fmt.Println("consumed:", <-consumed)
	check(rt.Stop(ctx))
	// Output:
	// attempt 1 of tea
	// attempt 2 of tea
	// attempt 3 of tea
	// consumed: <nil>
}

// Several messages at a time: the next Poll acks those of the one before.
func ExampleMember_Poll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-poll")

	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	for _, item := range []string{"tea", "milk", "sugar"} {
		check(orders.Send(ctx, penstock.Message{Value: []byte(item)}))
	}
	for billed := 0; billed < 3; {
		msgs, err := billing.Poll(ctx, 2)
		check(err)
		for _, msg := range msgs {
			fmt.Printf("billed %s\n", msg.Value)
			msg.Ack() // or by the next Poll
		}
		billed += len(msgs)
	}
	check(rt.Stop(ctx))
	// Output:
	// billed tea
	// billed milk
	// billed sugar
}

// A whole group stands still until it is resumed, or etcd ends the pause.
func ExampleRuntime_PauseGroup() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-pause")

	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	check(rt.PauseGroup(ctx, "orders", "billing", time.Now().Add(10*time.Minute)))
	check(orders.Send(ctx, penstock.Message{Value: []byte("tea")})) // it waits
	dest, err := rt.DescribeDestination(ctx, "orders")
	check(err)
	fmt.Println("paused:", !dest.Groups[0].PausedUntil.IsZero())

	check(rt.ResumeGroup(ctx, "orders", "billing"))
	msgs, err := billing.Poll(ctx, 1)
	check(err)
	fmt.Printf("billed %s\n", msgs[0].Value)
	msgs[0].Ack()
	check(rt.Stop(ctx))
	// Output:
	// paused: true
	// billed tea
}

// What fails too often goes to a handler of the sender's.
func ExampleDeadLetters() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-dead")

	orders, err := rt.Register(ctx, "orders",
		penstock.MaxAttempts(2),
		penstock.RetryDelay(time.Millisecond, time.Second),
		penstock.DeadLetters(func(_ context.Context, d penstock.DeadLetter) error {
			fmt.Printf("%s after %d attempts by %s: %s\n", d.Message.Value, d.Attempts, d.Group, d.Cause)
			return nil
		}))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)

	check(orders.Send(ctx, penstock.Message{Value: []byte("gold")}))
	go func() {
		for msg, err := range billing.Messages(ctx) {
			if err != nil {
				return
			}
			msg.Nack(errors.New("no credit"))
		}
	}()
	check(orders.Flush(ctx)) // a dead letter that was taken is settled
	check(rt.Stop(ctx))
	// Output:
	// gold after 2 attempts by billing: no credit
}

// A sender that requires groups may start before them, and no message is missed.
func ExampleRequireGroups() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-require")

	orders, err := rt.Register(ctx, "orders", penstock.RequireGroups("billing", "audit"))
	check(err)
	sent := make(chan error)
	go func() { sent <- orders.Send(ctx, penstock.Message{Value: []byte("tea")}) }() // it waits

	_, err = rt.Join(ctx, "orders", "billing")
	check(err)
	check(rt.DeclareGroup(ctx, "orders", "audit", penstock.KeepFor(penstock.Forever))) // nobody is in yet
	check(<-sent)

	audit, err := rt.Join(ctx, "orders", "audit")
	check(err)
	for msg, err := range audit.Messages(ctx) {
		check(err)
		fmt.Printf("audit: %s\n", msg.Value)
		break
	}
	stopping, end := context.WithTimeout(ctx, 0) // billing has not handled it
	defer end()
	fmt.Println(rt.Stop(stopping) != nil)
	// Output:
	// audit: tea
	// true
}

// A group may rather refuse messages than make its senders wait.
func ExampleOnFull() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-full")

	orders, err := rt.Register(ctx, "orders", penstock.MaxMessageSize(1<<10), penstock.MaxQueue(2, 64<<10))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing", penstock.OnFull(penstock.QueueError))
	check(err)

	for _, item := range []string{"tea", "milk", "sugar"} {
		err := orders.Send(ctx, penstock.Message{Value: []byte(item)})
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
	// tea refused: false
	// milk refused: false
	// sugar refused: true
}

// Events tell what happens in the runtime, as values to switch on.
func ExampleRuntime_Events() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-events")

	events := rt.Events(ctx) // from now on
	_, err := rt.Register(ctx, "orders")
	check(err)
	_, err = rt.Join(ctx, "orders", "billing")
	check(err)

	for e := range events {
		switch e := e.(type) {
		case messages.DestinationRegistered:
			fmt.Println("registered", e.Destination)
		case messages.GroupFound:
			fmt.Println("found", e.Group)
		}
		if _, ok := e.(messages.MemberLinked); ok {
			fmt.Println("linked")
			break
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// registered orders
	// found billing
	// linked
}

// What a runtime says to a probe, and to its own code.
func ExampleRuntime_Health() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example/health")
	probes := httptest.NewServer(rt.HealthHandler()) // in a service: http.ListenAndServe(":8080", rt.HealthHandler())
	defer probes.Close()
	_, err := rt.Join(ctx, "orders", "billing")
	check(err)

	resp, err := http.Get(probes.URL + "/readyz")
	check(err)
	body, err := io.ReadAll(resp.Body)
	check(errors.Join(err, resp.Body.Close()))
	fmt.Printf("%d\n%s", resp.StatusCode, body)

	check(rt.Stop(ctx))
	h := rt.Health(ctx)
	fmt.Println(h.Live, h.Ready, h.Reasons[0])
	// Output:
	// 200
	// [+]actors ok
	// [+]stop ok
	// [+]session ok
	// [+]member/orders/billing ok
	// readyz check passed
	// false false actors: the runtime was stopped
}
