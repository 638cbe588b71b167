package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// Runs over a link, and the receiver's end of them.

// Link is one sender and one receiver, connected.
type Link interface {
	// Send sends messages from..to (excluded) of bodies and returns when the
	// last is accepted. It blocks for room.
	Send(ctx context.Context, bodies *load.Bodies, from, to uint64) error
	// Settle returns when everything sent is acknowledged, or false at once
	// where the link knows of no such thing.
	Settle(ctx context.Context) (acked bool, err error)
	// Close ends both sides and the receiver's goroutine.
	Close() error
}

// Receiver is what a Link hands each message it receives to, from one
// goroutine.
type Receiver struct {
	runs  chan *run // the next run, known before its first message is sent
	run   *run      // nil between runs
	next  uint64
	stray error // what came between runs
}

// run is one series of messages on a link.
type run struct {
	bodies *load.Bodies
	count  uint64
	first  time.Time
	each   chan time.Time // told of every arrival; nil when the last is enough
	done   chan outcome   // told once
}

// outcome is what the receiver saw of a run.
type outcome struct {
	first, last time.Time
	err         error
}

// NewReceiver answers a receiver with no run.
func NewReceiver() *Receiver { return &Receiver{runs: make(chan *run, 1)} }

// Take checks one message and notes its arrival. It keeps no part of body and
// never blocks.
func (r *Receiver) Take(body []byte) {
	if r.run == nil && !r.begin() {
		return
	}
	if r.run.each != nil {
		r.arrived(time.Now(), body)
		return
	}
	err := r.run.bodies.Check(r.next, body)
	if r.next++; err == nil && r.next < r.run.count {
		return
	}
	r.end(err)
}

// arrived is Take for runs that time every message: the clock is read before
// the message is.
func (r *Receiver) arrived(at time.Time, body []byte) {
	err := r.run.bodies.Check(r.next, body)
	if r.next++; err == nil {
		r.run.each <- at
		if r.next < r.run.count {
			return
		}
	}
	r.end(err)
}

// begin takes up the next run. What comes when there is none is a fault of the
// next.
func (r *Receiver) begin() bool {
	select {
	case r.run = <-r.runs:
	default:
		r.stray = errors.New("a message came after the last of its run, or after a fault")
		return false
	}
	if r.next, r.run.first = 0, time.Now(); r.stray == nil {
		return true
	}
	r.end(r.stray)
	return false
}

func (r *Receiver) end(err error) {
	r.run.done <- outcome{r.run.first, time.Now(), err}
	r.run = nil
}

// Rate sends count messages and answers messages per second, from the first
// arrival to the last acknowledgement.
func Rate(ctx context.Context, link Link, r *Receiver, bodies *load.Bodies, count uint64) (float64, error) {
	run := &run{bodies: bodies, count: count, done: make(chan outcome, 1)}
	r.runs <- run
	sent := make(chan error, 1)
	go func() { sent <- link.Send(ctx, bodies, 0, count) }()
	var out outcome
	select {
	case out = <-run.done:
		if out.err != nil {
			return 0, out.err
		}
	case <-ctx.Done():
		return 0, fmt.Errorf("not all of %d messages came: %w", count, context.Cause(ctx))
	}
	if err := <-sent; err != nil {
		return 0, err
	}
	acked, err := link.Settle(ctx)
	if err != nil {
		return 0, err
	}
	if acked {
		out.last = time.Now()
	}
	return float64(count) / out.last.Sub(out.first).Seconds(), nil
}

// Lone sends count messages, each pause after the one before has come, and
// answers how long each took. pause is slept on a timer, whose granularity
// adds to it.
func Lone(ctx context.Context, link Link, r *Receiver, bodies *load.Bodies, count int, pause time.Duration) ([]time.Duration, error) {
	run := &run{bodies: bodies, count: uint64(count), each: make(chan time.Time, 1), done: make(chan outcome, 1)}
	r.runs <- run
	took := make([]time.Duration, 0, count)
	rest := time.NewTimer(pause)
	defer rest.Stop()
	for i := range uint64(count) {
		<-rest.C
		start := time.Now()
		if err := link.Send(ctx, bodies, i, i+1); err != nil {
			return nil, err
		}
		at, err := run.arrival(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, at.Sub(start))
		rest.Reset(pause)
	}
	_, err := link.Settle(ctx)
	return took, err
}

// arrival waits for one message.
func (r *run) arrival(ctx context.Context) (time.Time, error) {
	select {
	case at := <-r.each:
		return at, nil
	case out := <-r.done:
		if out.err != nil {
			return time.Time{}, out.err
		}
		return <-r.each, nil // it is the last, noted before the end was
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("a message did not come: %w", context.Cause(ctx))
	}
}
