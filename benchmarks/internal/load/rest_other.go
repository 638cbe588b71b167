//go:build !linux

package load

import "time"

// Rest sleeps for d.
func Rest(d time.Duration) { time.Sleep(d) }
