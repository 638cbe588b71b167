package prefetch

// How records reach the handlers of other members: they are lent one by one, and come back
// finished, or not.

import (
	"context"
	"errors"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/lanes"
	"github.com/penstock-io/penstock/messages"
)

// Lend lends a record out. It blocks until there is room.
type Lend func(ctx context.Context, rec messages.Record, loan Loan) error

// Loan is how a record is lent.
type Loan struct {
	// Tag is that of the record's claim, for Recall.
	Tag int64
	// First: it goes to a member before what waits. Its claim lends nothing else meanwhile, and
	// each record would wait behind all those of the other claims.
	First bool
	// Settled is called once of a record that was taken, and takes the buffer's lock: with nil
	// when it was handled, else with why it was not.
	Settled func(error)
}

// Recall has what was lent under a tag settled that nobody has begun.
type Recall func(tag int64)

// Lending lends the records of all claims of a buffer. It takes the place of the buffer's
// readers, and is safe for concurrent use.
type Lending struct {
	c *Consumption // decides about what was not handled

	mu         sync.Mutex
	back       []cameBack
	interrupts map[*context.CancelFunc]struct{} // of what Run is doing
	wake       chan struct{}                    // holds one ring
}

// cameBack is a record that was not handled.
type cameBack struct {
	h   *hand
	err error
}

// NewLending makes the lending of a buffer with Config.Concurrency. Nothing else may read
// there.
func NewLending(b *Buffer) *Lending {
	return &Lending{
		c: NewConsumption(context.Background(), b, nil), interrupts: make(map[*context.CancelFunc]struct{}), wake: make(chan struct{}, 1),
	}
}

// Run lends records until the buffer hands none out any more, ctx ends or lend fails: the
// record is handed out again.
func (l *Lending) Run(ctx context.Context, lend Lend, recall Recall) error {
	for {
		inner, cancel := context.WithCancel(ctx)
		ends := l.interruptible(cancel)
		err := l.run(inner, lend, recall)
		interrupted := inner.Err() != nil
		cancel()
		ends()
		if ctx.Err() != nil {
			return nil
		}
		if !interrupted {
			return err
		}
	}
}

// interruptible lets Interrupt call cancel until ends is called. An earlier Run may end
// after the next one has begun.
func (l *Lending) interruptible(cancel context.CancelFunc) (ends func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupts[&cancel] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.interrupts, &cancel)
	}
}

// Interrupt has Run take back the record that waits for room, if there is one: its claim
// may be wanted back.
func (l *Lending) Interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for cancel := range l.interrupts {
		(*cancel)()
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
	err := lend(ctx, h.e.Record, Loan{Tag: h.c.Tag, First: h.single, Settled: func(err error) { l.settled(h, err) }})
	switch {
	case err == nil:
		if l.c.buffer.wantsBack(h.c) { // who has recalled it may have been too early
			recall(h.c.Tag)
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
// It runs user code: the handler of dead letters. What it has not come to is left to the
// next Settle.
func (l *Lending) Settle(ctx context.Context) error {
	b := l.c.buffer
	code := b.Run("a handler of dead letters")
	defer b.inside.Enter(code)()
	ctx = code.Mark(ctx)
	for ctx.Err() == nil {
		if x, ok := l.next(); ok {
			l.decide(ctx, x.h, x.err)
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// next takes what came back first.
func (l *Lending) next() (x cameBack, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.back) == 0 {
		l.back = nil
		return x, false
	}
	x, l.back[0], l.back = l.back[0], cameBack{}, l.back[1:]
	return x, true
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
	returned := false
	defer func() {
		if !returned { // runtime.Goexit in the handler of dead letters
			l.c.told(h.e.Record, 0, usercode.ErrGoexit)
			h.failed(h.e.Record.Offset, 0)
		}
	}()
	l.c.fail(handling, h, h.e.Record, err)
	returned = true
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
	return c.phase != claimOpen || b.isPaused(c.Partition) || c.Lease != b.trusted.Load()
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
