// Command retries handles orders with a handler that fails: some orders succeed when they are
// tried again, others become dead letters in a topic of their own, and are put back once the
// fault is mended. An etcd is in the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// Programs that have an etcd skip this, and give penstock.Etcd its address.
	server, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer server.Close()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(server.Config()))
	if err != nil {
		return err
	}
	orders, err := rt.EnsureTopic(ctx, "orders", penstock.TopicConfig{})
	if err != nil {
		return err
	}
	// DeadLetterTopic would create this one, too, with the first subscription.
	letters, err := rt.EnsureTopic(ctx, "orders-letters", penstock.TopicConfig{})
	if err != nil {
		return err
	}
	for _, item := range []string{"tea", "milk", "bread", "nothing", "salt"} {
		if _, _, err := orders.Put(ctx, penstock.Message{Key: []byte(item), Value: []byte("1 kg")}); err != nil {
			return err
		}
	}

	sub, err := orders.Subscribe(ctx, "shipping",
		penstock.RecordRetry(10*time.Millisecond, 100*time.Millisecond), // a service waits longer
		penstock.DeadLetterTopic("orders-letters", 3))
	if err != nil {
		return err
	}
	w := &warehouse{shipped: make(chan string, 16)}
	consumed := make(chan error, 1)
	go func() { consumed <- sub.Consume(ctx, w.ship) }()

	for range 3 { // tea, milk and salt
		if err := w.await(ctx); err != nil {
			return err
		}
	}
	if err := list(ctx, letters, 2); err != nil {
		return err
	}
	w.open.Store(true) // the fault is mended
	if err := redrive(ctx, letters, orders, 2); err != nil {
		return err
	}
	if err := w.await(ctx); err != nil { // bread
		return err
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		return err
	}
	return errors.Join(<-consumed, rt.Stop(ctx))
}

// warehouse ships orders, or fails.
type warehouse struct {
	open    atomic.Bool // the hall with the bread
	shipped chan string
}

// ship is the handler.
func (w *warehouse) ship(_ context.Context, order penstock.Record) error {
	switch item := string(order.Key); {
	case item == "milk" && order.Attempt == 1:
		return errors.New("the truck is away") // tried again after RecordRetry
	case item == "bread" && !w.open.Load():
		return errors.New("the hall is closed") // each time: a dead letter after three attempts
	case item == "nothing":
		return fmt.Errorf("there is no such thing: %w", penstock.ErrReject) // a dead letter at once
	}
	w.shipped <- fmt.Sprintf("shipped %s at attempt %d", order.Key, order.Attempt)
	return nil
}

func (w *warehouse) await(ctx context.Context) error {
	select {
	case line := <-w.shipped:
		fmt.Println(line)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// list prints n dead letters, as "penstock dlq ls" does.
func list(ctx context.Context, letters *penstock.Topic, n int64) error {
	for letter, err := range letters.ReadTo(ctx, 0, penstock.FromEarliest(), n) {
		if err != nil {
			return err
		}
		why, _ := messages.DeadRecordOf(letter.Payload)
		fmt.Printf("dead letter %s, %d attempts: %s\n", letter.Key, why.Attempts, why.Cause)
	}
	return nil
}

// redrive puts n dead letters back where they are from, but for what was rejected. Each is put
// back and acked in one transaction, so none is lost or comes twice. "penstock dlq redrive
// orders-letters" puts all of them back.
func redrive(ctx context.Context, letters, orders *penstock.Topic, n int) error {
	sub, err := letters.Subscribe(ctx, "redrive")
	if err != nil {
		return err
	}
	for done := 0; done < n; {
		acked, err := sub.Transact(ctx, n-done, func(tx *penstock.Tx, recs []penstock.Record) error {
			for _, letter := range recs {
				if string(letter.Key) != "nothing" {
					tx.Put(orders, messages.Unmarked(letter.Message()))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		done += acked
	}
	return sub.Unsubscribe(ctx)
}
