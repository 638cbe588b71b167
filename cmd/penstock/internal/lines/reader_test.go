package lines

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock"
)

// linesOf reads everything.
func linesOf(r io.Reader, max int) (lines []string, err error) {
	in := NewReader(r, max)
	for {
		line, err := in.Next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, string(line))
	}
}

func TestLineReader(t *testing.T) {
	big := strings.Repeat("y", 150_000)
	for _, c := range []struct {
		in   string
		max  int
		want []string
		err  error
	}{
		{"", 9, nil, nil},
		{"\n", 9, []string{""}, nil},
		{"a\nb", 9, []string{"a", "b"}, nil},
		{"a\r\n\nb\n", 9, []string{"a\r", "", "b"}, nil},
		{big + "\nz", 150_000, []string{big, "z"}, nil},
		{"abc\nabcd\n", 3, []string{"abc"}, penstock.ErrTooLarge},
		{"abc", 3, []string{"abc"}, nil},
		{big, 149_999, nil, penstock.ErrTooLarge},
	} {
		got, err := linesOf(strings.NewReader(c.in), c.max)
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%.20q: %d lines, %v", c.in, len(got), err)
		}
	}
	broken := io.MultiReader(strings.NewReader("one\ntw"), failingReader{})
	if got, err := linesOf(broken, 9); len(got) != 1 || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken stream: %v, %v", got, err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), 3)
	f.Add([]byte("\r\n\x00\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, max int) {
		max = max&0xff + 1
		var want []string
		tooLong := false
		for l := range bytes.SplitSeq(bytes.TrimSuffix(in, []byte("\n")), []byte("\n")) {
			if tooLong = len(l) > max; tooLong {
				break
			}
			want = append(want, string(l))
		}
		if len(in) == 0 {
			want = nil
		}
		got, err := linesOf(bytes.NewReader(in), max)
		if !slices.Equal(got, want) || errors.Is(err, penstock.ErrTooLarge) != tooLong {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	})
}
