package main

// How wide the terminal is, and texts that fit it.

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// columns is the width of the terminal that f is, else of the variable COLUMNS; 0
// when neither tells.
func (a *app) columns(f any) int {
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
