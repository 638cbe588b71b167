package socket

// A peer that takes no bytes.

import (
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/transport/carrier"
)

// stall watches over writes: a peer may beat and take no bytes. It looks once
// for each beat, so that writing itself reads no clock.
type stall struct {
	mu sync.Mutex
	// seen is how the write stood at since; watching is false while nobody
	// writes.
	watching bool
	seen     standingWrite
	since    time.Duration
}

// standingWrite is what changes while a write gets on: writes that are over, and
// the bytes in the kernel that the peer has not taken.
type standingWrite struct {
	moved  uint64
	unsent int
}

// unknownUnsent is where the system does not say what the peer has taken. A slow
// peer may then look stuck for long, and is given blindBeats times the time of
// death.
const (
	unknownUnsent = -1
	blindBeats    = 10
)

// over notes that nobody writes.
func (s *stall) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching = false
}

// look notes how a write stands and returns for how long it has stood so.
func (s *stall) look(now time.Duration, w standingWrite) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watching || w != s.seen {
		s.watching, s.seen, s.since = true, w, now
	}
	return now - s.since
}

// watch ends the connection when somebody writes and nothing has moved for the
// time of death.
func (c *Conn) watch() {
	w := standingWrite{moved: c.w.moved.Load()}
	if s, ok := c.w.c.(carrier.Counted); ok {
		w.unsent = s.Unsent()
	} else {
		w.unsent = unsent(c.w.c)
	}
	limit := c.cfg.patience()
	if w.unsent == unknownUnsent {
		limit *= blindBeats
	}
	if stood := c.stall.look(c.w.since(), w); stood >= limit {
		_ = c.w.end(fmt.Errorf("%w: it took no bytes for %v", ErrPeerStuck, stood.Round(time.Millisecond)))
	}
}
