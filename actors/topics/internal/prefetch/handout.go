package prefetch

// Who has something to hand out, and what becomes of what is in hand.

import (
	"cmp"
	"context"
	"time"
)

// offer puts a claim into the line if it has something to hand out.
func (b *Buffer) offer(c *Claim) {
	if c.ready || !b.presentable(c) {
		return
	}
	c.ready = true
	b.line = append(b.line, c)
	if b.laned {
		b.wakeOne()
		return
	}
	b.signal()
}

func (b *Buffer) presentable(c *Claim) bool {
	if c.phase != claimOpen || c.cursor != nil || b.isPaused(c.Partition) || c.Lease != b.trusted.Load() {
		return false
	}
	if b.laned || b.single(c) {
		return b.hasRecord(c)
	}
	return len(c.queue) > 0 && !c.rests && !c.inHand() && !b.limited(c, c.at())
}

func (b *Buffer) signal() {
	for _, waits := range b.idle {
		close(waits)
	}
	b.idle = nil
	if b.wanted != nil {
		close(b.wanted)
		b.wanted = nil
	}
}

// Renewed looks at every claim again, because the session can be trusted again.
func (b *Buffer) Renewed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.claims {
		b.offer(c)
	}
	b.signal()
}

// take waits for a claim with something to hand out, and returns a cursor over its
// first batch: nil without an error when the subscription was left.
func (b *Buffer) take(ctx context.Context) (*cursor, error) {
	cur, _, err := b.takeWork(ctx, "")
	return cur, err
}

// takeWork is take for a worker on the goroutine with a label: of a claim whose records are
// handed out one at a time it returns one of these.
func (b *Buffer) takeWork(ctx context.Context, label string) (*cursor, *hand, error) {
	for {
		cur, h, wanted, err := b.tryTakeWork(label)
		if cur != nil || h != nil || err != nil || wanted == nil {
			return cur, h, err
		}
		select {
		case <-wanted:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// tryTake is take without waiting: it returns what to wait for.
func (b *Buffer) tryTake() (*cursor, <-chan struct{}, error) {
	cur, _, wanted, err := b.tryTakeWork("")
	return cur, wanted, err
}

// tryTakeWork is takeWork without waiting.
func (b *Buffer) tryTakeWork(label string) (*cursor, *hand, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != Open {
		return nil, nil, nil, b.cause
	}
	for len(b.line) > 0 {
		c := b.line[0]
		b.line = b.line[1:]
		c.ready = false
		if !b.presentable(c) {
			continue
		}
		if b.single(c) {
			if h := b.handOut(c); h != nil {
				h.label = label
				return nil, h, nil, nil
			}
			b.setAlarm(c)
			continue
		}
		batch, at := c.queue[0], c.at()
		cur := &cursor{c: c, batch: batch, rest: batch.Raw, offset: batch.Base, out: -1, from: at, done: at, mark: b.mark(c, at)}
		c.cursor, c.lowest = cur, min(c.lowest, at)
		return cur, nil, nil, nil
	}
	if b.wanted == nil {
		b.wanted = make(chan struct{})
	}
	return nil, nil, b.wanted, nil
}

// put ends a cursor. What was handed out and not finished stays to be
// handed out again.
func (b *Buffer) put(cur *cursor) { b.back(cur, nil) }

// failed ends a cursor whose record at an offset was not handled. The claim rests until
// Wake, for the delay that the handler named or, with 0, for the next one of its retries.
func (b *Buffer) failed(cur *cursor, offset int64, after time.Duration) {
	cur.out = -1
	b.back(cur, func(c *Claim) {
		b.counters.Failed++
		tried, _ := c.ahead.TriedAt(offset)
		tried.Offset = offset
		tried.Attempts++
		after = cmp.Or(after, b.cfg.Retry.Delay(tried.Attempts))
		tried.NotBefore = notBefore(after)
		c.ahead = c.ahead.With(tried)
		c.changed++
		c.rest(after)
	})
}

// notBefore is the end of a delay that begins now, as etcd keeps it.
func notBefore(after time.Duration) time.Time {
	return time.Now().Add(after).Truncate(time.Millisecond).UTC()
}

// restsOn lets a claim rest whose first record had failed when it was claimed, or when its
// timer ended, for as long as is left.
func (b *Buffer) restsOn(c *Claim) {
	if b.cfg.Concurrency > 0 || c.cursor != nil {
		return
	}
	if tried, ok := c.ahead.TriedAt(c.at()); ok {
		if left := time.Until(tried.NotBefore); left > 0 {
			c.rest(left)
		}
	}
}

// released ends a cursor whose record comes again though it has not failed. The claim
// rests, so that who releases everything does not do so without a pause.
func (b *Buffer) released(cur *cursor) {
	cur.out = -1
	b.back(cur, func(c *Claim) { c.rest(b.cfg.Retry.Min) })
}

// rest hands out nothing of a claim until Wake.
func (c *Claim) rest(d time.Duration) {
	c.rests = true
	c.tell(Rests{d})
}

func (b *Buffer) back(cur *cursor, then func(*Claim)) {
	if cur == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := cur.c
	if c.cursor != cur {
		return
	}
	c.cursor = nil
	at := c.at()
	if c.finished.Load() == moved {
		c.finished.Store(at)
	} else {
		if at > cur.from {
			b.counters.Finished += uint64(at - cur.from)
		}
		if then != nil {
			then(c)
		}
	}
	if c.shed(at) {
		c.tell(RoomMade{})
	}
	switch c.phase {
	case claimDraining:
		c.drop()
		c.tell(Idle{})
	case claimOpen:
		if b.isPaused(c.Partition) || c.rests {
			c.drop()
		}
		c.look.Store(false)
		b.offer(c)
		b.tellBehind(c)
	}
	b.feed()
}

// shed drops the batches that end at or before an offset: more than one when a Set had
// them in hand. It reports whether there were any. The buffer's lock is held.
func (c *Claim) shed(at int64) (any bool) {
	for len(c.queue) > 0 && at >= c.queue[0].End() {
		any = true
		c.boundary = c.queue[0].End()
		c.bytes -= len(c.queue[0].Raw)
		c.buffer.bytes -= len(c.queue[0].Raw)
		c.queue[0] = nil
		c.queue = c.queue[1:]
	}
	return any
}

// Wake ends a claim's rest, or that of records that are due.
func (b *Buffer) Wake(c *Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.window != nil {
		c.alarm = time.Time{}
		c.window.Wake(time.Now())
		b.setAlarm(c)
		b.offer(c)
		return
	}
	c.rests = false
	c.tell(RoomMade{})
}
