package beside

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// More is better for speeds, less for latencies.
func TestTargets(t *testing.T) {
	shares := 0.0
	for _, c := range comparisons {
		if !c.full {
			shares += c.share
		}
		above, below := results.Missed, results.Met
		want := "≤"
		if strings.HasSuffix(c.id, ".vs.jetstream") || strings.HasPrefix(c.id, "pipe.tcp.") {
			above, below, want = results.Met, results.Missed, "≥"
		}
		judge := func(ours float64, theirs ...float64) results.Verdict {
			return c.stored(bench.Result{Runs: [2][]float64{{ours}, theirs}}, "").Judge()
		}
		if c.target == 0 {
			above, below, want = results.Untargeted, results.Untargeted, ""
		}
		if got := judge(c.target*1.01, 1); got != above {
			t.Errorf("%s: above its target it is %s", c.id, got)
		}
		if got := judge(c.target*0.99, 1); got != below {
			t.Errorf("%s: below its target it is %s", c.id, got)
		}
		if got := judge(c.target); got != results.Unavailable {
			t.Errorf("%s: without a peer it is %s", c.id, got)
		}
		if aim := c.stored(bench.Result{}, "").Aim(); !strings.HasPrefix(aim, want) {
			t.Errorf("%s: the table says %s", c.id, aim)
		}
		if !strings.HasSuffix(c.id, ".vs."+string(c.kind.peer())) && !strings.HasSuffix(c.id, ".vs."+string(c.kind.peer())+"put") {
			t.Errorf("%s is compared with %s", c.id, c.kind.peer())
		}
		if PeerSettings[string(c.kind.peer())] == "" {
			t.Errorf("%s: the settings of %s are not told", c.id, c.kind.peer())
		}
	}
	if shares < 0.99 || shares > 1.01 {
		t.Errorf("the shares of the budget are %g together", shares)
	}
}

func TestRawTCP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := Run(ctx, Settings{Full: true, Only: "pipe.tcp.1MiB.vs.rawtcp", Budget: 300 * time.Millisecond}, func(c results.Comparison) {
		if ours, theirs := c.Medians(); ours <= 0 || theirs <= 0 || len(c.Theirs) != 7 {
			t.Errorf("%+v", c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRunKeepsEveryRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []results.Comparison
	s := Settings{Only: "pipe.lone", Budget: 100 * time.Millisecond}
	if err := Run(ctx, s, func(c results.Comparison) { got = append(got, c) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || len(got[0].Ours) < 7 || len(got[0].Ours) != len(got[0].Theirs) || got[0].Took.Ours.Count() < 3500 {
		t.Errorf("%+v", got)
	}
	s.Only = "nothing"
	if err := Run(ctx, s, nil); !errors.Is(err, ErrNone) {
		t.Errorf("a use of nothing returns %v", err)
	}
}
