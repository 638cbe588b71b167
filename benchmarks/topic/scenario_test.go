package main

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
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
	for name, s := range map[string]scenario{
		"full-speed": {Size: 64, Partitions: 4, Producers: 2, Groups: 2, Consumers: 2, Compression: penstock.CompressS2, Seconds: 0.1},
		"catch-up":   {Size: 1024, Partitions: 3, Producers: 1, Groups: 1, Consumers: 2, Compression: penstock.CompressNone, Keys: 10, Seconds: 1.1, CatchUp: true},
		"at-a-rate":  {Size: 24, Partitions: 1, Producers: 2, Groups: 1, Consumers: 1, Compression: penstock.CompressZstd, Rate: 1000, Seconds: 0.3},
		"put-only":   {Size: 64, Partitions: 1, Producers: 1, Consumers: 1, Compression: penstock.CompressS2, Seconds: 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.run(ctx, etcd.Config(), "/"+name, func(uint64, uint64) {})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case r.Put == 0 || r.PutRate <= 0 || (r.ConsumeRate > 0) != (s.Groups > 0):
				t.Errorf("nothing was put: %+v", r)
			case s.Rate > 0 && r.Put != 300:
				t.Errorf("%d were put, 300 were due", r.Put)
			case (s.Rate > 0) != (r.Handled != nil):
				t.Errorf("latency is %+v at a rate of %g", r.Handled, s.Rate)
			}
			for _, l := range []*latency{r.Committed, r.Handled} {
				if l != nil && (l.P50 < 1 || l.P50 > l.P99 || l.P99 > l.Max) {
					t.Errorf("latencies %+v", *l)
				}
			}
		})
	}
}
