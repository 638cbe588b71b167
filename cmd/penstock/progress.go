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
	return progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(65*time.Millisecond), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionClearOnFinish())}
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
