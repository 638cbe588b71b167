package cli

// What fits a terminal: texts, and a bar that shows how far a command is.

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// columns is the width of the terminal that f is, else of the variable COLUMNS; 0
// when neither is known.
func (a *App) columns(f any) int {
	if f, ok := f.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	width, _ := strconv.Atoi(a.env("COLUMNS"))
	return max(0, width)
}

// leastColumns is the width below which nothing is broken: it would be no help.
const leastColumns = 20

// wrap breaks the lines of text that are longer than width at spaces, and indents
// what follows as the line was, or as a table's last column. A width of 0 breaks
// none.
func wrap(text string, width int) string {
	if width < leastColumns {
		return text
	}
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		indent := strings.Repeat(" ", indentOf(line, width))
		for len([]rune(line)) > width {
			head := string([]rune(line)[:width+1])
			at := strings.LastIndexByte(head, ' ')
			if at <= len(indent) {
				break // a word that is longer than a line
			}
			out = append(out, strings.TrimRight(line[:at], " "))
			line = indent + strings.TrimLeft(line[at:], " ")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// indentOf is where the last column of a line begins, if that leaves a third of
// width to it, else where the line itself does.
func indentOf(line string, width int) int {
	text := strings.TrimLeft(line, " ")
	begin := len(line) - len(text)
	if gap := strings.LastIndex(text, "  "); begin > 0 && gap > 0 && begin+gap+2 <= width*2/3 {
		return begin + gap + 2
	}
	return begin
}

// Progress is a bar on a terminal, and nothing elsewhere.
type Progress struct{ bar *progressbar.ProgressBar }

// Progress begins a bar on standard error. A total of -1 is unknown.
func (a *App) Progress(total int64, what string) Progress {
	f, ok := a.Err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Progress{}
	}
	return Progress{progressbar.NewOptions64(total, append(barFor(a.columns(f), what), progressbar.OptionSetWriter(f))...)}
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

// At shows that n of the total are done.
func (p Progress) At(n int64) {
	if p.bar != nil {
		_ = p.bar.Set64(n) // a terminal that cannot show it
	}
}

// Stop removes the bar; At shows it again.
func (p Progress) Stop() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
