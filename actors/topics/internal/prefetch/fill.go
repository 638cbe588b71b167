package prefetch

import (
	"slices"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// What consumers read ahead, and the room there is for it.

// Next is the offset that the claim's consumer is to fetch next, and the base of a
// batch at or before it, or -1; open is false while nothing is to be fetched.
func (b *Buffer) Next(c *Claim) (offset, base int64, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fetches(c) {
		return 0, 0, false
	}
	offset = c.wanted()
	if len(c.queue) > 0 {
		return offset, offset, true // right after a batch
	}
	return offset, c.begins(offset), true
}

// Reserve returns how many bytes a consumer may fetch for a claim now, and counts
// them as promised until Fill. With 0 the consumer hears RoomMade later.
func (b *Buffer) Reserve(c *Claim) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.cfg.MaxFetched - b.bytes - b.room
	switch {
	case !b.fetches(c):
		return 0
	case free < fetchShare && b.bytes+b.room > 0 && (c.held == 0 || c.bytes > 0):
		// Records that rest hold no partition up: theirs may fetch one batch.
		if !slices.Contains(b.hungry, c) {
			b.hungry = append(b.hungry, c)
		}
		return 0
	}
	b.hungry = slices.DeleteFunc(b.hungry, func(x *Claim) bool { return x == c })
	room := min(max(free, fetchShare), fetchBytes)
	b.room += room
	return room
}

// fetches reports whether a claim is to be filled.
func (b *Buffer) fetches(c *Claim) bool {
	return c.phase == claimOpen && !b.isPaused(c.Partition) && !c.rests && (c.window == nil || !c.window.Full() || c.bytes == 0)
}

// Pass tells the next consumer that there is room: the one that was told has no
// use for it.
func (b *Buffer) Pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.feed()
}

// Fill queues what a consumer fetched for a claim, and takes back the room that it
// was promised by Reserve. Batches that do not come next are dropped.
func (b *Buffer) Fill(c *Claim, batches []*format.Batch, promised int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room -= promised
	defer b.feed()
	if !b.fetches(c) {
		return
	}
	taken := 0
	for _, batch := range batches {
		if next := c.wanted(); batch.Base > next || batch.End() <= next {
			continue // fetched before a Seek
		}
		if taken > 0 && taken+len(batch.Raw) > promised {
			break // the index says less than there is
		}
		taken += len(batch.Raw)
		c.queue = append(c.queue, batch)
		c.remember(batch)
		c.bytes += len(batch.Raw)
		b.bytes += len(batch.Raw)
	}
	b.offer(c)
}

// feed tells the first consumer that waits for room that there is some. One that
// cannot use it asks again when that changes.
func (b *Buffer) feed() {
	for len(b.hungry) > 0 && (b.cfg.MaxFetched-b.bytes-b.room >= fetchShare || b.bytes+b.room == 0) {
		c := b.hungry[0]
		b.hungry = b.hungry[1:]
		if b.fetches(c) {
			c.tell(RoomMade{})
			return
		}
	}
}
