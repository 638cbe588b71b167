package report

// Charts of the comparisons, as bars.

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// bySizes are comparisons at several sizes: what their ids begin with, before the size.
var bySizes = []struct{ prefix, file, title, x string }{
	{"pipe.tcp.", "pipe.beside", "Pipes: speed of each, Penstock = 1", "size of a message"},
	{"topic.put.", "topic.beside", "Topics, putting records: speed of each, Penstock = 1", "size of a record"},
}

// beside has a chart of the speed of each system for each kind of comparison by size.
func beside(f *results.File) (all []chart) {
	for _, b := range bySizes {
		speeds := map[string]map[string]float64{} // peer, size: of Penstock's
		sizes := map[string]float64{}
		for _, c := range f.Comparisons {
			rest, ok := strings.CutPrefix(c.ID, b.prefix)
			name, _, vs := strings.Cut(rest, ".vs.")
			size := sizeOf(name)
			ours, theirs := c.Medians()
			if !ok || !vs || size == 0 || c.Less || c.Failed || ours <= 0 || theirs <= 0 {
				continue
			}
			if speeds[c.Peer] == nil {
				speeds[c.Peer] = map[string]float64{}
			}
			speeds[c.Peer][name], sizes[name] = theirs/ours, size
		}
		if len(sizes) == 0 {
			continue
		}
		names := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return int(sizes[a] - sizes[b]) })
		systems := append([]string{"penstock"}, slices.Sorted(maps.Keys(speeds))...)
		bars := newBars(b.title, b.x, "times Penstock's speed", names)
		for i, name := range names {
			values := map[int]float64{0: 1}
			for n, system := range systems {
				if v, ok := speeds[system][name]; ok {
					values[n] = v
				}
			}
			bars.group(i, values)
		}
		bars.legend(systems)
		all = append(all, chart{file: b.file, title: b.title, plot: bars.Plot})
	}
	return all
}

// byNames are series whose runs differ in what they are about, not in a number.
var byNames = []struct {
	series         string
	figure         results.Figure
	divide         float64
	title, x, unit string
}{
	{"recovery", results.RecoveryMS, 1, "Recovery: from a SIGKILL until work goes on", "who is killed", "ms"},
	{"scale", results.HeapEach, 1 << 10, "Scale: memory of each of many, with stacks", "of what", "KiB"},
	{"scale", results.ReadyMS, 1000, "Scale: until all of many are there", "of what", "s"},
}

// named has a chart of bars for each of byNames that there are runs for.
func named(f *results.File) (all []chart) {
	for _, b := range byNames {
		by := map[string][]float64{}
		for _, r := range f.Runs {
			if v, ok := r.Figures[b.figure]; ok && r.Series == b.series && !r.Failed() {
				name := strings.TrimPrefix(r.ID, b.series+".")
				by[name] = append(by[name], v/b.divide)
			}
		}
		if len(by) == 0 {
			continue
		}
		names := slices.Sorted(maps.Keys(by))
		labels := make([]string, len(names))
		for i, name := range names {
			labels[i] = name + "\n" + strconv.FormatFloat(results.Median(by[name]), 'g', 3, 64) + " " + b.unit
		}
		bars := newBars(b.title, b.x, b.unit, labels)
		for i, name := range names {
			bars.group(i, map[int]float64{0: results.Median(by[name])})
		}
		all = append(all, chart{file: b.series + "." + string(b.figure), title: b.title, plot: bars.Plot})
	}
	return all
}

// barChart has groups of bars, a name below each.
type barChart struct {
	*plot.Plot
	groups int
	shown  map[int]*plotter.BarChart // one of each system, for the legend
}

func newBars(title, x, y string, names []string) *barChart {
	p := newPlot(title, x, y)
	p.Y.Min = 0
	p.NominalX(names...)
	b := &barChart{Plot: p, groups: len(names), shown: map[int]*plotter.BarChart{}}
	b.room(0)
	return b
}

// room keeps the outer bars, and so many groups more on the right, within the chart.
func (b *barChart) room(more float64) { b.X.Min, b.X.Max = -0.6, float64(b.groups)-0.4+more }

// group draws the bars of one group side by side: the values of systems by their numbers.
func (b *barChart) group(at int, values map[int]float64) {
	width := min(vg.Points(30), vg.Points(220/float64(b.groups*len(values))))
	for i, n := range slices.Sorted(maps.Keys(values)) {
		bar, err := plotter.NewBarChart(plotter.Values{values[n]}, width)
		if err != nil {
			continue // it is no number
		}
		bar.XMin, bar.Offset = float64(at), width*vg.Length(float64(i)-float64(len(values)-1)/2)
		bar.Color, bar.LineStyle.Width = plotutil.Color(n), 0
		b.Add(bar)
		b.shown[n] = bar
	}
}

// legend names the systems, on the right of the bars.
func (b *barChart) legend(systems []string) {
	b.room(0.35 * float64(b.groups))
	for n, name := range systems {
		if b.shown[n] != nil {
			b.Legend.Add(name, b.shown[n])
		}
	}
}

// sizeOf is a size as ids have it, in bytes; 0 when it is none.
func sizeOf(name string) float64 {
	for unit, scale := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "B": 1} {
		digits, ok := strings.CutSuffix(name, unit)
		if n, err := strconv.ParseUint(digits, 10, 32); ok && err == nil {
			return float64(n) * scale
		}
	}
	return 0
}
