package topics

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

func TestScenarios(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	etcd, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	for name, s := range map[string]Scenario{
		"full-speed": {Size: 64, Partitions: 4, Producers: 2, Groups: 2, Consumers: 2, Duration: 100 * time.Millisecond, Warmup: 50 * time.Millisecond},
		"catch-up":   {Size: 1024, Partitions: 3, Producers: 1, Groups: 1, Consumers: 2, Compression: penstock.CompressNone, Keys: 10, CatchUp: true, Duration: 300 * time.Millisecond},
		"at-a-rate":  {Size: MinSize, Partitions: 1, Producers: 2, Groups: 1, Consumers: 1, Compression: penstock.CompressZstd, Rate: 1000, Duration: 300 * time.Millisecond, Warmup: 100 * time.Millisecond},
		"put-only":   {Size: 64, Partitions: 1, Producers: 1, Duration: 50 * time.Millisecond},
		"batches":    {Size: 64, Partitions: 2, Producers: 1, Put: Batched, Batch: 7, Groups: 1, Consumers: 1, Compressible: true, Duration: 50 * time.Millisecond},
		"lone":       {Size: 64, Partitions: 2, Producers: 1, Put: Lone, Groups: 1, Consumers: 1, Duration: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.Run(ctx, scenario.Local(etcd.Config(), "/"+name), nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Check.Sent == 0 || r.Figures[results.PerSecond] <= 0 || (r.Figures[results.Consumed] > 0) != (s.Groups > 0) || r.Failed() {
				t.Errorf("nothing was put: %+v", r)
			}
			if s.Rate == 0 {
				return
			}
			if r.Check.Sent != 400 {
				t.Errorf("%d were put, 400 were due", r.Check.Sent)
			}
			for _, what := range []string{scenario.Accepted, scenario.Committed, scenario.Handled} {
				h := r.Latencies[what]
				if h.Count() != 300 || h.At(50) < 1 || h.At(50) > h.At(99) || h.At(99) > h.Max() {
					t.Errorf("%s: %d latencies, p50 %g, at most %g", what, h.Count(), h.At(50), h.Max())
				}
			}
		})
	}
}
