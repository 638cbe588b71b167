package penstock_test

// Examples of work that is done in batches: acks and commits come when a batch is written.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
)

// A batch of messages is written to a database, and acked when that has succeeded.
func ExampleManualAck() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-manual-ack")

	orders, err := rt.Register(ctx, "orders", penstock.RetryDelay(time.Millisecond, time.Second))
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing", penstock.AckWait(10*time.Second))
	check(err)
	for i := range 5 {
		check(orders.Send(ctx, penstock.Message{Value: fmt.Append(nil, i)}))
	}

	failed, written := false, 0
	write := func(batch []penstock.Delivery) error { // in one transaction of the database
		if !failed {
			failed = true
			return errors.New("the database is away")
		}
		written += len(batch)
		return nil
	}
	for written < 5 {
		batch, err := billing.Poll(ctx, 100, penstock.ManualAck())
		check(err)
		err = write(batch)
		for _, msg := range batch {
			if err != nil {
				msg.Nack(err) // all of them come again
			} else {
				msg.Ack()
			}
		}
	}
	check(orders.Flush(ctx))
	fmt.Println("written:", written)
	check(rt.Stop(ctx))
	// Output: written: 5
}

// What was gathered of a partition is written before another member gets the partition,
// and is committed with its release: no record is handled twice.
func ExampleBeforeRelease() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-before-release")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	gathered := make(chan []byte, 1000) // of the one partition
	export, err := audit.Subscribe(ctx, "export", penstock.ManualCommit(),
		penstock.BeforeRelease(func(_ context.Context, partitions []int) error {
			fmt.Println("released:", partitions, "written:", len(gathered)) // an error would keep it from being committed
			return nil
		}))
	check(err)
	all := make(chan struct{})
	consumed := make(chan error)
	go func() {
		consumed <- export.Consume(context.Background(), func(_ context.Context, r penstock.Record) error {
			gathered <- r.Value // where it is full: write, and Commit
			if r.Offset == 2 {
				close(all)
			}
			return nil
		})
	}()
	for _, login := range []string{"alice", "bob", "carol"} {
		_, _, err := audit.Put(ctx, penstock.Message{Value: []byte(login)})
		check(err)
	}
	<-all
	check(export.Unsubscribe(ctx)) // as a rebalance would take the partition
	check(<-consumed)
	group, err := rt.DescribeConsumerGroup(ctx, "audit", "export")
	check(err)
	fmt.Println("committed:", group.Partitions[0].Committed)
	check(rt.Stop(ctx))
	// Output:
	// released: [0] written: 3
	// committed: 3
}
