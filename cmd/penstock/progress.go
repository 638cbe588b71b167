package main

// How far a command is, for whoever waits for it.

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

// progress begins a bar on standard error. A total of -1 is not known.
func (a *app) progress(total int64, what string) progress {
	f, ok := a.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progress{}
	}
	return progress{progressbar.NewOptions64(total, append(barFor(a.columns(f), what), progressbar.OptionSetWriter(f))...)}
}

// barFor is a bar that fits a terminal of so many columns, 0 when that is not
// known: a narrow one has neither rates nor times.
func barFor(columns int, what string) []progressbar.Option {
	const (
		wide   = 100 // room for the widest bar, counts, rate and times
		counts = 34  // percentage, frame, and counts of nine digits
	)
	opts := []progressbar.Option{
		progressbar.OptionSetDescription(what), progressbar.OptionThrottle(65 * time.Millisecond),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine draws, which ends with no bar
	}
	if columns == 0 || columns >= wide {
		return append(opts, progressbar.OptionShowIts())
	}
	room := max(0, columns-len(what)-counts)
	return append(opts, progressbar.OptionSetWidth(min(room, 40)), progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false))
}

func (p progress) at(n int64) {
	if p.bar != nil {
		_ = p.bar.Set64(n) // a terminal that cannot show it
	}
}

func (p progress) stop() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
