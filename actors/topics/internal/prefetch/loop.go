package prefetch

// How records reach a user that takes them: a loop that finishes as it goes, or
// Poll.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/penstock-io/penstock/messages"
)

// Records yields records until the subscription is left or ctx ends.
func (b *Buffer) Records(ctx context.Context) iter.Seq2[messages.Record, error] {
	return func(yield func(messages.Record, error) bool) {
		if err := b.Begin(); err != nil {
			if errors.Is(err, messages.ErrClosed) {
				err = b.Cause() // the loop after an end is as silent as the one before
			}
			if err != nil {
				yield(messages.Record{}, err)
			}
			return
		}
		defer b.Finish()
		defer b.inside.Enter(b.Run("the loop"))()
		var cur *cursor
		defer func() { b.put(cur) }()
		for {
			var rec messages.Record
			var err error
			if cur, err = b.nextRecord(ctx, cur, &rec); cur == nil {
				if err != nil {
					yield(messages.Record{}, err)
				}
				return
			}
			if !yield(rec, nil) {
				cur.out = -1 // a broken loop did not handle it
				return
			}
		}
	}
}

// nextRecord decodes the next record into rec and returns the cursor it belongs to:
// the one given, or another. It finishes the record before.
func (b *Buffer) nextRecord(ctx context.Context, cur *cursor, rec *messages.Record) (*cursor, error) {
	for {
		if cur != nil {
			ok, err := cur.next(rec)
			switch {
			case err != nil:
				b.stall(cur, err)
			case !ok:
				b.put(cur)
			case ctx.Err() != nil:
				cur.out = -1
				b.put(cur)
				return nil, context.Cause(ctx)
			default:
				return cur, nil
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if cur, err = b.take(ctx); cur == nil {
			return nil, err
		}
		if err := cur.skip(); err != nil {
			b.stall(cur, err)
			cur = nil
		}
	}
}

// stall ends a cursor whose batch does not decode, and tells the consumer.
func (b *Buffer) stall(cur *cursor, err error) {
	cur.c.tell(Stalled{cur.offset, cur.spoiled(err)})
	cur.out = -1
	b.mu.Lock()
	cur.c.rests = true
	b.mu.Unlock()
	b.put(cur)
}

// Poll waits for at least one record and returns at most limit. What the last Poll
// returned is finished.
func (b *Buffer) Poll(ctx context.Context, limit int) ([]messages.Record, error) {
	if limit < 1 {
		return nil, fmt.Errorf("poll for %d records: %w", limit, messages.ErrInvalid)
	}
	if err := b.Begin(); err != nil {
		if errors.Is(err, messages.ErrClosed) {
			err = cmp.Or(b.Cause(), err)
		}
		return nil, err
	}
	defer b.Finish()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var out []messages.Record
	for len(out) == 0 {
		cur, err := b.take(ctx)
		switch {
		case err != nil:
			return nil, err
		case cur == nil:
			return nil, messages.ErrClosed
		}
		for ; cur != nil && len(out) < limit; cur, _, _ = b.tryTake() {
			out = b.pollBatch(cur, out, limit)
		}
		b.put(cur) // one too many
	}
	return out, nil
}

// pollBatch takes the records of one cursor, and keeps the claim in hand with them.
func (b *Buffer) pollBatch(cur *cursor, out []messages.Record, limit int) []messages.Record {
	had := len(out)
	err := cur.skip()
	for err == nil && len(out) < limit {
		var rec messages.Record
		var ok bool
		last := cur.out
		cur.out = -1 // nothing is finished before the next poll
		if ok, err = cur.next(&rec); !ok {
			cur.out = cur.through(last)
			break
		}
		out = append(out, rec)
	}
	switch {
	case len(out) > had:
		b.mu.Lock()
		b.polled = append(b.polled, cur)
		b.mu.Unlock()
	case err != nil:
		b.stall(cur, err)
	default:
		b.put(cur)
	}
	return out
}

// SettlePolled gives back what the last Poll has in hand, finished or not.
func (b *Buffer) SettlePolled(finished bool) {
	b.mu.Lock()
	polled := b.polled
	b.polled = nil
	b.mu.Unlock()
	for _, cur := range polled {
		if finished {
			cur.finish()
		}
		cur.out = -1
		b.put(cur)
	}
}

// ReleasePolled gives back what the last Poll has in hand, but for what was to be
// committed: it is handed out again. It returns messages.ErrBusy while another reads.
func (b *Buffer) ReleasePolled() error {
	if err := b.enter(); err != nil {
		if errors.Is(err, messages.ErrClosed) {
			return nil // the end has given it back
		}
		return err
	}
	defer b.Finish()
	b.mu.Lock()
	for _, cur := range b.polled {
		if cur.c.asked > cur.done {
			cur.out = min(cur.c.asked, cur.offset) - 1
			cur.finish()
		}
	}
	b.mu.Unlock()
	b.SettlePolled(false)
	return nil
}

// Begin lets one reader in, which finishes what the last Poll handed out. It
// returns messages.ErrClosed after Leave, and ErrBusy while another reads.
func (b *Buffer) Begin() error {
	if err := b.enter(); err != nil {
		return err
	}
	b.SettlePolled(true)
	return nil
}

func (b *Buffer) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.phase != Open:
		return messages.ErrClosed
	case b.reading:
		return messages.ErrBusy
	}
	b.reading = true
	return nil
}

// Finish lets the reader out. What a Poll has in hand while the subscription is
// being left goes back, or the leaving would wait for a next one.
func (b *Buffer) Finish() {
	b.mu.Lock()
	b.reading = false
	b.setReader(false, false)
	left := b.phase != Open
	b.mu.Unlock()
	if left {
		b.SettlePolled(false)
	}
}
