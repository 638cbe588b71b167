package cli

// How results are printed.

import (
	"encoding/json"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/penstock-io/penstock/messages/pb"
)

// PrintJSON writes v as indented JSON, for people and for programs.
func PrintJSON[T any](w io.Writer, v T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Table aligns what is written to w in columns.
func Table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// Clean returns text of others as it may be shown on a terminal: on one line, with
// plain spaces, and without control characters. Errors of protobuf contain spaces
// that are not plain.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}

// When returns a moment as listings show it: RFC 3339 in UTC, a dash for 0.
func When(unixMs int64) string {
	if unixMs == 0 {
		return "-"
	}
	return pb.Time(unixMs).UTC().Format(time.RFC3339)
}
