package topics

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func TestParseStart(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"earliest":                  "earliest",
		"latest":                    "latest",
		"0":                         "0",
		"9223372036854775807":       "9223372036854775807",
		"2026-11-22T01:02:03Z":      "2026-11-22T01:02:03Z",
		"2026-11-22T01:02:03.5Z":    "2026-11-22T01:02:03.5Z",
		"2026-11-22T02:02:03+01:00": "2026-11-22T01:02:03Z",
		"9999-12-31T23:59:59Z":      "latest", // no record can be that late
		"1600-01-01T00:00:00Z":      "earliest",
		"2562047h":                  "1734-08-13T04:00:00Z",
		"90s":                       "2026-11-22T02:58:30Z",
		"2h30m":                     "2026-11-22T00:30:00Z",
	} {
		if got, err := parseStart("--from", in, now); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "-5m", "9223372036854775808", "yesterday", "2026-11-22", "EARLIEST"} {
		if got, err := parseStart("--from", in, now); cli.CodeOf(err) != cli.ExitUsage || !strings.Contains(err.Error(), "--from") {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}
