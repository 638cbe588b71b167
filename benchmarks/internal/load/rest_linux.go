package load

import (
	"syscall"
	"time"
)

// Rest sleeps for d. Go's own timers wake up to a millisecond late in a process
// with nothing else to do, which would be taken for latency.
func Rest(d time.Duration) {
	if d > 2*time.Millisecond {
		time.Sleep(d - 2*time.Millisecond)
		return // the caller sleeps the rest
	}
	ts := syscall.NsecToTimespec(int64(d))
	// A signal only ends it early, and being early is looked after.
	_ = syscall.Nanosleep(&ts, nil)
}
