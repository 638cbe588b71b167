package report

// The charts.

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// chart is one picture.
type chart struct {
	file, title string
	plot        *plot.Plot
}

// byFactor is a chart of a series: a figure over the setting that the series varies.
type byFactor struct {
	series, factor string
	figure         results.Figure
	title, x, y    string
	log            bool // the y axis
}

var byFactors = []byFactor{
	{"pipe.size", "size", results.PerSecond, "Pipes: messages per second by size", "size of a message, bytes", "messages/s", true},
	{"pipe.size", "size", results.MBPerSecond, "Pipes: payload by size", "size of a message, bytes", "MB/s", true},
	{"pipe.size", "size", results.CPU, "Pipes: cost of a message by size", "size of a message, bytes", "CPU, ns", true},
	{"pipe.members", "members", results.PerSecond, "Pipes: members of one group", "members", "messages/s", false},
	{"pipe.groups", "groups", results.PerSecond, "Pipes: groups, each of which gets every message", "groups", "messages/s", true},
	{"pipe.size", "size", results.WireBytes, "Pipes: bytes on the wire of a message by size", "size of a message, bytes", "bytes", true},
	{"topic.size", "size", results.PerSecond, "Topics: records per second by size", "size of a record, bytes", "records/s", true},
	{"topic.size", "size", results.CPU, "Topics: cost of a record by size, with etcd's", "size of a record, bytes", "CPU, ns", true},
	{"topic.size", "size", results.Fsyncs, "Topics: fsyncs of etcd for each record by size", "size of a record, bytes", "fsyncs", true},
	{"topic.partitions", "partitions", results.PerSecond, "Topics: records per second by partitions", "partitions", "records/s", false},
}

// draw writes each chart that f has runs for, twice.
func draw(dir string, f *results.File) (drawn []chart, err error) {
	var all []chart
	for _, b := range byFactors {
		if c, ok := b.chart(f); ok {
			all = append(all, c)
		}
	}
	all = append(all, beside(f)...)
	all = append(all, named(f)...)
	all = append(all, latencies(f)...)
	all = append(all, sweeps(f)...)
	for _, c := range all {
		c.plot.Add(plotter.NewGrid())
		for _, kind := range []string{".png", ".svg"} {
			if err := c.plot.Save(16*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, c.file+kind)); err != nil {
				return drawn, fmt.Errorf("draw %s: %w", c.file+kind, err)
			}
		}
		drawn = append(drawn, c)
	}
	return drawn, nil
}

// spread is the median of several runs, with the least and the most of them.
type spread struct {
	at      plotter.XYs
	between plotter.YErrors
}

func (s spread) Len() int                         { return len(s.at) }
func (s spread) XY(i int) (float64, float64)      { return s.at.XY(i) }
func (s spread) YError(i int) (low, high float64) { return s.between[i].Low, s.between[i].High }
func (s *spread) add(x float64, values ...float64) {
	m := results.Median(values)
	s.at = append(s.at, plotter.XY{X: x, Y: m})
	s.between = append(s.between, struct{ Low, High float64 }{m - slices.Min(values), slices.Max(values) - m})
}

func (b byFactor) chart(f *results.File) (chart, bool) {
	by := map[string]map[float64][]float64{} // system, factor
	for _, r := range f.Runs {
		v, ok := r.Figures[b.figure]
		if r.Series != b.series || r.Failed() || !ok || b.log && v <= 0 {
			continue
		}
		if by[r.System] == nil {
			by[r.System] = map[float64][]float64{}
		}
		x := r.Number(b.factor)
		by[r.System][x] = append(by[r.System][x], v)
	}
	if len(by) == 0 {
		return chart{}, false
	}
	p := newPlot(b.title, b.x, b.y)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, doublings{}
	if b.log {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else {
		p.Y.Min = 0
	}
	for i, system := range slices.Sorted(maps.Keys(by)) {
		var s spread
		for _, x := range slices.Sorted(maps.Keys(by[system])) {
			s.add(max(x, 1), by[system][x]...)
		}
		addLine(p, i, system, s)
	}
	if p.X.Min == p.X.Max { // one point: an axis needs two ends
		p.X.Min, p.X.Max = p.X.Min/2, p.X.Max*2
	}
	return chart{file: b.series + "." + string(b.figure), title: b.title, plot: p}, true
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top, p.Legend.Left = true, false
	p.BackgroundColor = color.White
	return p
}

func addLine(p *plot.Plot, i int, name string, s spread) {
	line, points, err := plotter.NewLinePoints(s.at)
	if err != nil {
		return // no point, or none that is a number
	}
	line.Color, points.Color, points.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
	p.Add(line, points)
	if bars, err := plotter.NewYErrorBars(s); err == nil {
		bars.Color = plotutil.Color(i)
		p.Add(bars)
	}
	p.Legend.Add(name, line, points)
}

// doublings marks an axis at powers of two, or at each other one, and so on.
type doublings struct{}

func (doublings) Ticks(low, high float64) (ticks []plot.Tick) {
	from, to := int(math.Ceil(math.Log2(low)-1e-9)), int(math.Floor(math.Log2(high)+1e-9))
	every := max(1, (to-from+1)/9+1)
	for n := from; n <= to; n++ {
		t := plot.Tick{Value: math.Exp2(float64(n))}
		if (n-from)%every == 0 {
			t.Label = quantity(t.Value)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// quantity is a power of two in short.
func quantity(v float64) string {
	switch {
	case v >= 1<<20:
		return strconv.FormatFloat(v/(1<<20), 'g', 4, 64) + "Mi"
	case v >= 1<<10:
		return strconv.FormatFloat(v/(1<<10), 'g', 4, 64) + "Ki"
	default:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
}

// latencies has a chart for each series of runs at a rate: the latency up to a
// percentile, over 1/(1-percentile), so that each nine takes the same room.
func latencies(f *results.File) (all []chart) {
	series := map[string]map[string]*results.Histogram{} // by series, and what a line is
	for _, r := range f.Runs {
		if r.Failed() {
			continue
		}
		for what, h := range r.Latencies {
			if series[r.Series] == nil {
				series[r.Series] = map[string]*results.Histogram{}
			}
			name := r.System + " " + r.ID[min(len(r.ID), len(r.Series)+1):] + ", " + what
			if series[r.Series][name] == nil {
				series[r.Series][name] = results.NewHistogram()
			}
			series[r.Series][name].Merge(h)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(series)) {
		p := newPlot("Latency by percentile: "+s, "percentile", "latency, µs")
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, nines{}
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		p.Legend.Left = true
		for i, name := range slices.Sorted(maps.Keys(series[s])) {
			h := series[s][name]
			var at plotter.XYs
			for x := 1.0; x <= 1e5 && x <= float64(h.Count()); x *= math.Pow(10, 0.1) {
				at = append(at, plotter.XY{X: x, Y: max(1, h.At(100*(1-1/x)))})
			}
			line, err := plotter.NewLine(at)
			if err != nil {
				continue // nothing was timed
			}
			line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
			p.Add(line)
			p.Legend.Add(name, line)
		}
		if p.X.Max > p.X.Min {
			all = append(all, chart{file: s + ".latency", title: "Latency by percentile: " + s, plot: p})
		}
	}
	return all
}

// nines marks an axis of 1/(1-percentile).
type nines struct{}

func (nines) Ticks(low, high float64) (ticks []plot.Tick) {
	for _, t := range []plot.Tick{{Value: 1, Label: "0"}, {Value: 2, Label: "50"}, {Value: 10, Label: "90"}, {Value: 100, Label: "99"}, {Value: 1e3, Label: "99.9"}, {Value: 1e4, Label: "99.99"}, {Value: 1e5, Label: "99.999"}} {
		if t.Value >= low*0.99 && t.Value <= high*1.01 {
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// sweeps has a chart for each series of rates: latencies over the rate.
func sweeps(f *results.File) (all []chart) {
	type line struct {
		what    string
		percent float64
	}
	lines := []line{{"accepted", 99}, {"committed", 99}, {"handled", 50}, {"handled", 99}}
	series := map[string][]results.Run{}
	for _, r := range f.Runs {
		if r.Figures[results.Offered] > 0 && !r.Failed() {
			series[r.Series] = append(series[r.Series], r)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(series)) {
		p := newPlot("Latency by rate: "+s, "messages/s offered", "latency, µs")
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		p.Legend.Left = true
		for i, l := range lines {
			var points spread
			by := map[float64][]float64{}
			for _, r := range series[s] {
				if h := r.Latencies[l.what]; h != nil && h.Count() > 0 {
					by[r.Figures[results.Offered]] = append(by[r.Figures[results.Offered]], max(1, h.At(l.percent)))
				}
			}
			for _, x := range slices.SortedFunc(maps.Keys(by), cmp.Compare[float64]) {
				points.add(x, by[x]...)
			}
			if points.Len() > 0 { // a pipe commits nothing
				addLine(p, i, fmt.Sprintf("%s, p%g", l.what, l.percent), points)
			}
		}
		if p.X.Max > p.X.Min {
			all = append(all, chart{file: s + ".sweep", title: "Latency by rate: " + s, plot: p})
		}
	}
	return all
}
