package report

// Two files beside each other.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// confidence is that of the intervals.
const confidence = 0.95

// Compare prints the figures that both files have, as benchstat does: medians, their
// confidence intervals, and the difference, or ~ when the U-test finds none.
func Compare(w io.Writer, before, after *results.File) error {
	if before.Machine != after.Machine {
		fmt.Fprintf(w, "the machines differ: %s; %s\n", describe(before), describe(after))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "scenario\tfigure\t%s\t\t%s\t\tdifference\t\n", or(before.Commit, "before"), or(after.Commit, "after"))
	both := false
	a, b := samples(before), samples(after)
	for _, k := range slices.SortedFunc(maps.Keys(a), sample.compare) {
		if b[k] == nil {
			continue
		}
		both = true
		x, y := benchmath.NewSample(a[k], &benchmath.DefaultThresholds), benchmath.NewSample(b[k], &benchmath.DefaultThresholds)
		sx, sy := benchmath.AssumeNothing.Summary(x, confidence), benchmath.AssumeNothing.Summary(y, confidence)
		c := benchmath.AssumeNothing.Compare(x, y)
		fmt.Fprintf(t, "%s %s\t%s\t%.4g\t± %s\t%.4g\t± %s\t%s\t%s\n", k.ID, k.System, k.figure,
			sx.Center, sx.PctRangeString(), sy.Center, sy.PctRangeString(), c.FormatDelta(sx.Center, sy.Center), c)
	}
	if !both {
		return fmt.Errorf("compare: the files have no scenario in common; run the same suite on both")
	}
	return t.Flush()
}

// sample is one figure of one scenario.
type sample struct {
	results.Key
	figure string
}

func (s sample) compare(o sample) int {
	if c := s.Key.Compare(o.Key); c != 0 {
		return c
	}
	switch {
	case s.figure < o.figure:
		return -1
	case s.figure > o.figure:
		return 1
	default:
		return 0
	}
}

// samples are the values of each run: its figures and percentiles, and both sides of
// each comparison.
func samples(f *results.File) map[sample][]float64 {
	out := map[sample][]float64{}
	add := func(id, system, figure string, v ...float64) {
		k := sample{results.Key{ID: id, System: system}, figure}
		out[k] = append(out[k], v...)
	}
	for _, r := range f.Runs {
		if r.Failed() {
			continue
		}
		for figure, v := range r.Figures {
			add(r.ID, r.System, string(figure), v)
		}
		for what, h := range r.Latencies {
			if h.Count() > 0 {
				add(r.ID, r.System, what+"_p50_us", h.At(50))
				add(r.ID, r.System, what+"_p99_us", h.At(99))
			}
		}
	}
	for _, c := range f.Comparisons {
		add(c.ID, "penstock", c.Unit, c.Ours...)
		if len(c.Theirs) > 0 {
			add(c.ID, c.Peer, c.Unit, c.Theirs...)
		}
	}
	return out
}
