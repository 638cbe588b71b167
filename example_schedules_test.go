package penstock_test

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// A record each second, until it is paused. Services that handle the records of a topic fire its
// schedules, too: this one has it open.
func ExampleSchedules() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	etcd, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		panic(err)
	}
	defer etcd.Close()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd.Config()))
	if err != nil {
		panic(err)
	}
	defer rt.Stop(ctx)
	jobs, err := rt.CreateTopic(ctx, "jobs", penstock.TopicConfig{})
	if err != nil {
		panic(err)
	}
	if _, err := rt.Schedules().Put(ctx, "cleanup", penstock.Schedule{Topic: "jobs", Value: []byte("clean up"), Cron: "@every 1s"}); err != nil {
		panic(err)
	}
	n := 0
	for rec, err := range jobs.Read(ctx, 0, penstock.FromEarliest()) {
		if err != nil {
			panic(err)
		}
		name, _ := rec.Header(penstock.HeaderSchedule)
		fmt.Printf("%s: %s\n", name, rec.Value)
		if n++; n == 2 {
			break
		}
	}
	fmt.Println(rt.Schedules().Pause(ctx, "cleanup"))
	// Output:
	// cleanup: clean up
	// cleanup: clean up
	// <nil>
}
