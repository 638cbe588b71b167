package penstock_test

// An example of a group with more members than its topic has partitions.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock"
)

// Three members handle the records of one partition. Only one of them owns it, and lends.
func ExampleShared() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-shared")
	photos, err := rt.EnsureTopic(ctx, "photos", penstock.TopicConfig{Partitions: 1})
	check(err)

	var done, working sync.WaitGroup
	done.Add(3)
	for range 3 {
		sub, err := photos.Subscribe(ctx, "thumbnails", penstock.Shared(), penstock.AckWait(time.Minute))
		check(err)
		working.Go(func() {
			check(sub.Consume(ctx, func(ctx context.Context, rec penstock.Record) error {
				done.Done()
				done.Wait() // each has one in hand
				return nil
			}))
		})
	}
	for _, name := range []string{"a.jpg", "b.jpg", "c.jpg"} {
		_, _, err := photos.Put(ctx, penstock.Message{Value: []byte(name)})
		check(err)
	}
	done.Wait()
	fmt.Println("three at the same time")
	check(rt.Stop(ctx))
	working.Wait()
	// Output:
	// three at the same time
}
