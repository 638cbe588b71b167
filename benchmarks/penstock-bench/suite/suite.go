package suite

// What runs when, and what is kept of it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// The suites.
const (
	Quick = "quick"
	Full  = "full"
)

// Settings of a suite.
type Settings struct {
	Suite  string
	Only   string        // what an id begins with
	Budget time.Duration // of all together; 0: the suite's
	Each   time.Duration // of a run; 0: what the budget leaves
	Rounds int           // 0: the suite's
}

var budgets = map[string]time.Duration{Quick: 80 * time.Second, Full: 14 * time.Minute}

// step is one run of one scenario.
type step struct {
	id, series string
	quick      bool // also in the quick suite
	run        func(ctx context.Context, b *bed, d time.Duration) (results.Run, error)
}

// setup is what a run needs besides its duration, about.
const setup = 700 * time.Millisecond

// warmup is a fraction of a run that does not count.
const warmup = 5

// Run performs a suite and tells on log how it goes. It returns what was measured
// also with an error, which joins those of the failed runs; nil when nothing was.
func Run(ctx context.Context, s Settings, log io.Writer) (*results.File, error) {
	chosen := slices.DeleteFunc(steps(), func(st step) bool {
		return !strings.HasPrefix(st.id, s.Only) || s.Suite == Quick && !st.quick
	})
	if len(chosen) == 0 {
		return nil, fmt.Errorf("run: no scenario of the %s suite begins with %q; leave out --only to see them all", s.Suite, s.Only)
	}
	if s.Budget == 0 {
		s.Budget = budgets[s.Suite]
	}
	if s.Rounds == 0 {
		s.Rounds = 5
	}
	if s.Each == 0 {
		s.Each = max(200*time.Millisecond, s.Budget/time.Duration(s.Rounds*len(chosen))-setup)
	}
	f := &results.File{
		Suite: s.Suite, Began: time.Now().Truncate(time.Second), Machine: host.Machine(), Versions: host.Versions(),
	}
	f.Commit, f.Modified = host.Commit(ctx)
	b, err := openBed(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	var faults []error
	for round := range s.Rounds {
		for _, st := range chosen {
			if ctx.Err() != nil {
				break
			}
			r, err := st.run(ctx, b, s.Each)
			r.ID, r.Series, r.Round = st.id, st.series, round+1
			if err != nil {
				err = fmt.Errorf("%s, round %d: %w", st.id, round+1, err)
				r.Error = err.Error()
				faults = append(faults, err)
			}
			fmt.Fprintf(log, "%d/%d %-24s %s\n", round+1, s.Rounds, st.id, brief(r))
			f.Runs = append(f.Runs, r)
		}
	}
	f.Seconds = time.Since(began).Seconds()
	return f, errors.Join(append(faults, context.Cause(ctx), b.close())...)
}

// brief is a run in a few words.
func brief(r results.Run) string {
	if r.Failed() {
		return "FAILED " + r.Error
	}
	out := fmt.Sprintf("%.4g/s", r.Figures[results.PerSecond])
	for _, what := range []string{"handled", "lone"} {
		if h := r.Latencies[what]; h != nil {
			out += fmt.Sprintf(", p50 %.0f µs, p99 %.0f µs", h.At(50), h.At(99))
		}
	}
	return out
}
