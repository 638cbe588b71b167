package suite

// The series of actors.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/actors"
)

// actorCenter is what the series of actors vary.
var actorCenter = actors.Scenario{Size: 1 << 10, Senders: 1, Groups: 1, Members: 1}

func actor(series, name string, change func(*actors.Scenario)) step {
	return step{id: series + "." + name, series: series,
		run: func(ctx context.Context, b *bed, d time.Duration) (results.Run, error) {
			s := actorCenter
			s.Duration, s.Warmup = d, d/warmup
			change(&s)
			return s.Run(ctx, b.pipes(), nil)
		}}
}

func actorSteps() (all []step) {
	add := func(series, name string, change func(*actors.Scenario)) {
		all = append(all, actor(series, name, change))
	}
	// One by one, published in batches, delivered in batches, and both.
	add("actor.deliver", "1to1", func(*actors.Scenario) {})
	add("actor.deliver", "256to1", func(s *actors.Scenario) { s.Publish = 256 })
	add("actor.deliver", "1to256", func(s *actors.Scenario) { s.Batch = 256 })
	add("actor.deliver", "256to256", func(s *actors.Scenario) { s.Publish, s.Batch = 256, 256 })
	add("actor.deliver", "256to256-64B", func(s *actors.Scenario) { s.Publish, s.Batch, s.Size = 256, 256, 64 })
	for _, do := range []string{actors.Tell, actors.Ask} {
		add("actor."+do, "supervised", func(s *actors.Scenario) { s.Do = do })
		add("actor."+do, "bare", func(s *actors.Scenario) { s.Do, s.Bare = do, true })
	}
	return all
}
