package actors

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScenarios(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	etcd, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	for name, s := range map[string]Scenario{
		"one-by-one": {Size: 64, Senders: 2, Groups: 2, Members: 2, Duration: 100 * time.Millisecond, Warmup: 50 * time.Millisecond},
		"batched":    {Size: 64, Senders: 1, Groups: 1, Members: 1, Publish: 64, Batch: 64, Compressible: true, Duration: 100 * time.Millisecond},
		"at-a-rate":  {Size: MinSize, Senders: 2, Groups: 1, Members: 1, Publish: 8, Rate: 1000, Duration: 300 * time.Millisecond, Warmup: 100 * time.Millisecond},
		"tell":       {Do: Tell, Size: MinSize, Senders: 2, Groups: 1, Members: 2, Duration: 50 * time.Millisecond},
		"tell-bare":  {Do: Tell, Bare: true, Size: MinSize, Senders: 1, Groups: 1, Members: 1, Duration: 50 * time.Millisecond, Warmup: 20 * time.Millisecond},
		"ask":        {Do: Ask, Size: MinSize, Senders: 2, Groups: 1, Members: 1, Duration: 50 * time.Millisecond},
		"ask-bare":   {Do: Ask, Bare: true, Size: MinSize, Senders: 1, Groups: 1, Members: 1, Duration: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.Run(ctx, scenario.Local(etcd.Config(), "/"+name), nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Check.Sent == 0 || r.Figures[results.PerSecond] <= 0 || r.Failed() || r.System != s.System() {
				t.Errorf("nothing was sent: %+v", r)
			}
			if s.Do == Ask && r.Latencies[scenario.Asked].Count() == 0 {
				t.Error("no answer was timed")
			}
			if s.Rate == 0 {
				return
			}
			if r.Check.Sent != 400 {
				t.Errorf("%d were sent, 400 were due", r.Check.Sent)
			}
			for _, what := range []string{scenario.Accepted, scenario.Handled} {
				h := r.Latencies[what]
				if h.Count() != 300 || h.At(50) < 1 || h.At(50) > h.At(99) || h.At(99) > h.Max() {
					t.Errorf("%s: %d latencies, p50 %g, at most %g", what, h.Count(), h.At(50), h.Max())
				}
			}
		})
	}
}

func TestCheckNamesAllFaults(t *testing.T) {
	err := Scenario{Do: "sing", Size: 8, Mode: "twice", Rate: -1, Bare: true, Publish: -1}.Check()
	if faults, ok := err.(interface{ Unwrap() []error }); !ok || len(faults.Unwrap()) != 8 {
		t.Errorf("want eight faults: %v", err)
	}
}
