package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

func widest(text string) (n int) {
	for line := range strings.SplitSeq(text, "\n") {
		for part := range strings.SplitSeq(line, "\r") {
			n = max(n, utf8.RuneCountInString(part))
		}
	}
	return n
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"as it is", 0, "as it is"},
		{"one two three four five", 20, "one two three four\nfive"},
		{"  one two three four five", 20, "  one two three four\n  five"},
		{"  -a  one two three four", 20, "  -a  one two three\n      four"},
		{"aVeryLongWordThatIsLongerThanALine", 20, "aVeryLongWordThatIsLongerThanALine"},
		{"one\n\ntwo\n", 20, "one\n\ntwo\n"},
	} {
		if got := wrap(test.text, test.width); got != test.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

// Promise: help wraps at the width of the terminal and loses no word.
func TestHelpFitsTheTerminal(t *testing.T) {
	t.Parallel()
	help := func(columns string) string {
		var out bytes.Buffer
		env := func(name string) string { return map[string]string{"COLUMNS": columns}[name] }
		if code := run(t.Context(), []string{"recv", "--help"}, strings.NewReader(""), &out, io.Discard, env); code != exitDone {
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

// Promise: the bar fits 40 columns.
func TestProgressBarFits(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{40, 60, 80, 99, 120} {
		for _, total := range []int64{20_000, 1_000_000, -1} {
			var out bytes.Buffer
			bar := progressbar.NewOptions64(total, append(barFor(columns, "handled"), progressbar.OptionSetWriter(&out), progressbar.OptionThrottle(0))...)
			for _, n := range []int64{1, 10_000, 19_999} {
				_ = bar.Set64(n)
			}
			text := out.String()
			if n := widest(text); n >= columns {
				t.Errorf("a bar of %d in %d columns: %q", n, columns, text)
			}
		}
	}
}

// Promise: Tab completes the words of flags without etcd, and waits for an etcd
// that does not answer no longer than tabPatience.
func TestTabDoesNotWait(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tab := func(args ...string) string {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		env := func(name string) string { return map[string]string{"PENSTOCK_ETCD": silent.Addr().String()}[name] }
		run(ctx, append([]string{"__complete"}, args...), strings.NewReader(""), &out, io.Discard, env)
		if took := time.Since(began); took > tabPatience+2*time.Second { // a busy machine
			t.Errorf("%v took %s", args, took)
		}
		return out.String()
	}
	if got := tab("recv", "a", "b", "--mode", ""); !strings.Contains(got, "at-least-once") || !strings.Contains(got, "at-most-once") {
		t.Errorf("--mode offers %q", got)
	}
	for _, args := range [][]string{{"recv", ""}, {"recv", "orders", ""}, {"send", ""}, {"rm", "orders", ""}, {"sub", ""}, {"sub", "audit", ""}} {
		if got := tab(args...); strings.Contains(got, "orders") {
			t.Errorf("%v offers %q", args, got)
		}
	}
}

// Promise: Tab completes destinations and their groups.
func TestTabOffersDestinationsAndGroups(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "-v")
	r.Close()
	recv := begin(t, nil, nil, "recv", "orders", "billing", "-v")
	recv.says("sender_linked")
	send.says("member_linked")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "recv", ""}, "orders\n"},
		{[]string{"__complete", "rm", "orders", ""}, "billing\n"},
	} {
		if out, _ := perform(t, exitDone, "", test.args...); !strings.Contains(out, test.want) {
			t.Errorf("%v offers %q", test.args, out)
		}
	}
	w.Close()
	send.ends(exitDone)
	recv.signal(os.Interrupt)
	recv.ends(exitDone)
}
