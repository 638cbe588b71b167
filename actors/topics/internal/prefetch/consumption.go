package prefetch

// How records reach a handler: workers that share the claims.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// Consumption is one run of Consume: workers that each have one claim in hand at a
// time. It is safe for concurrent use.
type Consumption struct {
	ctx     context.Context
	buffer  *Buffer
	most    int // records of one call; 0 calls handler
	handler messages.RecordHandler
	batches messages.RecordsHandler
	running atomic.Int64
	over    chan struct{}
	once    sync.Once
	usercode.LastWait
}

// NewConsumption is a consumption that ends with ctx or with the buffer.
func NewConsumption(ctx context.Context, b *Buffer, h messages.RecordHandler) *Consumption {
	b.works(b.cfg.Concurrency > 0)
	return &Consumption{ctx: ctx, buffer: b, handler: h, over: make(chan struct{})}
}

// NewBatches is a consumption that handles up to most records of a partition at
// once.
func NewBatches(ctx context.Context, b *Buffer, most int, h messages.RecordsHandler) *Consumption {
	b.works(false)
	return &Consumption{ctx: ctx, buffer: b, most: most, batches: h, over: make(chan struct{})}
}

// Context ends it from outside.
func (c *Consumption) Context() context.Context { return c.ctx }

// Ended is called by each worker that is over; the last one ends the consumption.
func (c *Consumption) Ended() {
	if c.running.Add(-1) == 0 {
		c.Finish()
	}
}

// SetWorkers says how many workers there are to end.
func (c *Consumption) SetWorkers(n int) { c.running.Store(int64(n)) }

// Over is closed when the consumption is over.
func (c *Consumption) Over() <-chan struct{} { return c.over }

// Finish ends the consumption though workers may have yet to end.
func (c *Consumption) Finish() { c.once.Do(func() { close(c.over) }) }

// Work is one worker: it handles one batch after the other until the subscription
// or ctx ends.
func (c *Consumption) Work(ctx context.Context) error {
	code := c.buffer.Run("a handler")
	defer c.buffer.inside.Enter(code)()
	ctx, label, restore := c.buffer.inside.Label(code.Mark(ctx), c.buffer.cfg.Topic+"/"+c.buffer.cfg.Group)
	defer restore()
	if c.most == 0 && c.buffer.cfg.Concurrency > 0 {
		return c.workLanes(ctx, label)
	}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cur, h, err := c.buffer.takeWork(ctx, label)
		if h != nil {
			c.handleOne(ctx, h)
			continue
		}
		if cur == nil {
			return err
		}
		if err := cur.skip(); err != nil {
			c.buffer.stall(cur, err)
			continue
		}
		c.handle(ctx, cur, label)
	}
}

// handle handles the records of one batch in order, as far as they succeed. label is that
// of the goroutine.
func (c *Consumption) handle(ctx context.Context, cur *cursor, label string) {
	handling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := c.buffer
	b.mu.Lock()
	cur.cancel, cur.label = cancel, label
	if cur.c.phase == claimOver {
		cancel(messages.ErrFenced)
	}
	b.mu.Unlock()
	returned := false
	var rec messages.Record
	defer func() {
		if !returned { // runtime.Goexit in the handler
			c.told(rec, 0, usercode.ErrGoexit)
			b.failed(cur, rec.Offset, 0)
		}
	}()
	for {
		ok, err := cur.next(&rec)
		switch {
		case err != nil:
			b.stall(cur, err)
		case !ok || ctx.Err() != nil:
			cur.returned()
		default:
			began := b.inside.Begins()
			rec, err = c.attempt(handling, cur, rec)
			b.inside.Took(began, usercode.TimedRecords, b.cfg.Topic, b.cfg.Group)
			if err == nil {
				continue
			}
			if handling.Err() != nil {
				cur.returned() // what was cut short or lost has not failed
			} else {
				c.fail(ctx, cur, rec, err)
			}
		}
		returned = true
		return
	}
}

// attempt has a record handled, or a batch that begins with it. With an error it
// returns the record that was not handled; those before it are finished.
func (c *Consumption) attempt(ctx context.Context, cur *cursor, rec messages.Record) (messages.Record, error) {
	if c.most == 0 {
		err := c.call(ctx, rec)
		if err == nil {
			c.buffer.handled(1)
		}
		return rec, err
	}
	batch := cur.more([]messages.Record{rec}, c.most)
	handled := 0
	err := c.protect(rec, func() (err error) {
		handled, err = c.batches(ctx, batch)
		return err
	})
	if err == nil {
		c.buffer.handled(len(batch))
		return rec, nil
	}
	if handled = min(max(handled, 0), len(batch)-1); handled > 0 {
		cur.out = batch[handled-1].Offset
		cur.finish()
		c.buffer.handled(handled)
	}
	rec = batch[handled]
	cur.out = rec.Offset
	return rec, err
}

// holding is what a worker has in hand: a cursor, or a record. Each method ends it.
type holding interface {
	settled()  // the record is finished
	returned() // it was not handled, and has not failed
	released() // the same, and it comes again after a while
	// failed: the record at an offset has failed, and comes again after the delay that was
	// asked for or, with 0, after the next one of its retries.
	failed(offset int64, after time.Duration)
}

func (cur *cursor) settled() {
	cur.finish()
	cur.c.buffer.put(cur)
}

func (cur *cursor) returned() {
	cur.out = -1
	cur.c.buffer.put(cur)
}

func (cur *cursor) released() { cur.c.buffer.released(cur) }

func (cur *cursor) failed(offset int64, after time.Duration) { cur.c.buffer.failed(cur, offset, after) }

// fail decides about a record that was not handled.
func (c *Consumption) fail(ctx context.Context, cur mover, rec messages.Record, err error) {
	if messages.IsRelease(err) {
		cur.released()
		return
	}
	cfg, back := c.buffer.cfg, messages.GiveBackOf(err)
	rejected := back.Verb == messages.VerbReject
	switch {
	case rejected && cfg.DeadLetter == nil && cfg.Bury == nil:
		c.buffer.Count(func(n *messages.SubscriptionCounters) { n.Rejected++ })
		c.buffer.emit(messages.RecordRejected{
			Topic: rec.Topic, Group: cfg.Group, Partition: rec.Partition, Offset: rec.Offset, Attempts: rec.Attempt, Err: err,
		})
		cur.settled()
		return
	case rejected, cfg.MaxAttempts > 0 && rec.Attempt+rec.Deaths >= cfg.MaxAttempts:
		omitted, dlqErr := c.deadLetter(ctx, cur, rec, err)
		if dlqErr == nil {
			c.buffer.Count(func(n *messages.SubscriptionCounters) { n.DeadLettered++ })
			c.buffer.buried()
			c.buffer.emit(messages.RecordDeadLettered{
				Topic: rec.Topic, Group: cfg.Group, Partition: rec.Partition, Offset: rec.Offset, Attempts: rec.Attempt, Deaths: rec.Deaths, Omitted: omitted, Err: err,
			})
			cur.settled()
			return
		}
		if ctx.Err() != nil { // it was cut short, as a handler is
			cur.returned()
			return
		}
		err = errors.Join(err, fmt.Errorf("its dead letter: %w", dlqErr))
	}
	c.told(rec, back.After, err)
	cur.failed(rec.Offset, back.After)
}

// told emits that a record was not handled and comes again, after a delay that the
// handler named or, with 0, did not.
func (c *Consumption) told(rec messages.Record, after time.Duration, err error) {
	cfg := c.buffer.cfg
	c.buffer.emit(messages.RecordFailed{
		Topic: rec.Topic, Group: cfg.Group, Partition: rec.Partition, Offset: rec.Offset,
		Attempt: rec.Attempt, Delay: cmp.Or(after, cfg.Retry.Delay(rec.Attempt)), Err: err,
	})
}

func (c *Consumption) deadLetter(ctx context.Context, in mover, rec messages.Record, cause error) (omitted string, err error) {
	if bury := c.buffer.cfg.Bury; bury != nil {
		return bury(ctx, &Burial{in: in, rec: rec}, rec, cause)
	}
	return "", c.protect(rec, func() error { return c.buffer.cfg.DeadLetter(ctx, rec, cause) })
}

// call runs the handler; a panic is a failed handling like any other.
func (c *Consumption) call(ctx context.Context, rec messages.Record) error {
	return c.protect(rec, func() error { return c.handler(ctx, rec) })
}

func (c *Consumption) protect(rec messages.Record, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %v", p)
			c.buffer.emit(messages.HandlerPanicked{
				Destination: rec.Topic, Group: c.buffer.cfg.Group, Value: fmt.Sprint(p), Stack: string(debug.Stack()),
			})
		}
	}()
	return f()
}

// Handlers that are at one call for too long.

// call is one call of a handler, which begins with the record at offset, on the goroutine
// with a label.
type call struct {
	partition int
	offset    int64
	label     string
}

// Wait waits for the end of the consumption. Meanwhile it emits an event for each
// handler that has been at one call for limit, and again at each doubling. member is who
// it is told of.
func (c *Consumption) Wait(limit time.Duration, member string) {
	b := c.buffer
	var watch usercode.StuckWatch[call]
	usercode.AwaitLooking(c.over, limit, func(now time.Time) {
		for _, stuck := range watch.Look(now, limit, b.calls()) {
			b.emit(messages.RecordHandlerStuck{
				Topic: b.cfg.Topic, Group: b.cfg.Group, Member: member, Partition: stuck.Key.partition, Offset: stuck.Key.offset,
				Running: stuck.Running, Stack: b.inside.Stack(stuck.Key.label, now.Add(-stuck.Running)),
			})
		}
	})
}

// calls are the handlers that have a claim in hand. A call begins with the first offset
// that is not finished.
func (b *Buffer) calls() map[call]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	busy := make(map[call]time.Time)
	for _, c := range b.claims {
		for h := range c.hands {
			busy[call{c.Partition, h.e.Record.Offset, h.label}] = time.Time{}
		}
		if cur := c.cursor; cur != nil && cur.cancel != nil {
			offset := c.finished.Load()
			if offset == moved {
				offset = c.handed.Load() - 1
			}
			busy[call{c.Partition, offset, cur.label}] = time.Time{}
		}
	}
	return busy
}
