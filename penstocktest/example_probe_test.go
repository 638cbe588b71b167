package penstocktest_test

// Examples of probes and outcomes. Each runs in a test of its own, as inTest has it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

// A service that sends is tested with a probe in place of the service that receives.
func ExampleJoinProbe() {
	inTest(func(t testing.TB) {
		rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
		orders, err := rt.Register(t.Context(), "orders", penstock.RetryDelay(time.Millisecond, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		billing := penstocktest.JoinProbe(t, rt, "orders", "billing").MustSettle()

		for _, item := range []string{"tea", "milk"} { // by the service under test
			if err := orders.Send(t.Context(), penstock.Message{Value: []byte(item)}); err != nil {
				t.Fatal(err)
			}
		}

		got := billing.ExpectValues("tea", "milk")
		got[0].Ack()
		got[1].Nack(errors.New("the bank is closed"))
		again := billing.Next()
		fmt.Printf("attempt %d of %s\n", again.Attempt, again.Value)
		billing.Ack() // all that is in hand
		billing.ExpectNone(10 * time.Millisecond)
	})
	// Output: attempt 2 of milk
}

// What comes is acked, and looked for among the rest.
func ExampleProbe_Fish() {
	inTest(func(t testing.TB) {
		rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
		orders, err := rt.Register(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		billing := penstocktest.JoinProbe(t, rt, "orders", "billing").AutoAck()
		for i := range 10 {
			if err := orders.Send(t.Context(), penstock.Message{Value: fmt.Append(nil, "order ", i)}); err != nil {
				t.Fatal(err)
			}
		}
		d := billing.Fish(func(d penstock.Delivery) bool { return string(d.Value) == "order 7" })
		fmt.Printf("%s\n", d.Value)
	})
	// Output: order 7
}

// The records of a topic come one by one.
func ExampleSubscribeProbe() {
	inTest(func(t testing.TB) {
		rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
		audit, err := rt.EnsureTopic(t.Context(), "audit", penstock.TopicConfig{})
		if err != nil {
			t.Fatal(err)
		}
		for _, login := range []string{"alice", "bob"} { // by the service under test
			if _, _, err := audit.Put(t.Context(), penstock.Message{Value: []byte(login)}); err != nil {
				t.Fatal(err)
			}
		}
		export := penstocktest.SubscribeProbe(t, rt, "audit", "export")
		export.ExpectValues("alice")
		export.Ack()
		bob := export.Next()
		fmt.Printf("%s at offset %d\n", bob.Value, bob.Offset)
		bob.Ack()
	})
	// Output: bob at offset 1
}

// Among actors a probe is the receiver of a member.
func ExampleProbeActor() {
	inTest(func(t testing.TB) {
		system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.NewTextHandler(io.Discard, nil))
		}), actor.WithDeadLetterThrottleInterval(time.Millisecond))
		t.Cleanup(system.Shutdown)
		rt := penstocktest.Runtime(t, penstocktest.Etcd(t), penstock.ActorSystem(system))
		orders, err := rt.Register(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		billing := penstocktest.ProbeActor(t, system)
		system.Root.Spawn(penstock.MemberProps(rt, "orders", "billing", penstock.Receiver{To: billing.PID()}))

		if err := orders.Send(t.Context(), penstock.Message{Value: []byte("tea")}); err != nil {
			t.Fatal(err)
		}
		d := billing.Next()
		fmt.Printf("%s from %s\n", d.Value, d.Destination)
		d.Ack()
	})
	// Output: tea from orders
}

// A service that receives is tested by what it does with messages.
func ExampleWatch() {
	inTest(func(t testing.TB) {
		rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
		orders, err := rt.Register(t.Context(), "orders", penstock.RetryDelay(time.Millisecond, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		out := penstocktest.Watch(t, orders)

		errBank := errors.New("the bank is closed")
		billing, err := rt.Join(t.Context(), "orders", "billing", out.Handler()) // the service under test
		if err != nil {
			t.Fatal(err)
		}
		consumed := make(chan error, 1)
		go func() {
			consumed <- billing.Consume(t.Context(), func(_ context.Context, d penstock.Delivery) error {
				switch {
				case len(d.Value) == 0:
					return fmt.Errorf("the order is empty: %w", penstock.ErrReject)
				case d.Attempt == 1:
					return errBank
				}
				return nil
			})
		}()
		t.Cleanup(func() { <-consumed })

		out.Send(penstock.Message{Key: []byte("1"), Value: []byte("tea")})
		out.Send(penstock.Message{Key: []byte("2")})
		out.NackedWith("1", errBank)
		out.Acked("1")
		out.DeadLettered("2")
		fmt.Println("attempts:", len(out.Handlings()))
	})
	// Output: attempts: 3
}
