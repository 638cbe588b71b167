package prefetch

// How far a subscription is behind the ends of its partitions, and for how long.

import (
	"slices"
	"time"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// written is when the batches were written that end there: the oldest of them.
type written struct {
	end int64
	at  time.Time
}

// mostWritten bounds what a claim remembers of batches that are not committed.
const mostWritten = 64

// remember keeps the time of a batch until it is committed. When there are many, every
// second one is kept with its neighbour's time, which is earlier. The buffer's lock is held.
func (c *Claim) remember(b *format.Batch) {
	if n := len(c.written); b.Time == 0 || n > 0 && b.End() <= c.written[n-1].end {
		return
	}
	if len(c.written) == mostWritten {
		for i := range mostWritten / 2 {
			c.written[i] = written{c.written[2*i+1].end, c.written[2*i].at}
		}
		c.written = c.written[:mostWritten/2]
	}
	c.written = append(c.written, written{b.End(), time.Unix(0, b.Time)})
}

// reached is up to where the claim is committed, or where it began.
func (c *Claim) reached() int64 {
	if c.committed >= 0 {
		return c.committed
	}
	return c.began
}

// forget drops the times of what is committed.
func (c *Claim) forget() {
	at := c.reached()
	c.written = slices.DeleteFunc(c.written, func(w written) bool { return w.end <= at })
}

// Lag returns how many records of all claims are not committed, and how old the oldest
// of them is: 0 when there is none. end is where a partition ends, as far as that is
// known. A record that was never fetched is as old as Lag has known of it.
func (b *Buffer) Lag(now time.Time, end func(partition int) (int64, bool)) (records int64, age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, c := range b.claims {
		last, ok := end(p)
		behind := last - c.reached() - c.doneThere
		if !ok || behind <= 0 {
			c.behind = time.Time{}
			continue
		}
		records += behind
		if c.behind.IsZero() {
			c.behind = now
		}
		oldest := c.behind
		if len(c.written) > 0 {
			oldest = c.written[0].at
		}
		age = max(age, now.Sub(oldest))
	}
	return records, age
}
