package usercode

// How long an end waits for user code that was told to return.

import (
	"sync"
	"time"
)

// Grace is how long an end waits for user code that was told to return and does
// not.
const Grace = 2 * time.Second

// Patience returns Grace.
func Patience() time.Duration { return Grace }

// LastWait is the patience of all functions of one consumption together. It is
// safe for concurrent use.
type LastWait struct {
	mu    sync.Mutex
	since time.Time // the first one's end
}

// Patience returns what is left of Grace since the first call.
func (l *LastWait) Patience() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		l.since = time.Now()
	}
	return max(0, Grace-time.Since(l.since))
}
