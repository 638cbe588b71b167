package lines

// The way from a subscription to a stream. Records count as finished when their
// bytes have left this process, and not before: the next poll says so.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// pollMost is how many records are taken at once.
const pollMost = 1024

// Poller is a subscription.
type Poller interface {
	Poll(ctx context.Context, max int) ([]penstock.Record, error)
	Commit(ctx context.Context, recs ...penstock.Record) error
}

// RecordPump is one run from a subscription to a stream.
type RecordPump struct {
	From   Poller
	Out    io.Writer
	Encode EncodeRecord
	// Count ends the run after so many; 0 does not.
	Count int
	// Idle ends the run after so long without a record; 0 does not.
	Idle time.Duration
	// Left says what becomes of records that could not be written.
	Left string

	wrote atomic.Int64
	buf   []byte
}

// errIdle is the cause of a poll that --idle ended.
var errIdle = errors.New("idle")

// Run moves records until the end that was asked for, ctx, the end of the
// subscription or a failed write, and returns how it ended. What was written
// counts as finished then, and is committed when the runtime stops; what was not
// written is handled by another member.
func (p *RecordPump) Run(ctx context.Context) (End, error) {
	type outcome struct {
		end End
		err error
	}
	over := make(chan outcome, 1)
	go func() {
		end, err := p.move(ctx)
		over <- outcome{end, err}
	}()
	select {
	case o := <-over:
		return o.end, o.err
	case <-ctx.Done():
	}
	late, cancel := cli.Finishing(ctx)
	defer cancel()
	select {
	case o := <-over:
		return o.end, o.err
	case <-late.Done():
		return EndSignal, &stuckError{} // a write cannot be cancelled
	}
}

// Written returns how many records were written.
func (p *RecordPump) Written() int64 { return p.wrote.Load() }

// move is the loop of run. It ends with nothing in hand that was written and is
// not finished.
func (p *RecordPump) move(ctx context.Context) (End, error) {
	for {
		recs, err := p.poll(ctx)
		switch {
		case err == nil:
		case errors.Is(err, errIdle):
			return EndIdle, nil
		case ctx.Err() != nil:
			return EndSignal, nil
		case errors.Is(err, penstock.ErrClosed):
			return EndLeft, nil
		default:
			return EndLeft, err
		}
		if err := p.write(recs); err != nil {
			return EndLeft, err
		}
		if p.wrote.Add(int64(len(recs))) == int64(p.Count) {
			committing, cancel := cli.Finishing(ctx)
			defer cancel()
			return EndCounted, p.From.Commit(committing, recs...)
		}
	}
}

// poll finishes what was polled before. A poll that idled away wraps errIdle.
func (p *RecordPump) poll(ctx context.Context) ([]penstock.Record, error) {
	most := pollMost
	if p.Count > 0 {
		most = min(most, p.Count-int(p.wrote.Load()))
	}
	if p.Idle == 0 {
		return p.From.Poll(ctx, most)
	}
	waiting, cancel := context.WithTimeoutCause(ctx, p.Idle, errIdle)
	defer cancel()
	recs, err := p.From.Poll(waiting, most)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		err = errIdle
	}
	return recs, err
}

// write writes records in pieces of pumpBuffer or a little more.
func (p *RecordPump) write(recs []penstock.Record) error {
	for i := range recs {
		p.buf = p.Encode(p.buf, &recs[i])
		if len(p.buf) < pumpBuffer && i < len(recs)-1 {
			continue
		}
		if _, err := p.Out.Write(p.buf); err != nil {
			return fmt.Errorf("write: %w; %d records %s", err, len(recs), p.Left)
		}
		p.buf = p.buf[:0]
	}
	return nil
}

// EncodeRecord appends one record.
type EncodeRecord func(dst []byte, r *penstock.Record) []byte
