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

	"github.com/penstock-io/penstock/benchmarks/internal/beside"
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
	Scale  int           // how much of the series of many there is, of a hundred; 0: all
	Peers  string        // the directory of the module with the peers
}

var budgets = map[string]time.Duration{Quick: 80 * time.Second, Full: 14 * time.Minute}

// step is one run of one scenario.
type step struct {
	id, series string
	quick      bool          // also in the quick suite
	takes      time.Duration // what a run takes that has no duration; 0 for one that has
	rounds     int           // at most; 0: all
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
	if s.Budget == 0 {
		s.Budget = budgets[s.Suite]
	}
	if s.Rounds == 0 {
		s.Rounds = 4 // with fewer, compare finds no difference
	}
	f := &results.File{
		Suite: s.Suite, Began: time.Now().Truncate(time.Second), Machine: host.Machine(), Load: host.Load(), Versions: host.Versions(), Peers: beside.PeerSettings,
	}
	f.Commit, f.Modified = host.Commit(ctx)
	began := time.Now()
	ran, faults := false, []error(nil)
	err := compareWithPeers(ctx, s, f, log)
	if err = ignoring(err, beside.ErrNone, &ran); err != nil {
		faults = append(faults, err)
	}
	if len(chosen) > 0 && ctx.Err() == nil {
		ran = true
		left := s.Budget - time.Since(began)
		if s.Each == 0 {
			s.Each = share(left, s.Rounds, chosen)
		}
		faults = append(faults, series(ctx, s, chosen, f, log))
	}
	if !ran {
		return nil, fmt.Errorf("run: nothing of the %s suite begins with %q; leave out --only to run all", s.Suite, s.Only)
	}
	f.Seconds = time.Since(began).Seconds()
	return f, errors.Join(append(faults, context.Cause(ctx))...)
}

// share is how long each run with a duration may take.
func share(left time.Duration, rounds int, chosen []step) time.Duration {
	timed := 0
	for _, st := range chosen {
		n := rounds
		if st.rounds > 0 {
			n = min(n, st.rounds)
		}
		if st.takes > 0 {
			left -= time.Duration(n) * st.takes
		} else {
			timed += n
		}
	}
	return max(200*time.Millisecond, left/time.Duration(max(1, timed))-setup)
}

// ignoring is err unless it is what, and notes whether it was not.
func ignoring(err, what error, was *bool) error {
	if errors.Is(err, what) {
		return nil
	}
	*was = true
	return err
}

// compareWithPeers performs the comparisons, in their share of the budget.
func compareWithPeers(ctx context.Context, s Settings, f *results.File, log io.Writer) error {
	return beside.Run(ctx, beside.Settings{Full: s.Suite == Full, Only: s.Only, Budget: s.Budget * 2 / 5, Peers: s.Peers, Versions: f.Versions}, func(c results.Comparison) {
		fmt.Fprintln(log, c.Line())
		f.Comparisons = append(f.Comparisons, c)
	})
}

// series performs the chosen steps in rounds.
func series(ctx context.Context, s Settings, chosen []step, f *results.File, log io.Writer) error {
	b, err := openBed(ctx)
	if err != nil {
		return err
	}
	if s.Scale > 0 {
		b.scale = s.Scale
	}
	var faults []error
	for round := range s.Rounds {
		for _, st := range chosen {
			if ctx.Err() != nil {
				break
			}
			if st.rounds > 0 && round >= st.rounds {
				continue
			}
			r, err := st.run(ctx, b, s.Each)
			if errors.Is(err, errBroken) {
				continue
			}
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
	return errors.Join(append(faults, b.close())...)
}

// brief is a run in a few words.
func brief(r results.Run) string {
	if r.Failed() {
		return "FAILED " + r.Error
	}
	out := fmt.Sprintf("%.4g/s", r.Figures[results.PerSecond])
	for _, f := range []results.Figure{results.RecoveryMS, results.ReadyMS} {
		if v, ok := r.Figures[f]; ok {
			return fmt.Sprintf("%.4g ms", v)
		}
	}
	for _, what := range []string{"handled", "asked"} {
		if h := r.Latencies[what]; h != nil {
			out += fmt.Sprintf(", p50 %.0f µs, p99 %.0f µs", h.At(50), h.At(99))
		}
	}
	return out
}
