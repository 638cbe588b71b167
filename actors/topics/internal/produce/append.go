package produce

// The loop that appends what an accumulator took, batch by batch.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Run commits what is taken, batch by batch, until ctx ends, whose cause it
// returns, or the accumulator closes: nil. What was on its way when an earlier
// Run ended, by whatever means, is resumed first, unchanged.
func (a *Accumulator) Run(ctx context.Context, commit CommitFunc, committed CommittedFunc) error {
	a.tell()
	for {
		s, err := a.next(ctx)
		if s == nil {
			return err
		}
		if err := a.ship(ctx, s, commit, committed); err != nil {
			return err
		}
	}
}

// next waits for something to append. It returns nil without an error when the
// accumulator is closed.
func (a *Accumulator) next(ctx context.Context) (*shipment, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		a.mu.Lock()
		if a.flight == nil {
			if d := a.take(); d != nil {
				a.sequence++
				a.flight = &shipment{draft: d, sequence: a.sequence}
			}
		}
		s, phase := a.flight, a.phase
		a.asleep = s == nil && phase != accClosed
		a.mu.Unlock()
		if s != nil || phase == accClosed {
			return s, nil
		}
		select {
		case <-a.bell:
		case <-ctx.Done():
		}
	}
}

// take returns the oldest draft, or nil. mu is held.
func (a *Accumulator) take() *draft {
	if len(a.full) > 0 {
		d := a.full[0]
		n := copy(a.full, a.full[1:])
		a.full[n] = nil
		a.full = a.full[:n]
		return d
	}
	d := a.filling
	if d != nil {
		a.filling = nil
		a.drafts.Add(1)
	}
	return d
}

// ship brings one batch to its end. An error of its own ends Run and leaves the
// batch for the next one.
func (a *Accumulator) ship(ctx context.Context, s *shipment, commit CommitFunc, committed CommittedFunc) error {
	switch {
	case s.sealed != nil:
	case a.dedupes(s):
		if again, err := a.sift(ctx, s, false); again || err != nil {
			return a.sifted(ctx, s, err)
		}
	default:
		if err := a.seal(s); err != nil {
			return err
		}
	}
	stage, more := a.begin(s)
	switch stage {
	case shipSealed:
		base, err := commit(ctx, s.sealed, more)
		if errors.Is(err, format.ErrBehind) && ctx.Err() == nil {
			return a.behind(ctx, s)
		}
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && s.splits(err) {
			return a.split(s)
		}
		if err != nil {
			a.give(s, err)
			if errors.Is(err, messages.ErrTopicDeleted) {
				a.Close(err)
			}
			return nil
		}
		a.remember(s)
		s.delayed = len(s.sealed.Later())
		if !a.written(s, base) {
			return nil
		}
		committed(base, s.sealed)
		s.sealed.Free()
		a.arrived(s)
	case shipWritten:
		a.arrived(s) // committed was asked, and did not come back
	}
	return nil
}

// seal seals s. An error ends Run: the records changed in memory.
func (a *Accumulator) seal(s *shipment) (err error) {
	now := time.Now().UnixNano()
	minTime, maxTime := span(s.count, s.timed, s.minTime, s.maxTime, now)
	s.whole(func(raw []byte) {
		if s.later == 0 {
			s.sealed = format.Seal(raw, s.count, minTime, maxTime, now, a.info().Config.Compression, a.id, s.sequence)
			s.sealed.Expires = s.expires
			return
		}
		s.sealed, err = format.SealLater(raw, s.count, minTime, maxTime, now, a.info().Config.Compression, a.id, s.sequence)
	})
	if err != nil {
		return fmt.Errorf("seal a batch: %w", err)
	}
	return nil
}

// begin notes that s may be sent from now on, and returns how far it is and
// whether there is more behind it.
func (a *Accumulator) begin(s *shipment) (stage shipStage, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != s {
		return shipTelling, false
	}
	if s.stage == shipTaken {
		s.stage = shipSealed
	}
	return s.stage, a.filling != nil || len(a.full) > 0
}

// written notes where etcd has s. It returns false when close was faster and
// told everybody that the outcome is unknown.
func (a *Accumulator) written(s *shipment, base int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != s {
		return false
	}
	s.stage, s.base = shipWritten, base
	return true
}

// arrived tells everybody that s is committed.
func (a *Accumulator) arrived(s *shipment) {
	a.mu.Lock()
	if a.flight == s {
		s.spare = spareAll
		a.flight = nil
		a.succeed(s)
	}
	a.mu.Unlock()
	a.tell()
}

// succeed decides s. mu is held.
func (a *Accumulator) succeed(s *shipment) {
	a.decided = append(a.decided, s)
	a.stats.Appends++
	a.stats.Committed += uint64(s.count)
	a.stats.Delayed += uint64(s.delayed)
	a.stats.Appended = time.Now()
}

// give tells everybody that s was given up.
func (a *Accumulator) give(s *shipment, err error) { a.lose(s, a.outcome(err)) }

func (a *Accumulator) lose(s *shipment, err error) {
	a.mu.Lock()
	if a.flight == s {
		a.flight = nil
		a.fail(s, err)
		a.emit(messages.AppendFailed{Topic: a.info().Name, Partition: a.partition, Records: s.count, Err: err})
	}
	a.mu.Unlock()
	a.tell()
}

// outcome is what an error of an append means for those who put. One that does
// not say that nothing was written leaves it open.
func (a *Accumulator) outcome(err error) error {
	for _, definite := range []error{
		messages.ErrTooLarge, messages.ErrTopicFull, messages.ErrNoSpace, messages.ErrDenied, messages.ErrInvalid, messages.ErrTopicDeleted,
		messages.ErrCorrupt, messages.ErrUnknownOutcome,
	} {
		if errors.Is(err, definite) {
			return a.wrap(err)
		}
	}
	return a.wrap(fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err))
}

// fail decides s. mu is held.
func (a *Accumulator) fail(s *shipment, err error) {
	s.err = err
	a.decided = append(a.decided, s)
	a.stats.Failed += uint64(s.count)
}
