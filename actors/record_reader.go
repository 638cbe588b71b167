package actors

// How a subscription's records reach the user: a loop that finishes as it goes,
// Poll, or workers around a handler.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// spoiled names the record that does not decode.
func (t *turn) spoiled(err error) error {
	return fmt.Errorf("topic %q, partition %d, offset %d: %w", t.c.shelf.cfg.Topic, t.c.p, t.offset, err)
}

// records yields records until the subscription is left or ctx ends.
func (s *shelf) records(ctx context.Context) iter.Seq2[messages.Record, error] {
	return func(yield func(messages.Record, error) bool) {
		if err := s.begin(); err != nil {
			if errors.Is(err, messages.ErrClosed) {
				err = s.causeOf() // the loop after an end is as silent as the one before
			}
			if err != nil {
				yield(messages.Record{}, err)
			}
			return
		}
		defer s.finish()
		defer s.inside.Enter(s.code("the loop"))()
		var t *turn
		defer func() { s.put(t) }()
		for {
			var rec messages.Record
			var err error
			if t, err = s.nextRecord(ctx, t, &rec); t == nil {
				if err != nil {
					yield(messages.Record{}, err)
				}
				return
			}
			if !yield(rec, nil) {
				t.out = -1 // a broken loop did not handle it
				return
			}
		}
	}
}

// nextRecord answers the next record and the turn it belongs to: the one given,
// or another. It finishes the record before.
func (s *shelf) nextRecord(ctx context.Context, t *turn, rec *messages.Record) (*turn, error) {
	for {
		if t != nil {
			ok, err := t.next(rec)
			switch {
			case err != nil:
				s.stall(t, err)
			case !ok:
				s.put(t)
			case ctx.Err() != nil:
				t.out = -1
				s.put(t)
				return nil, context.Cause(ctx)
			default:
				return t, nil
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if t, err = s.take(ctx); t == nil {
			return nil, err
		}
		if err := t.skip(); err != nil {
			s.stall(t, err)
			t = nil
		}
	}
}

// stall gives a claim back whose batch does not decode; its consumer says so.
func (s *shelf) stall(t *turn, err error) {
	t.c.tell(claimStalled{t.offset, t.spoiled(err)})
	t.out = -1
	s.mu.Lock()
	t.c.rests = true
	s.mu.Unlock()
	s.put(t)
}

// poll answers records that are there, and waits for the first of them. What
// the last poll answered is finished.
func (s *shelf) poll(ctx context.Context, limit int) ([]messages.Record, error) {
	if limit < 1 {
		return nil, fmt.Errorf("poll for %d records: %w", limit, messages.ErrInvalid)
	}
	if err := s.begin(); err != nil {
		if errors.Is(err, messages.ErrClosed) {
			err = cmp.Or(s.causeOf(), err)
		}
		return nil, err
	}
	defer s.finish()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var out []messages.Record
	for len(out) == 0 {
		t, err := s.take(ctx)
		switch {
		case err != nil:
			return nil, err
		case t == nil:
			return nil, messages.ErrClosed
		}
		for ; t != nil && len(out) < limit; t, _, _ = s.tryTake() {
			out = s.pollTurn(t, out, limit)
		}
		s.put(t) // one too many
	}
	return out, nil
}

// pollTurn takes the records of one turn, and keeps the claim in hand with them.
func (s *shelf) pollTurn(t *turn, out []messages.Record, limit int) []messages.Record {
	had := len(out)
	err := t.skip()
	for err == nil && len(out) < limit {
		var rec messages.Record
		var ok bool
		last := t.out
		t.out = -1 // nothing is finished before the next poll
		if ok, err = t.next(&rec); !ok {
			t.out = last
			break
		}
		out = append(out, rec)
	}
	switch {
	case len(out) > had:
		s.mu.Lock()
		s.polled = append(s.polled, t)
		s.mu.Unlock()
	case err != nil:
		s.stall(t, err)
	default:
		s.put(t)
	}
	return out
}

// settlePolled gives back what the last poll has in hand, finished or not.
func (s *shelf) settlePolled(finished bool) {
	s.mu.Lock()
	polled := s.polled
	s.polled = nil
	s.mu.Unlock()
	for _, t := range polled {
		if finished {
			t.finish()
		}
		t.out = -1
		s.put(t)
	}
}

// recordConsumption is one run of Consume: workers that take turns.
type recordConsumption struct {
	ctx     context.Context
	shelf   *shelf
	handler messages.RecordHandler
	running atomic.Int64
	over    chan struct{}
	once    sync.Once
	usercode.LastWait
}

func newRecordConsumption(ctx context.Context, s *shelf, h messages.RecordHandler) *recordConsumption {
	return &recordConsumption{ctx: ctx, shelf: s, handler: h, over: make(chan struct{})}
}

// Context, Ended and Work make it a job of handlers.
func (c *recordConsumption) Context() context.Context { return c.ctx }

func (c *recordConsumption) Ended() {
	if c.running.Add(-1) == 0 {
		c.finish()
	}
}

// finish lets Consume return.
func (c *recordConsumption) finish() { c.once.Do(func() { close(c.over) }) }

// work handles one turn after the other until the subscription or ctx ends.
func (c *recordConsumption) Work(ctx context.Context) error {
	code := c.shelf.code("a handler")
	defer c.shelf.inside.Enter(code)()
	ctx = code.Mark(ctx)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t, err := c.shelf.take(ctx)
		if t == nil {
			return err
		}
		if err := t.skip(); err != nil {
			c.shelf.stall(t, err)
			continue
		}
		c.turn(ctx, t)
	}
}

// turn handles the records of one turn in order, as far as they succeed.
func (c *recordConsumption) turn(ctx context.Context, t *turn) {
	handling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := c.shelf
	s.mu.Lock()
	t.cancel = cancel
	if t.c.phase == claimOver {
		cancel(messages.ErrFenced)
	}
	s.mu.Unlock()
	returned := false
	var rec messages.Record
	defer func() {
		if !returned { // runtime.Goexit in the handler
			c.told(rec, usercode.ErrGoexit)
			s.failed(t)
		}
	}()
	for {
		ok, err := t.next(&rec)
		switch {
		case err != nil:
			s.stall(t, err)
		case !ok || ctx.Err() != nil:
			t.out = -1
			s.put(t)
		default:
			if err = c.call(handling, rec); err == nil {
				continue
			}
			if handling.Err() != nil {
				t.out = -1 // cut short or lost, not failed
				s.put(t)
			} else {
				c.fail(ctx, t, rec, err)
			}
		}
		returned = true
		return
	}
}

// fail decides about a record that was not handled.
func (c *recordConsumption) fail(ctx context.Context, t *turn, rec messages.Record, err error) {
	s := c.shelf
	cfg := s.cfg
	if cfg.MaxAttempts > 0 && rec.Attempt >= cfg.MaxAttempts {
		dlqErr := c.deadLetter(ctx, rec, err)
		if dlqErr == nil {
			s.count(func(n *messages.SubscriptionCounters) { n.DeadLettered++ })
			s.emit(messages.RecordDeadLettered{
				Topic: rec.Topic, Group: cfg.Group, Partition: rec.Partition, Offset: rec.Offset, Attempts: rec.Attempt, Err: err,
			})
			t.finish()
			s.put(t)
			return
		}
		err = errors.Join(err, fmt.Errorf("its dead-letter handler: %w", dlqErr))
	}
	c.told(rec, err)
	s.failed(t)
}

// told tells of a record that was not handled and comes again.
func (c *recordConsumption) told(rec messages.Record, err error) {
	cfg := c.shelf.cfg
	c.shelf.emit(messages.RecordFailed{
		Topic: rec.Topic, Group: cfg.Group, Partition: rec.Partition, Offset: rec.Offset,
		Attempt: rec.Attempt, Delay: cfg.Retry.Delay(rec.Attempt), Err: err,
	})
}

func (c *recordConsumption) deadLetter(ctx context.Context, rec messages.Record, cause error) error {
	return c.protect(rec, func() error { return c.shelf.cfg.DeadLetter(ctx, rec, cause) })
}

// call runs the handler; a panic is a failed handling like any other.
func (c *recordConsumption) call(ctx context.Context, rec messages.Record) error {
	return c.protect(rec, func() error { return c.handler(ctx, rec) })
}

func (c *recordConsumption) protect(rec messages.Record, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %v", p)
			c.shelf.emit(messages.HandlerPanicked{
				Destination: rec.Topic, Group: c.shelf.cfg.Group, Value: fmt.Sprint(p), Stack: string(debug.Stack()),
			})
		}
	}()
	return f()
}
