package keeper

// The time of day, as far as it can be believed: records are deleted by it.

import (
	"sync"
	"sync/atomic"
	"time"
)

// Clock follows the machine's clock. A step back is followed at once: it deletes
// later. A step forward is followed when it has stood for stepTrusted: till then the time
// goes on as the step was not made, and somebody who reads the event can mend the clock.
// It is safe for concurrent use.
type Clock struct {
	read    func() reading
	set     atomic.Int64 // by how much a test has set the machine's clock
	stepped func(by time.Duration)

	mu     sync.Mutex
	anchor reading       // when both agreed
	since  time.Duration // when a step forward was seen first, as steady time; 0 for none
	step   time.Duration // how far it was, since then
}

// reading is what the machine says: the time of day, and a time that is never set.
type reading struct {
	wall   time.Time
	steady time.Duration
}

const (
	// stepTrusted is how long a step forward has to stand.
	stepTrusted = 10 * time.Minute
	// stepLeast is what is a step, and not a drift.
	stepLeast = 5 * time.Second
)

// NewClock follows the machine's clock. stepped is told of steps, and must not block.
func NewClock(stepped func(by time.Duration)) *Clock {
	began := time.Now()
	c := &Clock{stepped: stepped}
	c.read = func() reading {
		now := time.Now()
		return reading{now.Round(0).Add(time.Duration(c.set.Load())), 1 + now.Sub(began)}
	}
	c.anchor = c.read()
	return c
}

// Step makes the machine's clock seem to be set by so much, for tests with a real keeper.
func (c *Clock) Step(by time.Duration) { c.set.Add(int64(by)) }

func newClock(read func() reading, stepped func(time.Duration)) *Clock {
	return &Clock{read: read, stepped: stepped, anchor: read()}
}

// Now is the time of day.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.read()
	believed := c.anchor.wall.Add(now.steady - c.anchor.steady)
	by := now.wall.Sub(believed)
	switch {
	case by < stepLeast:
		if by < -stepLeast {
			c.stepped(by)
		}
		c.anchor, c.since = now, 0
		return now.wall
	case c.since == 0 || by > c.step+stepLeast: // one more, which has not stood yet
		c.since, c.step = now.steady, by
		c.stepped(by)
	case now.steady-c.since >= stepTrusted:
		c.anchor, c.since = now, 0
		return now.wall
	}
	c.step = min(c.step, by)
	return believed
}
