package topics

// Where to begin reading, as flags spell it.

import (
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// startHelp is for the flags that take a start.
const startHelp = "earliest, latest, an offset, a time (RFC 3339), or how long ago (such as 90s or 2h)"

// parseStart reads the value of a flag; now is what a duration is before.
func parseStart(flag, s string, now time.Time) (penstock.StartAt, error) {
	switch s {
	case "earliest":
		return penstock.FromEarliest(), nil
	case "latest":
		return penstock.FromLatest(), nil
	}
	if offset, err := strconv.ParseInt(s, 10, 64); err == nil && offset >= 0 {
		return penstock.FromOffset(offset), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return penstock.FromTime(t), nil
	}
	if ago, err := time.ParseDuration(s); err == nil && !strings.HasPrefix(s, "-") {
		return penstock.FromTime(now.Add(-ago)), nil
	}
	return penstock.StartAt{}, cli.Usagef("%s %q: want %s", flag, s, startHelp)
}
