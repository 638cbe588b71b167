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
		"full-speed":   {Size: 64, Senders: 2, Groups: 2, Members: 2, Mode: penstock.AtLeastOnce, Seconds: 0.1},
		"at-most-once": {Size: 1024, Senders: 1, Groups: 1, Members: 2, Mode: penstock.AtMostOnce, Window: 64, Seconds: 0.1},
		"at-a-rate":    {Size: stampSize, Senders: 2, Groups: 1, Members: 1, Mode: penstock.AtLeastOnce, Rate: 1000, Seconds: 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.run(ctx, etcd.Config(), "/"+name, func(uint64, uint64) {})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case r.Sent == 0 || r.PerSecond <= 0:
				t.Errorf("nothing was sent: %+v", r)
			case s.Rate > 0 && r.Sent != 300:
				t.Errorf("%d were sent, 300 were due", r.Sent)
			case (s.Rate > 0) != (r.Latency != nil):
				t.Errorf("latency is %+v at a rate of %g", r.Latency, s.Rate)
			case r.Latency != nil && (r.Latency.P50 < 1 || r.Latency.P50 > r.Latency.P99 || r.Latency.P99 > r.Latency.Max):
				t.Errorf("latencies %+v", *r.Latency)
			}
		})
	}
}
