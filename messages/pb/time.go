package pb

import (
	"math"
	"time"
)

// Times and durations as they come from etcd or a peer, where any number may be.

// The times that Time returns lie within these, so that they can be written in
// four digits of a year in every time zone.
var (
	firstMs = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastMs  = time.Date(9999, 12, 30, 0, 0, 0, 0, time.UTC).UnixMilli()
)

// Time is the time of a field in milliseconds since 1970 UTC; one before the year
// 1 or after 9999 is cut to that.
func Time(unixMs int64) time.Time { return time.UnixMilli(min(max(unixMs, firstMs), lastMs)) }

// Milliseconds is the duration of a field in milliseconds, cut to what a Duration
// can hold: 292 years, either way.
func Milliseconds(ms int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	switch {
	case ms > most:
		return math.MaxInt64
	case ms < -most:
		return math.MinInt64
	default:
		return time.Duration(ms) * time.Millisecond
	}
}
