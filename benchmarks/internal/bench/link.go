package bench

import (
	"context"
	"fmt"
	"time"
)

// Runs over a link, and the receiver's end of them.

// Link is one sender and one receiver, connected.
type Link interface {
	// Send sends messages from..to (excluded) of bodies and returns when the
	// last is accepted. It blocks for room.
	Send(ctx context.Context, bodies *Bodies, from, to uint64) error
	// Settle returns when everything sent is acknowledged; at once where the
	// link knows of no such thing.
	Settle(ctx context.Context) error
	// Close ends both sides and the receiver's goroutine.
	Close() error
}

// Receiver is what a Link hands each message it receives to, from one
// goroutine.
type Receiver struct {
	runs chan *run // the next run, known before its first message is sent
	run  *run
	next uint64
}

// run is one series of messages on a link.
type run struct {
	bodies *Bodies
	count  uint64
	first  time.Time
	each   chan time.Time // told of every message; nil when the last is enough
	done   chan outcome
}

// outcome is what the receiver saw of a run, sent once.
type outcome struct {
	first, last time.Time
	err         error
}

// NewReceiver answers a receiver with no run.
func NewReceiver() *Receiver { return &Receiver{runs: make(chan *run, 1)} }

// Take checks one message and notes its arrival. It keeps no part of body.
func (r *Receiver) Take(body []byte) {
	if r.run == nil {
		r.run, r.next = <-r.runs, 0
		r.run.first = time.Now()
	}
	if r.run.each != nil {
		r.run.each <- time.Now()
	}
	err := r.run.bodies.check(r.next, body)
	if r.next++; err == nil && r.next < r.run.count {
		return
	}
	r.run.done <- outcome{r.run.first, time.Now(), err}
	if err != nil {
		r.run.count = ^uint64(0) // nothing behind a fault can be told apart
		return
	}
	r.run = nil
}

// Rate sends count messages and answers messages per second, from the first
// arrival to the last acknowledgement.
func Rate(ctx context.Context, link Link, r *Receiver, bodies *Bodies, count uint64) (float64, error) {
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
		return 0, fmt.Errorf("%d messages sent, not all came: %w", count, context.Cause(ctx))
	}
	if err := <-sent; err != nil {
		return 0, err
	}
	if err := link.Settle(ctx); err != nil {
		return 0, err
	}
	if _, acks := link.(acknowledged); acks {
		out.last = time.Now()
	}
	return float64(count) / out.last.Sub(out.first).Seconds(), nil
}

// acknowledged marks a link whose Settle waits for something.
type acknowledged interface{ acknowledged() }

// Lone sends count messages, each pause after the one before has come, and
// answers how long each took. pause is slept on a timer, whose granularity
// adds to it.
func Lone(ctx context.Context, link Link, r *Receiver, bodies *Bodies, count int, pause time.Duration) ([]time.Duration, error) {
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
		select {
		case at := <-run.each:
			took = append(took, at.Sub(start))
		case <-ctx.Done():
			return nil, fmt.Errorf("message %d did not come: %w", i, context.Cause(ctx))
		}
		rest.Reset(pause)
	}
	if out := <-run.done; out.err != nil {
		return nil, out.err
	}
	return took, link.Settle(ctx)
}
