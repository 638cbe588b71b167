package main

// Help and version.

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func TestHelpOfEveryCommand(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no short text", cmd.CommandPath())
		}
		var out bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := run(t.Context(), args, strings.NewReader(""), &out, io.Discard, os.Getenv); code != cli.ExitDone {
			t.Errorf("%v: %d", args, code)
		}
		for _, part := range []string{"Examples:", "Usage:", "Exit codes:", "3  etcd cannot be reached"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("help of %q lacks %q", cmd.CommandPath(), part)
			}
		}
	}
	walk(root(cli.New(nil, io.Discard, io.Discard, os.Getenv)))
}

// widest is the length of the longest line.
func widest(text string) (n int) {
	for line := range strings.SplitSeq(text, "\n") {
		for part := range strings.SplitSeq(line, "\r") {
			n = max(n, utf8.RuneCountInString(part))
		}
	}
	return n
}

// Promise: help wraps at the width of the terminal and loses no word.
func TestHelpFitsTheTerminal(t *testing.T) {
	t.Parallel()
	help := func(columns string) string {
		var out bytes.Buffer
		env := func(name string) string { return map[string]string{"COLUMNS": columns}[name] }
		if code := run(t.Context(), []string{"recv", "--help"}, strings.NewReader(""), &out, io.Discard, env); code != cli.ExitDone {
			t.Fatalf("help ended with %d", code)
		}
		return out.String()
	}
	whole, narrow := help(""), help("50")
	if n := widest(narrow); n > 60 { // an example's command line and a URL are not broken in words
		t.Errorf("a line of %d in 50 columns:\n%s", n, narrow)
	}
	if strings.Join(strings.Fields(whole), " ") != strings.Join(strings.Fields(narrow), " ") {
		t.Error("the narrow help has other words")
	}
}

func TestVersionInEveryWay(t *testing.T) {
	var outs []string
	for _, args := range [][]string{{"version"}, {"--version"}} {
		var out bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), &out, io.Discard, func(string) string { return "" }); code != cli.ExitDone {
			t.Errorf("%v: %d", args, code)
		}
		outs = append(outs, out.String())
	}
	if outs[0] != outs[1] || !strings.HasPrefix(outs[0], "penstock ") {
		t.Errorf("%q", outs)
	}
}

func TestVersionAsJSON(t *testing.T) {
	t.Parallel()
	out, _ := perform(t, cli.ExitDone, "", "version", "--json")
	var b map[string]any
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "module": "github.com/penstock-io/penstock"} {
		if b[name] != want {
			t.Errorf("%s is %v, want %v", name, b[name], want)
		}
	}
	for _, name := range []string{"version", "commit", "module_version", "modified"} {
		if _, ok := b[name]; !ok {
			t.Errorf("%s is missing: %s", name, out)
		}
	}
}
