package prefetch

// How records of one partition reach several handlers at the same time.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/lanes"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// MostAtOnce is how many records of one partition are taken in and not finished: handed
// out, resting, or parked behind another one of their key. It bounds what a commit says
// of a partition.
const MostAtOnce = 1024

// hand is a worker's hold on one record. The buffer's lock guards it.
type hand struct {
	c      *Claim
	w      *lanes.Window
	e      *lanes.Entry
	cancel context.CancelCauseFunc // of the handler; nil before it begins
	label  string                  // of the handler's goroutine
	single bool                    // it is handed out alone, and its death is noted
	landed bool                    // a transaction has finished it
}

// intake is the batch of a claim whose records are being taken into its window.
type intake struct {
	batch *format.Batch
	held  *lanes.Held
	rest  []byte
	next  int64 // the offset of what rest begins with
}

// inHand reports whether a reader has a record of it.
func (c *Claim) inHand() bool { return c.cursor != nil || len(c.hands) > 0 }

// works says that workers read from now on, whether one by one.
func (b *Buffer) works(laned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setReader(true, laned)
}

func (b *Buffer) setReader(working, laned bool) {
	if b.working == working && b.laned == laned {
		return
	}
	b.working, b.laned = working, laned
	for _, c := range b.claims {
		if c.window != nil && !c.inHand() {
			c.dissolve()
		}
		b.offer(c)
	}
}

// dissolve gives back what a claim has read ahead, and keeps what is known of it.
func (c *Claim) dissolve() {
	if w := c.window; w != nil {
		base := c.begins(w.Floor())
		c.ahead = c.progress(w.Floor())
		c.drop()
		c.boundary = base
		c.tell(RoomMade{})
		return
	}
	c.drop()
}

// progress is what is known of a claim's records from an offset on.
func (c *Claim) progress(offset int64) format.Progress {
	if c.window == nil {
		return c.ahead.From(offset)
	}
	p := c.window.Progress()
	p.Takeovers, p.Careful = c.ahead.Takeovers, c.ahead.Careful
	return p
}

// standing is progress as it is to be committed with an offset: what was said of the owners
// before holds until the offset moves, and until it has passed what they had.
func (c *Claim) standing(offset int64) format.Progress { return c.stood(offset, c.progress(offset)) }

func (c *Claim) stood(offset int64, p format.Progress) format.Progress {
	if offset > c.claimedAt {
		p.Takeovers = 0
	}
	if offset >= p.Careful {
		p.Careful = 0
	}
	return p
}

// hasRecord reports whether a record of a claim can be handed out, or taken in.
func (b *Buffer) hasRecord(c *Claim) bool {
	if len(c.hands) > 0 && (c.window == nil || b.single(c)) {
		return false
	}
	if c.window == nil {
		return len(c.queue) > 0 && !c.rests && !b.limited(c, c.at())
	}
	return c.window.Ready() || b.admits(c)
}

func (b *Buffer) admits(c *Claim) bool {
	return len(c.queue) > 0 && !c.rests && !c.window.Full() && !b.limited(c, c.window.Next())
}

// takeHand waits for a record: nil without an error when the subscription was left.
func (b *Buffer) takeHand(ctx context.Context, label string) (*hand, error) {
	for {
		h, waits, err := b.tryTakeHand(label)
		if h != nil || err != nil || waits == nil {
			return h, err
		}
		select {
		case <-waits:
		case <-ctx.Done():
			b.stopWaiting(waits)
			return nil, context.Cause(ctx)
		}
	}
}

// tryTakeHand is takeHand without waiting: it returns what to wait for.
func (b *Buffer) tryTakeHand(label string) (*hand, chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != Open {
		return nil, nil, b.cause
	}
	for len(b.line) > 0 {
		c := b.line[0]
		b.line = b.line[1:]
		c.ready = false
		if !b.presentable(c) {
			continue
		}
		h := b.handOut(c)
		b.setAlarm(c)
		b.offer(c) // behind the others
		if h != nil {
			h.label = label
			return h, nil, nil
		}
	}
	waits := make(chan struct{})
	b.idle = append(b.idle, waits)
	return nil, waits, nil
}

// wakeOne lets one worker look again.
func (b *Buffer) wakeOne() {
	if n := len(b.idle); n > 0 {
		close(b.idle[n-1])
		b.idle = b.idle[:n-1]
	}
}

// stopWaiting takes a worker back that waits no more. One that was woken has another
// woken in its place.
func (b *Buffer) stopWaiting(waits chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.idle, waits); i >= 0 {
		b.idle = slices.Delete(b.idle, i, i+1)
		return
	}
	b.wakeOne()
}

// handOut takes records of a claim in until one can be handed out, or none is left.
func (b *Buffer) handOut(c *Claim) *hand {
	if c.window == nil {
		at := c.at()
		c.lowest = min(c.lowest, at)
		order := b.cfg.Order
		if !b.laned {
			order = lanes.Strict
		}
		c.window = lanes.New(order, MostAtOnce, at, c.ahead.From(at))
	}
	w := c.window
	defer func() { c.finished.Store(w.Floor()) }()
	for {
		e := w.Take()
		switch {
		case e == nil && !b.admits(c):
			return nil
		case e == nil:
			b.admit(c)
		case e.Record.Expired():
			b.countLapsed(c, &e.Record)
			b.finished(c, w, e)
		default:
			h := &hand{c: c, w: w, e: e}
			if c.hands == nil {
				c.hands = make(map[*hand]struct{})
			}
			c.hands[h] = struct{}{}
			e.Record.Attempt, e.Record.Deaths = e.Attempts+1, e.Deaths
			if b.single(c) {
				h.mayDie()
			}
			c.handed.Store(max(c.handed.Load(), e.Record.Offset+1))
			return h
		}
	}
}

// admit takes the next record of a claim's first batch into its window.
func (b *Buffer) admit(c *Claim) {
	in, batch := &c.intake, c.queue[0]
	if in.batch != batch {
		*in = intake{batch: batch, held: &lanes.Held{Base: batch.Base, Bytes: len(batch.Raw)}, rest: batch.Raw, next: batch.Base}
	}
	rec := messages.Record{Topic: b.cfg.Topic, Partition: c.Partition, Offset: in.next, Fence: c.Fence}
	n, err := messages.ConsumeRecord(in.rest, &rec.Payload)
	if err != nil {
		c.rests = true
		c.tell(Stalled{in.next, fmt.Errorf("topic %q, partition %d, offset %d: %w", b.cfg.Topic, c.Partition, in.next, err)})
		return
	}
	if rec.UnixNano == 0 {
		rec.UnixNano = batch.Time
	}
	b.bound(&rec.Payload)
	in.rest = in.rest[n:]
	in.next++
	switch {
	case rec.Offset < c.window.Next():
	case rec.Expired() && !c.ahead.IsDone(rec.Offset):
		b.countLapsed(c, &rec)
		b.counters.Finished++
		c.window.Pass(rec.Offset)
		c.changed++
	default:
		c.window.Admit(rec, in.held)
	}
	if len(in.rest) > 0 {
		return
	}
	c.boundary = batch.End()
	c.queue[0] = nil
	c.queue = c.queue[1:]
	c.bytes -= in.held.Bytes
	if in.held.InUse() {
		c.held += in.held.Bytes
	} else {
		b.bytes -= in.held.Bytes
	}
	c.intake = intake{}
	c.tell(RoomMade{})
}

// finished notes that an entry that was handed out is finished.
func (b *Buffer) finished(c *Claim, w *lanes.Window, e *lanes.Entry) {
	full := w.Full()
	b.free(c, w.Finish(e))
	b.counters.Finished++
	c.changed++
	c.finished.Store(w.Floor())
	if full {
		c.tell(RoomMade{})
	}
}

// free gives the bytes of a batch back that nobody needs any more.
func (b *Buffer) free(c *Claim, h *lanes.Held) {
	if h == nil || h == c.intake.held {
		return
	}
	c.held -= h.Bytes
	b.bytes -= h.Bytes
	c.tell(RoomMade{})
	b.feed()
}

// setAlarm has the consumer told when the next record's rest is over.
func (b *Buffer) setAlarm(c *Claim) {
	if c.window == nil {
		return
	}
	at := c.window.Alarm()
	if at.IsZero() || !c.alarm.IsZero() && !at.Before(c.alarm) {
		return
	}
	c.alarm = at
	c.tell(Rests{max(0, time.Until(at))})
}

// back ends a hold on a record. then is what becomes of that, unless the claim was lost or
// moved meanwhile.
func (h *hand) back(then func(b *Buffer, w *lanes.Window)) {
	c := h.c
	b := c.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(c.hands, h)
	if h.w == c.window && c.phase != claimOver {
		h.lives()
		then(b, h.w)
	}
	switch {
	case c.phase == claimDraining && !c.inHand():
		c.dissolve()
		c.tell(Idle{})
		b.feed()
	case c.phase == claimOpen:
		if c.window != nil && !c.inHand() && (b.isPaused(c.Partition) || !b.laned && !b.single(c)) {
			c.dissolve()
		}
		if !c.inHand() {
			c.look.Store(false)
		}
		b.setAlarm(c)
		b.offer(c)
		b.tellBehind(c)
	}
}

func (h *hand) settled() {
	h.back(func(b *Buffer, w *lanes.Window) {
		if !h.landed {
			b.finished(h.c, w, h.e)
		}
	})
}

func (h *hand) returned() {
	h.back(func(_ *Buffer, w *lanes.Window) { w.GiveBack(h.e) })
}

func (h *hand) released() {
	h.back(func(b *Buffer, w *lanes.Window) { b.free(h.c, w.Rest(h.e, notBefore(b.cfg.Retry.Min))) })
}

func (h *hand) failed(_ int64, after time.Duration) {
	h.back(func(b *Buffer, w *lanes.Window) {
		b.counters.Failed++
		h.e.Attempts++
		if after == 0 {
			after = b.cfg.Retry.Delay(h.e.Attempts)
		}
		b.free(h.c, w.Rest(h.e, notBefore(after)))
		h.c.changed++
	})
}

// workLanes handles one record after the other until the subscription or ctx ends.
func (c *Consumption) workLanes(ctx context.Context, label string) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := c.buffer.takeHand(ctx, label)
		if h == nil {
			return err
		}
		c.handleOne(ctx, h)
	}
}

// handleOne handles one record.
func (c *Consumption) handleOne(ctx context.Context, h *hand) {
	handling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b, rec := c.buffer, h.e.Record
	b.mu.Lock()
	h.cancel = cancel
	if h.c.phase == claimOver {
		cancel(messages.ErrFenced)
	}
	b.mu.Unlock()
	returned := false
	defer func() {
		if !returned { // runtime.Goexit in the handler, or in that of dead letters
			c.told(rec, 0, usercode.ErrGoexit)
			h.failed(rec.Offset, 0)
		}
	}()
	if c.diedOver(rec) {
		c.fail(ctx, h, rec, errDied)
		returned = true
		return
	}
	if !c.persists(handling, h) {
		returned = true
		return
	}
	began := b.inside.Begins()
	err := c.callOne(handling, rec)
	b.inside.Took(began, usercode.TimedRecords, b.cfg.Topic, b.cfg.Group)
	switch {
	case err == nil:
		b.handled(1)
		h.settled()
	case handling.Err() != nil:
		h.returned() // what was cut short or lost has not failed
	default:
		c.fail(ctx, h, rec, err)
	}
	returned = true
}

// callOne runs the handler for one record, which is a batch of one for a handler of batches.
func (c *Consumption) callOne(ctx context.Context, rec messages.Record) error {
	if c.most == 0 {
		return c.call(ctx, rec)
	}
	return c.protect(rec, func() error {
		_, err := c.batches(ctx, []messages.Record{rec})
		return err
	})
}
