package prefetch

// What moves claims or stops the handing out: Seek, Pause, a release, the end of
// the subscription.

import (
	"time"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Release asks for a claim back. Its consumer hears Idle when nobody has it in
// hand.
func (b *Buffer) Release(c *Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.phase != claimOpen {
		if c.phase == claimDraining && !c.inHand() {
			c.tell(Idle{})
		}
		return
	}
	c.phase, c.wantedOut = claimDraining, time.Now()
	c.look.Store(true)
	if !c.inHand() {
		c.dissolve()
		c.tell(Idle{})
		b.feed()
	}
}

// Seek moves a claim to an offset; base is that of a batch at or before it, or -1.
// The records in hand finish nothing any more.
func (b *Buffer) Seek(c *Claim, offset, base int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.drop()
	c.sought = offset
	if c.cursor != nil {
		c.look.Store(true)
		c.finished.Store(moved)
	} else {
		c.finished.Store(offset)
	}
	c.began, c.written = offset, nil
	c.lapsed, c.ahead = 0, format.Progress{}
	c.boundary, c.rests, c.asked = base, false, -1
	c.elsewhere = true
	c.seeks++
	b.feed()
	c.tell(RoomMade{})
}

func (b *Buffer) isPaused(p int) bool {
	_, named := b.paused[p]
	return b.group || named != b.all // when all are paused, those named are not
}

// Pause hands out nothing of these partitions, or of all, until Resume.
func (b *Buffer) Pause(partitions ...int) { b.setPaused(true, partitions) }

// Resume ends Pause for these partitions, or for all.
func (b *Buffer) Resume(partitions ...int) { b.setPaused(false, partitions) }

func (b *Buffer) setPaused(paused bool, partitions []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(partitions) == 0 {
		clear(b.paused)
		b.all = paused
	}
	for _, p := range partitions {
		if b.all != paused {
			b.paused[p] = struct{}{}
		} else {
			delete(b.paused, p)
		}
	}
	b.steered()
}

// PauseGroup hands out nothing while the group is paused, whatever Pause and Resume say.
// It reports whether that is new.
func (b *Buffer) PauseGroup(paused bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.group == paused {
		return false
	}
	b.group = paused
	b.steered()
	return true
}

// steered looks at every claim, because others are paused. mu is held.
func (b *Buffer) steered() {
	for _, c := range b.claims {
		if !b.isPaused(c.Partition) {
			c.tell(RoomMade{})
			b.offer(c)
			continue
		}
		c.look.Store(true)
		if !c.inHand() {
			c.dissolve()
			c.look.Store(false)
		}
	}
	b.feed()
}

// Leave ends the handing out: with Leaving what is in hand is finished, with Left
// the subscription is over. The first cause that is not nil is kept.
func (b *Buffer) Leave(phase Phase, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase == Left || b.phase == phase {
		return
	}
	b.phase = phase
	if b.cause == nil {
		b.cause = cause
	}
	for _, c := range b.claims {
		c.look.Store(true)
	}
	b.signal()
}
