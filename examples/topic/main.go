// Command topic walks through the life of a topic, with an etcd in the process:
// create, put, subscribe, commit, look at the offsets, unsubscribe, update,
// delete.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
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
	etcd, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer etcd.Close()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd.Config()))
	if err != nil {
		return err
	}

	fruits, err := rt.CreateTopic(ctx, "fruits", penstock.TopicConfig{Partitions: 3})
	if err != nil {
		return err
	}
	fmt.Printf("created %s with %d partitions\n", fruits.Name(), fruits.Info().Config.Partitions)
	// EnsureTopic would open the one that exists.
	if _, err := rt.CreateTopic(ctx, "fruits", penstock.TopicConfig{}); !errors.Is(err, penstock.ErrTopicExists) {
		return fmt.Errorf("created the topic a second time: %w", err)
	}
	fmt.Println("cannot create it again")

	put, err := putAll(ctx, fruits)
	if err != nil {
		return err
	}
	if err := readAll(ctx, fruits, put); err != nil {
		return err
	}

	info, err := rt.UpdateTopic(ctx, "fruits", penstock.TopicUpdate{Partitions: 5})
	if err != nil {
		return err
	}
	fmt.Printf("updated: %d partitions\n", info.Config.Partitions)

	if err := rt.DeleteTopic(ctx, "fruits"); err != nil {
		return err
	}
	if _, _, err := fruits.Put(ctx, penstock.Message{Value: []byte("late")}); !errors.Is(err, penstock.ErrTopicDeleted) {
		return fmt.Errorf("put into a deleted topic: %w", err)
	}
	fmt.Println("deleted; nothing can be put any more")
	return rt.Stop(ctx)
}

// putAll puts one message, then several, and answers how many are in the topic.
func putAll(ctx context.Context, fruits *penstock.Topic) (int, error) {
	// Messages of one key go to one partition, and keep their order there.
	partition, offset, err := fruits.Put(ctx, penstock.Message{Key: []byte("apple"), Value: []byte("0 kg")})
	if err != nil {
		return 0, err
	}
	fmt.Printf("put apple=0 kg at %d/%d\n", partition, offset)

	var batch []penstock.Message
	for i, key := range []string{"banana", "cherry", "fig", "apple", "grape", "cherry"} {
		batch = append(batch, penstock.Message{Key: []byte(key), Value: fmt.Appendf(nil, "%d kg", i+1)})
	}
	results, err := fruits.PutBatch(ctx, batch)
	put := 1
	for i, r := range results {
		switch {
		case errors.Is(r.Err, penstock.ErrUnknownOutcome):
			fmt.Printf("%s may have been put: %v\n", batch[i].Key, r.Err)
		case r.Err != nil:
			fmt.Printf("%s was not put: %v\n", batch[i].Key, r.Err)
		default:
			put++
			fmt.Printf("put %s=%s at %d/%d\n", batch[i].Key, batch[i].Value, r.Partition, r.Offset)
		}
	}
	return put, err
}

// readAll is one consumer of all partitions: it prints n records, commits, and
// says how far its group is.
func readAll(ctx context.Context, fruits *penstock.Topic, n int) error {
	sub, err := fruits.Subscribe(ctx, "pantry", penstock.MemberID("cook"))
	if err != nil {
		return err
	}
	fmt.Printf("%s owns partitions %d\n", sub.ID(), sub.Partitions())
	if err := printRecords(ctx, sub, n); err != nil {
		return err
	}

	lag, err := sub.Lag(ctx)
	if err != nil {
		return err
	}
	for _, p := range lag.Partitions {
		fmt.Printf("partition %d: committed %d of %d\n", p.Partition, max(p.Committed, 0), p.End)
	}
	fmt.Printf("%s lags %d records\n", lag.Group, lag.Lag)

	if err := sub.Unsubscribe(ctx); err != nil {
		return err
	}
	fmt.Println("unsubscribed")
	return nil
}

func printRecords(ctx context.Context, sub *penstock.Subscription, n int) error {
	for r, err := range sub.Records(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("got %s=%s from %d/%d\n", r.Key, r.Value, r.Partition, r.Offset)
		if n--; n == 0 {
			// Taking the next record would finish this one, and what is
			// finished is committed each second; a loop that ends says so.
			return sub.Commit(ctx, r)
		}
	}
	return nil
}
