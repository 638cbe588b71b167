package pipes

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// Both halves end alike, and the senders' result is that of the whole.
func TestHalves(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	etcd, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	for name, c := range map[string]struct {
		s     Scenario
		parts int // processes, with as many members of each group
		mode  penstock.Mode
	}{
		"one":          {Scenario{Size: 64, Senders: 2, Threads: 2, Groups: 2, Members: 2, Duration: 100 * time.Millisecond, Warmup: 20 * time.Millisecond}, 1, ""},
		"two":          {Scenario{Size: 1024, Senders: 1, Groups: 2, Members: 4, Rate: 2000, Duration: 200 * time.Millisecond, Warmup: 100 * time.Millisecond}, 2, ""},
		"at-most-once": {Scenario{Size: 64, Senders: 1, Groups: 1, Members: 2, Duration: 100 * time.Millisecond}, 2, penstock.AtMostOnce},
	} {
		t.Run(name, func(t *testing.T) {
			start := scenario.Local(etcd.Config(), "/"+name)
			type outcome struct {
				r   scenario.Result
				err error
			}
			parts := make(chan outcome, c.parts)
			for range c.parts {
				go func() {
					m := Members{Groups: c.s.Groups, Members: c.s.Members / c.parts, Mode: c.mode, Wait: time.Minute}
					r, err := m.Run(ctx, start, nil)
					parts <- outcome{r, err}
				}()
			}
			whole, err := c.s.RunSenders(ctx, start, time.Minute, nil)
			if err != nil {
				t.Error(err)
			}
			for range c.parts {
				part := <-parts
				if part.err != nil || part.r.Check != whole.Check {
					t.Errorf("%v, %+v, the senders have %+v", part.err, part.r.Check, whole.Check)
				}
			}
			if whole.Check.Sent == 0 || whole.Figures[results.PerSecond] <= 0 || whole.Settings["processes"] == "1" {
				t.Errorf("%+v", whole)
			}
			if c.s.Rate > 0 && (whole.Check.Sent != 600 || whole.Latencies[scenario.Handled].Count() != 800) {
				t.Errorf("%d were sent, %d latencies are known", whole.Check.Sent, whole.Latencies[scenario.Handled].Count())
			}
		})
	}
}

// Members of other groups than the senders expect are waited for, and then named.
func TestHalvesThatDoNotFit(t *testing.T) {
	etcd, err := embedded.Start(t.Context(), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	start := scenario.Local(etcd.Config(), "/alone")
	s := Scenario{Size: 64, Senders: 1, Groups: 1, Members: 1, Duration: time.Second}
	var unsound *scenario.Unsound
	if _, err := s.RunSenders(t.Context(), start, 50*time.Millisecond, nil); err == nil || errors.As(err, &unsound) {
		t.Errorf("senders without members: %v", err)
	}
	if _, err := (Members{Groups: 1, Members: 1, Wait: 50 * time.Millisecond}).Run(t.Context(), start, nil); err == nil || errors.As(err, &unsound) {
		t.Errorf("members without senders: %v", err)
	}
}
