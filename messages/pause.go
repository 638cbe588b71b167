package messages

// The pause of a whole group, as it is in etcd.

import (
	"fmt"
	"time"
)

// LongestPause is the longest that a group can be paused.
const LongestPause = 10 * 365 * 24 * time.Hour

// PauseSeconds is how long etcd counts for a pause until then, in whole seconds, rounded
// up. ErrInvalid unless that is in the future, and no further than LongestPause.
func PauseSeconds(until, now time.Time) (int64, error) {
	d := until.Sub(now)
	if d <= 0 || d > LongestPause {
		return 0, fmt.Errorf("pause until %s: it must be in the future, within ten years: %w", until.Format(time.RFC3339), ErrInvalid)
	}
	return int64((d + time.Second - 1) / time.Second), nil
}

// PauseValue is what the key of a pause holds: its end, for people. etcd counts.
func PauseValue(until time.Time) string { return until.UTC().Format(time.RFC3339Nano) }

// PauseUntil reads PauseValue. What does not decode is a pause all the same, with an end
// that nobody knows: the zero Time.
func PauseUntil(value []byte) time.Time {
	until, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil {
		return time.Time{}
	}
	return until.UTC()
}
