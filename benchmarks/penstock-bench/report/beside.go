package report

// Charts of the comparisons.

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// bySizes are comparisons at several sizes: what their ids begin with, before the size.
var bySizes = []struct{ prefix, file, title, x, y string }{
	{"pipe.tcp.", "pipe.beside", "Pipes beside peers, by size", "size of a message, bytes", "messages/s"},
	{"topic.put.", "topic.beside", "Topics beside peers, by size", "size of a record, bytes", "records/s"},
}

// beside has a chart of the speed of each system for each kind of comparison by size.
func beside(f *results.File) (all []chart) {
	for _, b := range bySizes {
		by := map[string]map[float64][]float64{} // system, size
		note := func(system string, size float64, values []float64) {
			if by[system] == nil {
				by[system] = map[float64][]float64{}
			}
			by[system][size] = append(by[system][size], values...)
		}
		for _, c := range f.Comparisons {
			rest, ok := strings.CutPrefix(c.ID, b.prefix)
			name, _, vs := strings.Cut(rest, ".vs.")
			size := sizeOf(name)
			if !ok || !vs || size == 0 || c.Less || len(c.Ours) == 0 || len(c.Theirs) == 0 {
				continue
			}
			note("penstock", size, c.Ours)
			note(c.Peer, size, c.Theirs)
		}
		if len(by["penstock"]) < 2 {
			continue // a point is no line
		}
		p := newPlot(b.title, b.x, b.y)
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, doublings{}
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		for i, system := range slices.Sorted(maps.Keys(by)) {
			var s spread
			for _, x := range slices.Sorted(maps.Keys(by[system])) {
				s.add(x, by[system][x]...)
			}
			addLine(p, i, system, s)
		}
		all = append(all, chart{file: b.file, title: b.title, plot: p})
	}
	return all
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
