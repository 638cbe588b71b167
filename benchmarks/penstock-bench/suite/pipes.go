package suite

// The series of pipes.

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/pipes"
)

// center is what the series vary.
var center = pipes.Scenario{Size: 1 << 10, Senders: 1, Groups: 1, Members: 1}

// pipe makes a step of a scenario.
func pipe(series, name string, quick bool, change func(*pipes.Scenario)) step {
	return step{id: series + "." + name, series: series, quick: quick,
		run: func(ctx context.Context, b *bed, d time.Duration) (results.Run, error) {
			s := center
			s.Duration, s.Warmup = d, d/warmup
			change(&s)
			return s.Run(ctx, b.pipes(), nil)
		}}
}

func steps() []step {
	var all []step
	for _, size := range []int{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		all = append(all, pipe("pipe.size", bytes(size), size == 64 || size == 1<<10 || size == 64<<10, func(s *pipes.Scenario) { s.Size = size }))
	}
	return all
}

// bytes is a size as ids have it.
func bytes(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", n>>10)
	default:
		return fmt.Sprintf("%dB", n)
	}
}
