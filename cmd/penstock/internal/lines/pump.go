package lines

// The way from a member to a stream. A message is acked when its bytes have
// left this process, and not before: what the reader of the stream never got
// goes to another member.

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

// ackGrace lets the last acks reach their senders before the links are closed: they
// go out within 2 ms, and a leave with nobody reading does not wait for them.
const ackGrace = 50 * time.Millisecond

// Pump is one run from a member to a stream.
type Pump struct {
	Member *penstock.Member
	Out    io.Writer
	// Encode appends one delivery.
	Encode func(dst []byte, d *penstock.Delivery) []byte
	// Count ends the run after so many; 0 does not.
	Count int
	// Idle ends the run after so long without a message; 0 does not.
	Idle time.Duration

	acks atomic.Int64
}

// Run moves deliveries until the end that was asked for, ctx, the end of the
// member or a failed write. After idle and after ctx what has come is still
// written. It returns how it ended; on an error what was not written is nacked.
// The member has left its group, or must be stopped next.
func (p *Pump) Run(ctx context.Context) (End, error) {
	pulling, stopPulling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPulling()
	deliveries := make(chan penstock.Delivery, 256)
	pulled, written := make(chan error, 1), make(chan error, 1)
	quiet := make(chan struct{})
	go func() {
		defer close(deliveries)
		pulled <- p.pull(pulling, deliveries)
	}()
	go func() { written <- p.write(deliveries, quiet) }()

	end := EndLeft
	var err error
	select {
	case err = <-written:
	case <-quiet:
		end, err = p.drain(ctx, EndIdle, written)
	case <-ctx.Done():
		end, err = p.drain(ctx, EndSignal, written)
	}
	if stuck := (*stuckError)(nil); errors.As(err, &stuck) {
		return end, err
	}
	stopPulling()
	perr := <-pulled
	for d := range deliveries { // nobody writes them any more
		d.Release()
	}
	if err == nil {
		err = perr
	}
	if err == nil && p.done() {
		end = EndCounted
	}
	if end == EndCounted || err != nil {
		grace := time.NewTimer(ackGrace)
		defer grace.Stop()
		<-grace.C
	}
	return end, err
}

// Acked returns how many messages were written and acked.
func (p *Pump) Acked() int64 { return p.acks.Load() }

// done reports whether the count was reached.
func (p *Pump) done() bool { return p.Count > 0 && p.acks.Load() == int64(p.Count) }

// drain leaves the group while what has come is still being written.
func (p *Pump) drain(ctx context.Context, why End, written <-chan error) (End, error) {
	draining, cancel := cli.Finishing(ctx)
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- p.Member.Leave(draining) }()
	select {
	case err := <-written:
		if err != nil || p.done() {
			cancel() // nobody reads any more: what is left goes back
			<-left   //nolint:errcheck // it says what went back, and that was asked for
			return why, err
		}
		return why, <-left
	case <-draining.Done():
		return why, &stuckError{}
	}
}

func (p *Pump) pull(ctx context.Context, into chan<- penstock.Delivery) error {
	n := 0
	for d, err := range p.Member.Messages(ctx, penstock.ManualAck()) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case into <- d:
		case <-ctx.Done():
			return nil
		}
		if n++; n == p.Count {
			return nil
		}
	}
	return nil
}

// write takes deliveries until there are no more, or a write fails. It closes
// quiet when nothing came for the idle time, and continues.
func (p *Pump) write(from <-chan penstock.Delivery, quiet chan<- struct{}) error {
	var idle <-chan time.Time
	var timer *time.Timer
	if p.Idle > 0 {
		timer = time.NewTimer(p.Idle)
		defer timer.Stop()
		idle = timer.C
	}
	b := batch{encode: p.Encode}
	for {
		more := b.fill(from)
		if len(b.held) > 0 {
			if err := p.flush(&b); err != nil {
				return err
			}
			if idle != nil {
				timer.Reset(p.Idle)
			}
		}
		if !more {
			return nil
		}
		select {
		case d, ok := <-from:
			if !ok {
				return nil
			}
			b.add(&d)
		case <-idle:
			close(quiet)
			idle = nil
		}
	}
}

// flush writes the batch out and acks it.
func (p *Pump) flush(b *batch) error {
	if _, err := p.Out.Write(b.bytes); err != nil {
		for i := range b.held {
			b.held[i].Release() // it is not the message that failed
		}
		return fmt.Errorf("write: %w; %d messages go back to the group", err, len(b.held))
	}
	for i := range b.held {
		b.held[i].Ack()
	}
	p.acks.Add(int64(len(b.held)))
	clear(b.held)
	b.held, b.bytes = b.held[:0], b.bytes[:0]
	return nil
}

// batch is what is encoded and not yet written.
type batch struct {
	encode func([]byte, *penstock.Delivery) []byte
	held   []penstock.Delivery
	bytes  []byte
}

func (b *batch) add(d *penstock.Delivery) {
	b.bytes = b.encode(b.bytes, d)
	b.held = append(b.held, *d)
}

// fill takes what has come, without waiting, up to a buffer full, and reports
// whether more can come.
func (b *batch) fill(from <-chan penstock.Delivery) bool {
	for len(b.bytes) < pumpBuffer {
		select {
		case d, ok := <-from:
			if !ok {
				return false
			}
			b.add(&d)
		default:
			return true
		}
	}
	return true
}
