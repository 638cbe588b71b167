package topics

// How a record is printed.

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
)

// The verbs of --format.
var recordVerbs = map[byte]lines.EncodeRecord{
	'p': func(dst []byte, r *penstock.Record) []byte { return strconv.AppendInt(dst, int64(r.Partition), 10) },
	'o': func(dst []byte, r *penstock.Record) []byte { return strconv.AppendInt(dst, r.Offset, 10) },
	'k': func(dst []byte, r *penstock.Record) []byte { return append(dst, r.Key...) },
	'v': func(dst []byte, r *penstock.Record) []byte { return append(dst, r.Value...) },
	't': func(dst []byte, r *penstock.Record) []byte { return r.Time().AppendFormat(dst, time.RFC3339Nano) },
	'%': func(dst []byte, _ *penstock.Record) []byte { return append(dst, '%') },
}

const defaultFormat = `%v\n, and of a tombstone "tombstone of" and its key`

// encodeDefault is the format where none was asked for: the value, and of a tombstone, which
// has none, what it is.
func encodeDefault(dst []byte, r *penstock.Record) []byte {
	if r.Tombstone() {
		return append(append(append(dst, "tombstone of "...), cli.Clean(string(r.Key))...), '\n')
	}
	return append(append(dst, r.Value...), '\n')
}

// formatOf is the format that was asked for, or the default.
func formatOf(format string) (lines.EncodeRecord, error) {
	if format == "" {
		return encodeDefault, nil
	}
	return parseFormat(format)
}

// parseFormat reads a format: verbs, backslash escapes as in Go strings, and
// anything else for itself.
func parseFormat(format string) (lines.EncodeRecord, error) {
	var parts []lines.EncodeRecord
	var plain []byte
	endPlain := func() {
		if text := string(plain); text != "" {
			parts = append(parts, func(dst []byte, _ *penstock.Record) []byte { return append(dst, text...) })
		}
		plain = plain[:0]
	}
	for rest := format; rest != ""; {
		switch rest[0] {
		case '\\':
			r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
			if err != nil {
				return nil, cli.Usagef("--format %q: what follows a backslash is not understood at %q", format, rest)
			}
			if multibyte {
				plain = utf8.AppendRune(plain, r)
			} else {
				plain = append(plain, byte(r))
			}
			rest = tail
		case '%':
			if len(rest) < 2 || recordVerbs[rest[1]] == nil {
				return nil, cli.Usagef("--format %q: want %%p, %%o, %%k, %%v, %%t or %%%% at %q", format, rest)
			}
			endPlain()
			parts = append(parts, recordVerbs[rest[1]])
			rest = rest[2:]
		default:
			n := strings.IndexAny(rest, `\%`)
			if n < 0 {
				n = len(rest)
			}
			plain = append(plain, rest[:n]...)
			rest = rest[n:]
		}
	}
	endPlain()
	return func(dst []byte, r *penstock.Record) []byte {
		for _, part := range parts {
			dst = part(dst, r)
		}
		return dst
	}, nil
}

// RecordLine is a record as JSON.
type RecordLine struct {
	lines.Payload
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	Fence     int64     `json:"fence"`
	Attempt   int       `json:"attempt"`
}

func appendRecordJSON(dst []byte, r *penstock.Record) []byte {
	return lines.AppendJSON(dst, RecordLine{
		Payload: lines.PayloadOf(&r.Payload), Partition: r.Partition, Offset: r.Offset,
		Time: r.Time(), Fence: r.Fence, Attempt: r.Attempt,
	})
}
