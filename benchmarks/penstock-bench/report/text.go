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

// columns are those of a table of runs. Those that are empty in all of its lines are left
// out.
var columns = []column{
	{"messages/s", results.PerSecond, 1}, {"MB/s", results.MBPerSecond, 1}, {"consumed/s", results.Consumed, 1},
	{"CPU µs", results.CPU, 1000}, {"allocations", results.Allocs, 1}, {"wire B", results.WireBytes, 1}, {"fsyncs", results.Fsyncs, 1},
	{"recovery ms", results.RecoveryMS, 1}, {"ready ms", results.ReadyMS, 1}, {"KiB each", results.HeapEach, 1 << 10},
	{"goroutines each", results.Goroutines, 1}, {"etcd requests each", results.RequestsEach, 1},
	{"RSS MiB", results.RSS, 1 << 20}, {"etcd RSS MiB", results.EtcdRSS, 1 << 20},
}

type column struct {
	head   string
	figure results.Figure
	scale  float64
}

var percentiles = []float64{50, 99, 99.9, 99.99}

// tabulate is a table of rows, its head first.
func tabulate(of []row) (out [][]string) {
	head := []string{"scenario", "system", "runs"}
	for _, c := range columns {
		head = append(head, c.head)
	}
	for _, p := range percentiles {
		head = append(head, fmt.Sprintf("p%g µs", p))
	}
	out = append(out, head)
	for _, r := range of {
		out = append(out, r.cells())
	}
	for i := len(head) - 1; i >= 0; i-- {
		empty := !slices.ContainsFunc(out[1:], func(cells []string) bool { return cells[i] != "" })
		for line := range out {
			if empty {
				out[line] = slices.Delete(out[line], i, i+1)
			}
		}
	}
	return out
}

func (r row) cells() []string {
	runs := fmt.Sprint(r.runs)
	if r.failed > 0 {
		runs += fmt.Sprintf(", %d FAILED", r.failed)
	}
	out := []string{r.ID, r.System, runs}
	for _, c := range columns {
		cell := ""
		if v, ok := r.figures[c.figure]; ok && v != 0 {
			cell = fmt.Sprintf("%.4g", v/c.scale)
		}
		out = append(out, cell)
	}
	for _, p := range percentiles {
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
		for _, cells := range tabulate(rows(f)) {
			line(cells)
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

// busy is the load average of a core from which on results are doubted.
const busy = 0.5

// markdown writes the report's text.
func markdown(w io.Writer, f *results.File, drawn []chart) error {
	var b strings.Builder
	m := f.Machine
	fmt.Fprintf(&b, "# Results of %s\n\nThe %s suite of Penstock %s, in %.0f s on %s: %s, %d cores, %.0f GiB, %s/%s, kernel %s, %s.\n",
		f.Began.UTC().Format("2006-01-02"), f.Suite, or(f.Commit, "of an unknown commit"), f.Seconds, "one machine", or(m.CPU, "an unnamed processor"), m.Cores, float64(m.Memory)/(1<<30), m.OS, m.Arch, or(m.Kernel, "unknown"), m.Go)
	if f.Load > busy*float64(m.Cores) {
		fmt.Fprintf(&b, "\nThe machine had other work: its load average was %.1f when the suite began. Its speeds and latencies are worse than those of the same machine at rest, and some ratios are wrong.\n", f.Load)
	}
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
		for _, d := range drawn {
			if strings.HasSuffix(d.file, ".beside") {
				fmt.Fprintf(&b, "\n![%s](%s.svg)\n", d.title, d.file)
			}
		}
		var lines [][]string
		for _, c := range f.Comparisons {
			lines = append(lines, comparisonCells(c))
		}
		table(comparisonColumns, lines)
	}
	bySeries := map[string][]row{}
	var order []string
	for _, r := range rows(f) {
		if bySeries[r.series] == nil {
			order = append(order, r.series)
		}
		bySeries[r.series] = append(bySeries[r.series], r)
	}
	for _, s := range order {
		fmt.Fprintf(&b, "\n## %s\n", s)
		for _, d := range drawn {
			if strings.HasPrefix(d.file, s+".") && !strings.HasSuffix(d.file, ".beside") {
				fmt.Fprintf(&b, "\n![%s](%s.svg)\n", d.title, d.file)
			}
		}
		lines := tabulate(bySeries[s])
		table(lines[0], lines[1:])
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
