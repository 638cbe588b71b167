package penstock_test

// Examples of topics for the documentation. Their etcd is the one of TestMain.

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

// A topic, one record, and a group that handles it.
func ExampleRuntime_CreateTopic() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-topic")

	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 3})
	check(err)
	partition, offset, err := audit.Put(ctx, penstock.Message{Key: []byte("alice"), Value: []byte("logged in")})
	check(err)
	fmt.Printf("put at %d/%d\n", partition, offset)

	billing, err := audit.Subscribe(ctx, "billing")
	check(err)
	for r, err := range billing.Records(ctx) {
		check(err)
		fmt.Printf("%s %s\n", r.Key, r.Value)
		check(billing.Commit(ctx, r)) // taking the next record would finish this one
		break
	}
	check(billing.Unsubscribe(ctx))

	_, err = rt.CreateTopic(ctx, "audit", penstock.TopicConfig{})
	fmt.Println("exists:", errors.Is(err, penstock.ErrTopicExists))
	check(rt.Stop(ctx))
	// Output:
	// put at 0/0
	// alice logged in
	// exists: true
}

// A batch has a result for each message: where it is, or why not.
func ExampleTopic_PutBatch() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-batch")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{MaxRecordBytes: 100})
	check(err)
	results, err := audit.PutBatch(ctx, []penstock.Message{
		{Value: []byte("small")},
		{Value: make([]byte, 1000)},
		{Value: []byte("small too")},
	})
	fmt.Println("all put:", err == nil)
	for i, r := range results {
		switch {
		case errors.Is(r.Err, penstock.ErrUnknownOutcome):
			fmt.Println(i, "may be in the topic, or yet come")
		case errors.Is(r.Err, penstock.ErrTooLarge):
			fmt.Println(i, "is too large")
		case r.Err == nil:
			fmt.Println(i, "has offset", r.Offset)
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// all put: false
	// 0 has offset 0
	// 1 is too large
	// 2 has offset 1
}

// Many records: taken without waiting, told of later, and waited for at once.
func ExampleTopic_PutAsync() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-async")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	last := int64(-1)
	done := func(r penstock.PutResult) { // in the order of the offsets
		if r.Err != nil {
			log.Print(r.Err)
			return
		}
		last = r.Offset
	}
	for i := range 1000 {
		check(audit.PutAsync(ctx, penstock.Message{Value: fmt.Append(nil, i)}, done))
	}
	check(audit.Flush(ctx)) // every done was called
	fmt.Println("the last has offset", last)
	check(rt.Stop(ctx))
	// Output: the last has offset 999
}

// What has no room is refused at once, for the caller to shed.
func ExampleTopic_TryPut() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-try")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{}, penstock.MaxBuffer(1<<20))
	check(err)
	large := penstock.Message{Value: make([]byte, 1000<<10)}
	check(audit.TryPut(large, nil))
	err = audit.TryPut(large, nil) // before the first one is committed
	fmt.Println("full:", errors.Is(err, penstock.ErrGroupFull))
	check(audit.Flush(ctx))
	check(audit.TryPut(large, nil)) // there is room again
	check(rt.Stop(ctx))
	// Output: full: true
}

// A partition can be read in order without a group.
func ExampleTopic_Read() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-read")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	for _, v := range []string{"a", "b", "c"} {
		_, err := audit.PutTo(ctx, 0, penstock.Message{Value: []byte(v)})
		check(err)
	}
	for r, err := range audit.Read(ctx, 0, penstock.FromOffset(1)) {
		check(err)
		fmt.Printf("%d %s\n", r.Offset, r.Value)
		if r.Offset == 2 {
			break // at the end it would wait for more
		}
	}
	check(rt.Stop(ctx))
	// Output:
	// 1 b
	// 2 c
}

// A handler's errors are tried again, and what follows in the partition waits;
// what fails too often goes elsewhere.
func ExampleSubscription_Consume() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-handler")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	_, err = audit.PutBatch(ctx, []penstock.Message{{Value: []byte("gold")}, {Value: []byte("tea")}})
	check(err)

	billing, err := audit.Subscribe(ctx, "billing",
		penstock.RecordRetry(time.Millisecond, time.Second),
		penstock.RecordDeadLetters(2, func(_ context.Context, r penstock.Record, cause error) error {
			fmt.Printf("%s: %v, %d times\n", r.Value, cause, r.Attempt)
			return nil
		}))
	check(err)
	handling, stop := context.WithCancel(ctx)
	err = billing.Consume(handling, func(_ context.Context, r penstock.Record) error {
		if string(r.Value) == "gold" {
			return errors.New("no credit")
		}
		fmt.Printf("billed %s\n", r.Value)
		stop()
		return nil
	})
	fmt.Println("consumed:", err)
	check(billing.Unsubscribe(ctx))
	check(rt.Stop(ctx))
	// Output:
	// gold: no credit, 2 times
	// billed tea
	// consumed: context canceled
}

// Explicit commits: several records at once, when all of them are dealt with.
func ExampleSubscription_Poll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-poll")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	for i := range 5 {
		check(audit.PutAsync(ctx, penstock.Message{Value: fmt.Append(nil, i)}, nil))
	}
	check(audit.Flush(ctx))

	export, err := audit.Subscribe(ctx, "export", penstock.ManualCommit())
	check(err)
	for exported := 0; exported < 5; {
		recs, err := export.Poll(ctx, 3)
		check(err)
		exported += len(recs) // write all of them somewhere
		check(export.Commit(ctx, recs...))
	}
	lag, err := export.Lag(ctx)
	check(err)
	fmt.Println("committed", lag.Partitions[0].Committed, "lag", lag.Lag)
	check(export.Unsubscribe(ctx))
	check(rt.Stop(ctx))
	// Output: committed 5 lag 0
}

// A group that nobody is in can be moved, here to the beginning.
func ExampleRuntime_ResetOffsets() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-reset")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	_, _, err = audit.Put(ctx, penstock.Message{Value: []byte("a")})
	check(err)
	billing, err := audit.Subscribe(ctx, "billing")
	check(err)
	for r, err := range billing.Records(ctx) {
		check(err)
		check(billing.Commit(ctx, r))
		break
	}

	_, err = rt.ResetOffsets(ctx, "audit", "billing", penstock.FromEarliest())
	fmt.Println("has members:", errors.Is(err, penstock.ErrGroupLive)) // Force would take their claims away
	check(billing.Unsubscribe(ctx))
	changes, err := rt.ResetOffsets(ctx, "audit", "billing", penstock.FromEarliest())
	check(err)
	for _, c := range changes {
		fmt.Printf("partition %d: from %d to %d\n", c.Partition, c.From, c.To)
	}
	check(rt.Stop(ctx))
	// Output:
	// has members: true
	// partition 0: from 1 to 0
}

// Record.Fence keeps a consumer that lost its partition without noticing from
// writing to a database of yours: what is written carries it, and the database
// refuses a fence that is smaller than one it has seen.
func ExampleRecord() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-fence")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	_, _, err = audit.Put(ctx, penstock.Message{Value: []byte("a")})
	check(err)

	var largest int64 // a column of the database, for each partition
	for range 2 {
		billing, err := audit.Subscribe(ctx, "billing")
		check(err)
		for r, err := range billing.Records(ctx) {
			check(err)
			fmt.Println("a later owner has a larger fence:", r.Fence > largest)
			largest = r.Fence
			break // not handled, so the next owner gets it
		}
		check(billing.Unsubscribe(ctx))
	}
	check(rt.Stop(ctx))
	// Output:
	// a later owner has a larger fence: true
	// a later owner has a larger fence: true
}

// What happens to partitions is an event of the runtime.
func ExampleTopic_Subscribe_events() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-rebalance")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 4})
	check(err)
	first, err := audit.Subscribe(ctx, "billing")
	check(err)
	fmt.Println("alone:", len(first.Partitions()))

	events := rt.Events(ctx) // from now on
	second, err := audit.Subscribe(ctx, "billing")
	check(err)
	released, claimed := 0, 0
	for e := range events { // the second may claim what the first does not know to be released yet
		switch e.(type) {
		case messages.PartitionReleased:
			released++
		case messages.PartitionClaimed:
			claimed++
		}
		if released == 2 && claimed == 2 {
			break
		}
	}
	fmt.Println("shared:", len(first.Partitions()), len(second.Partitions()))
	check(rt.Stop(ctx))
	// Output:
	// alone: 4
	// shared: 2 2
}

// A record that nobody read in time is passed over, and stays in the log.
func ExampleRecordExpired() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-record-expired")

	prices, err := rt.EnsureTopic(ctx, "prices", penstock.TopicConfig{})
	check(err)
	_, err = prices.PutBatch(ctx, []penstock.Message{
		{Value: []byte("tea at 5"), ExpiresAt: time.Now()},
		{Value: []byte("tea at 6")},
	})
	check(err)

	late := make(chan string, 1)
	sub, err := prices.Subscribe(ctx, "trading", penstock.RecordExpired(func(_ context.Context, rec penstock.Record) {
		late <- fmt.Sprintf("%s came too late, at offset %d", rec.Value, rec.Offset)
	}))
	check(err)
	for rec, err := range sub.Records(ctx) {
		check(err)
		fmt.Printf("%s at offset %d\n", rec.Value, rec.Offset)
		break
	}
	fmt.Println(<-late)
	check(rt.Stop(ctx))
	// Output:
	// tea at 6 at offset 1
	// tea at 5 came too late, at offset 0
}

// A batch that could not be written is given back, but for what was.
func ExampleSubscription_Release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-release")
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	_, err = audit.PutBatch(ctx, []penstock.Message{{Value: []byte("a")}, {Value: []byte("b")}})
	check(err)
	export, err := audit.Subscribe(ctx, "export")
	check(err)
	recs, err := export.Poll(ctx, 2)
	check(err)
	check(export.Commit(ctx, recs[0])) // written
	check(export.Release())            // and recs[1] was not
	recs, err = export.Poll(ctx, 2)
	check(err)
	fmt.Printf("again: %s\n", recs[0].Value)
	check(rt.Stop(ctx))
	// Output: again: b
}
