package report

// The tables, for terminals and in Markdown.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// row is one scenario as one system runs it: the medians of its runs.
type row struct {
	results.Key
	series  string
	runs    int
	failed  int
	figures map[results.Figure]float64
	handled *results.Histogram // of all runs together; nil when nothing was timed
	timed   string
}

// rows are those of f in the order in which they ran first.
func rows(f *results.File) []row {
	var order []results.Key
	by := map[results.Key]*row{}
	values := map[results.Key]map[results.Figure][]float64{}
	for _, r := range f.Runs {
		k := results.Key{ID: r.ID, System: r.System}
		if by[k] == nil {
			order = append(order, k)
			by[k] = &row{Key: k, series: r.Series, figures: map[results.Figure]float64{}}
			values[k] = map[results.Figure][]float64{}
		}
		if r.Failed() {
			by[k].failed++
			continue
		}
		by[k].runs++
		for figure, v := range r.Figures {
			values[k][figure] = append(values[k][figure], v)
		}
		for _, what := range []string{"handled", "asked", "lone", "committed"} {
			if h := r.Latencies[what]; h != nil && (by[k].timed == "" || by[k].timed == what) {
				if by[k].handled == nil {
					by[k].handled, by[k].timed = results.NewHistogram(), what
				}
				by[k].handled.Merge(h)
			}
		}
	}
	var out []row
	for _, k := range order {
		for figure, v := range values[k] {
			by[k].figures[figure] = results.Median(v)
		}
		out = append(out, *by[k])
	}
	return out
}

var columns = []string{"scenario", "system", "runs", "messages/s", "MB/s", "CPU µs", "allocations", "p50 µs", "p99 µs", "p99.9 µs", "p99.99 µs"}

func (r row) cells() []string {
	cell := func(f results.Figure, scale float64) string {
		if v, ok := r.figures[f]; ok {
			return fmt.Sprintf("%.4g", v/scale)
		}
		return ""
	}
	runs := fmt.Sprint(r.runs)
	if r.failed > 0 {
		runs += fmt.Sprintf(", %d FAILED", r.failed)
	}
	out := []string{r.ID, r.System, runs, cell(results.PerSecond, 1), cell(results.MBPerSecond, 1), cell(results.CPU, 1000), cell(results.Allocs, 1)}
	for _, p := range []float64{50, 99, 99.9, 99.99} {
		if r.handled == nil || r.handled.Count() == 0 {
			out = append(out, "")
			continue
		}
		out = append(out, fmt.Sprintf("%.0f", r.handled.At(p)))
	}
	return out
}

// comparisonCells is a comparison's line of a table.
func comparisonCells(c results.Comparison) []string {
	ours, theirs := c.Medians()
	if theirs == 0 {
		return []string{c.ID, fmt.Sprintf("%.4g", ours), "", c.Unit, "", c.Aim(), c.Error}
	}
	return []string{c.ID, fmt.Sprintf("%.4g", ours), fmt.Sprintf("%.4g", theirs), c.Unit, fmt.Sprintf("%.2f", ours/theirs), c.Aim(), string(c.Judge())}
}

var comparisonColumns = []string{"comparison", "ours", "peer", "unit", "ratio", "target", ""}

// Table prints f for a terminal.
func Table(w io.Writer, f *results.File) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells []string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	if len(f.Runs) > 0 {
		line(columns)
		for _, r := range rows(f) {
			line(r.cells())
		}
	}
	if len(f.Comparisons) > 0 {
		line(comparisonColumns)
		for _, c := range f.Comparisons {
			line(comparisonCells(c))
		}
	}
	return t.Flush()
}

// markdown writes the report's text.
func markdown(w io.Writer, f *results.File, drawn []chart) error {
	var b strings.Builder
	m := f.Machine
	fmt.Fprintf(&b, "# Results of %s\n\nThe %s suite of Penstock %s, in %.0f s on %s: %s, %d cores, %.0f GiB, %s/%s, kernel %s, %s.\n",
		f.Began.UTC().Format("2006-01-02"), f.Suite, or(f.Commit, "of an unknown commit"), f.Seconds, "one machine", or(m.CPU, "an unnamed processor"), m.Cores, float64(m.Memory)/(1<<30), m.OS, m.Arch, or(m.Kernel, "unknown"), m.Go)
	if f.Modified {
		b.WriteString("\nFiles differed from that commit.\n")
	}
	table := func(head []string, lines [][]string) {
		fmt.Fprintf(&b, "\n| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
		for _, l := range lines {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(l, " | "))
		}
	}
	if len(f.Comparisons) > 0 {
		b.WriteString("\n## Beside peers\n")
		var lines [][]string
		for _, c := range f.Comparisons {
			lines = append(lines, comparisonCells(c))
		}
		table(comparisonColumns, lines)
	}
	bySeries := map[string][][]string{}
	var order []string
	for _, r := range rows(f) {
		if bySeries[r.series] == nil {
			order = append(order, r.series)
		}
		bySeries[r.series] = append(bySeries[r.series], r.cells())
	}
	for _, s := range order {
		fmt.Fprintf(&b, "\n## %s\n", s)
		for _, d := range drawn {
			if strings.HasPrefix(d.file, s+".") {
				fmt.Fprintf(&b, "\n![%s](%s.svg)\n", d.title, d.file)
			}
		}
		table(columns, bySeries[s])
	}
	if len(f.Skipped) > 0 {
		b.WriteString("\n## Not run\n\n")
		for _, s := range f.Skipped {
			fmt.Fprintf(&b, "- `%s`: %s\n", s.ID, s.Why)
		}
	}
	if len(f.Versions)+len(f.Peers) > 0 {
		b.WriteString("\n## Versions and settings of peers\n\n")
		for _, k := range slices.Sorted(maps.Keys(f.Versions)) {
			fmt.Fprintf(&b, "- `%s` %s\n", k, f.Versions[k])
		}
		for _, k := range slices.Sorted(maps.Keys(f.Peers)) {
			fmt.Fprintf(&b, "- %s: %s\n", k, f.Peers[k])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
