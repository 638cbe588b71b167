package suite

// The series of topics.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/topics"
)

// topicCenter is what the series of topics vary.
var topicCenter = topics.Scenario{Size: 1 << 10, Partitions: 4, Producers: 1, Groups: 1, Consumers: 1}

// topic makes a step of a scenario. Each run has an etcd of its own, which syncs to
// disk and is empty: what others put would make it slow.
func topic(series, name string, quick bool, at place, change func(*topics.Scenario)) step {
	return step{id: series + "." + name, series: series, quick: quick,
		run: func(ctx context.Context, _ *bed, d time.Duration) (_ results.Run, err error) {
			etcd, err := openStore(ctx, at, true)
			if err != nil {
				return results.Run{System: "penstock"}, err
			}
			defer func() { err = errors.Join(err, etcd.close()) }()
			s := topicCenter
			s.Duration, s.Warmup = d, d/warmup
			change(&s)
			r, err := etcd.costing(ctx, func() (results.Run, error) { return s.Run(ctx, etcd.start("/bench"), nil) })
			if r.Settings != nil {
				r.Settings["etcd"] = string(at)
			}
			return r, err
		}}
}

func topicSteps() (all []step) {
	add := func(series, name string, quick bool, change func(*topics.Scenario)) {
		all = append(all, topic(series, name, quick, inside, change))
	}
	for _, size := range []int{topics.MinSize, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10} {
		add("topic.size", bytes(size), size == 64 || size == 1<<10, func(s *topics.Scenario) { s.Size = size })
	}
	for _, n := range []int{1, 4, 16, 64} {
		add("topic.partitions", fmt.Sprint(n), false, func(s *topics.Scenario) { s.Partitions, s.Size = n, 64 })
	}
	for _, put := range []string{topics.Async, topics.Batched, topics.Lone} {
		add("topic.put", put, false, func(s *topics.Scenario) { s.Put = put })
	}
	for _, n := range []int{1, 4} {
		add("topic.producers", fmt.Sprint(n), false, func(s *topics.Scenario) { s.Producers = n })
	}
	for _, n := range []int{1, 8} {
		add("topic.consumers", fmt.Sprint(n), false, func(s *topics.Scenario) { s.Consumers, s.Partitions = n, 8 })
	}
	for _, at := range []place{inside, apart, three} {
		all = append(all, topic("topic.etcd", string(at), false, at, func(*topics.Scenario) {}))
	}
	all = append(all, sweep("topic.open", []float64{100, 1e3, 10e3, 50e3, 200e3, 800e3}, 1e3, func(id string, rate float64, quick bool) step {
		return topic("topic.open", id, quick, inside, func(s *topics.Scenario) { s.Rate = rate })
	})...)
	return all
}

func steps() []step {
	return slices.Concat(pipeSteps(), topicSteps(), actorSteps(), recoverySteps(), scaleSteps())
}
