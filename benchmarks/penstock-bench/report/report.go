package report

// A report: its charts and its text, as files.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Join makes one of several files of one machine and one schema: their runs
// become more rounds. It refuses files of different machines.
func Join(files []*results.File) (*results.File, error) {
	if len(files) == 0 {
		return nil, errors.New("report: no file was given")
	}
	sum := *files[0]
	sum.Runs, sum.Comparisons = slices.Clone(sum.Runs), slices.Clone(sum.Comparisons)
	for _, f := range files[1:] {
		if f.Machine != sum.Machine || f.Commit != sum.Commit {
			return nil, fmt.Errorf("report: the files are of different machines or commits (%s and %s): use compare", describe(&sum), describe(f))
		}
		sum.Runs = append(sum.Runs, f.Runs...)
		sum.Seconds += f.Seconds
		for _, c := range f.Comparisons {
			at := slices.IndexFunc(sum.Comparisons, func(o results.Comparison) bool { return o.ID == c.ID })
			if at < 0 {
				sum.Comparisons = append(sum.Comparisons, c)
				continue
			}
			o := &sum.Comparisons[at]
			o.Ours, o.Theirs = slices.Concat(o.Ours, c.Ours), slices.Concat(o.Theirs, c.Theirs)
		}
	}
	return &sum, nil
}

func describe(f *results.File) string {
	return fmt.Sprintf("%s, %d cores, Linux %s, commit %s", f.Machine.CPU, f.Machine.Cores, f.Machine.Kernel, f.Commit)
}

// Write writes REPORT.md and the charts that f has runs for into dir, which it
// makes, and returns the paths.
func Write(dir string, f *results.File) (written []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	drawn, err := draw(dir, f)
	for _, d := range drawn {
		written = append(written, filepath.Join(dir, d.file+".png"), filepath.Join(dir, d.file+".svg"))
	}
	if err != nil {
		return written, err
	}
	path := filepath.Join(dir, "REPORT.md")
	w, err := os.Create(path)
	if err != nil {
		return written, err
	}
	return append(written, path), errors.Join(markdown(w, f, drawn), w.Close())
}
