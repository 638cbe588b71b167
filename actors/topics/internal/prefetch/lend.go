package prefetch

// How records reach the handlers of other members: they are lent one by one, and come back
// finished, or not.

import (
	"context"
	"errors"
	"sync"

	"github.com/penstock-io/penstock/actors/topics/internal/lanes"
	"github.com/penstock-io/penstock/messages"
)

// Lend lends a record out, under the tag of its claim, which is the fence. It blocks until
// there is room. settled is called once of a record that was taken, and takes the buffer's
// lock: with nil when it was handled, else with why it was not.
type Lend func(ctx context.Context, rec messages.Record, tag int64, settled func(error)) error

// Recall has what was lent under a tag settled that nobody has begun.
type Recall func(tag int64)

// Lending lends the records of all claims of a buffer. It takes the place of the buffer's
// readers, and is safe for concurrent use.
type Lending struct {
	c *Consumption // decides about what was not handled

	mu        sync.Mutex
	back      []cameBack
	interrupt context.CancelFunc // of the Run that is under way, or nil
	wake      chan struct{}      // holds one ring
}

// cameBack is a record that was not handled.
type cameBack struct {
	h   *hand
	err error
}

// NewLending makes the lending of a buffer with Config.Concurrency. Nothing else may read
// there.
func NewLending(b *Buffer) *Lending {
	return &Lending{c: NewConsumption(context.Background(), b, nil), wake: make(chan struct{}, 1)}
}

// Run lends records until the buffer hands none out any more, ctx ends or lend fails: the
// record is handed out again.
func (l *Lending) Run(ctx context.Context, lend Lend, recall Recall) error {
	for {
		inner, cancel := context.WithCancel(ctx)
		l.setInterrupt(cancel)
		err := l.run(inner, lend, recall)
		interrupted := inner.Err() != nil
		cancel()
		l.setInterrupt(nil)
		if ctx.Err() != nil {
			return nil
		}
		if !interrupted {
			return err
		}
	}
}

func (l *Lending) setInterrupt(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupt = cancel
}

// Interrupt has Run take back the record that waits for room, if there is one: its claim
// may be wanted back.
func (l *Lending) Interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.interrupt != nil {
		l.interrupt()
	}
}

func (l *Lending) run(ctx context.Context, lend Lend, recall Recall) error {
	for {
		h, err := l.c.buffer.takeHand(ctx, "")
		if h == nil {
			return err
		}
		if err := l.lend(ctx, h, lend, recall); err != nil {
			return err
		}
	}
}

// lend lends one record.
func (l *Lending) lend(ctx context.Context, h *hand, lend Lend, recall Recall) error {
	if l.c.diedOver(h.e.Record) {
		l.takesBack(h, errDied)
		return nil
	}
	if !l.c.persists(ctx, h) {
		return nil
	}
	err := lend(ctx, h.e.Record, h.c.Fence, func(err error) { l.settled(h, err) })
	switch {
	case err == nil:
		if l.c.buffer.wantsBack(h.c) { // who has recalled it may have been too early
			recall(h.c.Fence)
		}
		return nil
	case errors.Is(err, messages.ErrTooLarge): // no member can have it
		l.takesBack(h, errors.Join(messages.ErrReject, err))
		return nil
	}
	h.returned()
	return err
}

// settled hears of a record that was lent. It must not block: what was not handled is taken
// back by Settle.
func (l *Lending) settled(h *hand, err error) {
	var abandoned *messages.AbandonedError
	switch {
	case err == nil:
		l.c.buffer.handled(1)
		h.settled()
	case errors.Is(err, messages.ErrExpired):
		h.lapsed()
	case messages.IsRelease(err), errors.As(err, &abandoned):
		h.returned()
	default:
		l.takesBack(h, err)
	}
}

func (l *Lending) takesBack(h *hand, err error) {
	l.mu.Lock()
	l.back = append(l.back, cameBack{h, err})
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Settle decides about records that were not handled, one after the other, until ctx ends.
func (l *Lending) Settle(ctx context.Context) error {
	for {
		l.mu.Lock()
		all := l.back
		l.back = nil
		l.mu.Unlock()
		for i, x := range all {
			if ctx.Err() != nil { // the next Settle decides
				l.mu.Lock()
				l.back = append(all[i:], l.back...)
				l.mu.Unlock()
				return nil
			}
			l.decide(ctx, x.h, x.err)
		}
		if len(all) > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// decide decides about one record.
func (l *Lending) decide(ctx context.Context, h *hand, err error) {
	var death *messages.DeathError
	if errors.As(err, &death) {
		h.died()
		return
	}
	b := l.c.buffer
	handling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.mu.Lock()
	h.cancel = cancel
	if h.c.phase == claimOver {
		cancel(messages.ErrFenced)
	}
	b.mu.Unlock()
	l.c.fail(handling, h, h.e.Record, err)
}

// died counts a death of a member over a record, which comes again after a while: the more
// there were, the later.
func (h *hand) died() {
	h.back(func(b *Buffer, w *lanes.Window) {
		h.e.Deaths++
		h.c.changed++
		b.counters.Died++
		b.free(h.c, w.Rest(h.e, notBefore(b.cfg.Retry.Delay(h.e.Deaths))))
	})
}

// lapsed finishes a record that has expired while it was lent.
func (h *hand) lapsed() {
	h.back(func(b *Buffer, w *lanes.Window) {
		b.countLapsed(h.c, &h.e.Record)
		b.finished(h.c, w, h.e)
	})
}

// wantsBack reports whether nothing of a claim is to be lent.
func (b *Buffer) wantsBack(c *Claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.phase != claimOpen || b.isPaused(c.Partition)
}

// Lent is how many records are lent, or on their way back.
func (b *Buffer) Lent() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.claims {
		n += len(c.hands)
	}
	return n
}
