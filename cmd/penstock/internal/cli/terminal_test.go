package cli

import (
	"bytes"
	"strings"
	"testing"
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
