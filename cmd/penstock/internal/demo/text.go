package demo

// What the demo sends: lines of a text, numbered.

import (
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Both texts are in the public domain: Abraham Lincoln's Gettysburg Address of
// 1863, after the Bliss copy, and William Shakespeare's 18th sonnet of 1609.
var (
	//go:embed text/gettysburg.txt
	gettysburg string
	//go:embed text/sonnet18.txt
	sonnet18 string
)

// readLines returns the lines of a file, or of the texts built in.
func readLines(file string) ([]string, error) {
	text := gettysburg + sonnet18
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil, cli.Usagef("%s is empty", file)
	}
	return lines, nil
}

// numbered is the nth message, from 0: the text is told over and over.
func numbered(lines []string, n int) []byte {
	return fmt.Appendf(nil, "%d %s", n, lines[n%len(lines)])
}

// numberOf reads the number back.
func numberOf(value []byte) (int, error) {
	digits, _, _ := strings.Cut(string(value), " ")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("no message of the demo: %w", err)
	}
	return int(n), nil
}
