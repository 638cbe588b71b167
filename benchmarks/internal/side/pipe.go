package side

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// The ends of pipe-like systems: messages to groups.

type receiving struct {
	Receiving
	to   []*Receiver
	runs []*reception
	cpu  time.Duration
}

func (e *receiving) do(ctx context.Context, c call) (answer, error) {
	switch c.Op {
	case opExpect:
		e.runs = nil
		for _, r := range e.to {
			e.runs = append(e.runs, r.expect(c.Run))
		}
		e.cpu = load.CPU()
		return answer{}, nil
	case opSum:
		return e.sum(ctx)
	default:
		return answer{}, unknown(c.Op)
	}
}

// sum waits for all groups: the run is from the first that came to one to the last that
// came to one.
func (e *receiving) sum(ctx context.Context) (all answer, err error) {
	for i, run := range e.runs {
		a, err := run.wait(ctx)
		if err != nil {
			return all, err
		}
		switch {
		case i == 0:
			all = a
		case a.Count != all.Count:
			return all, fmt.Errorf("group %d has %d messages, group 0 has %d", i, a.Count, all.Count)
		default:
			all.Began, all.Ended = min(all.Began, a.Began), max(all.Ended, a.Ended)
		}
	}
	all.CPU = (load.CPU() - e.cpu).Seconds()
	return all, nil
}

// within is both ends.
type within struct {
	Sender
	to []*Receiver
}

func (e *within) do(ctx context.Context, c call) (answer, error) {
	got := receiving{to: e.to}
	if _, err := got.do(ctx, call{Op: opExpect, Run: c.Run}); err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	came := make(chan error, 1)
	var all answer
	go func() {
		var err error
		if all, err = got.sum(ctx); err != nil {
			cancel(err) // the sender may wait for room without end
		}
		came <- err
	}()
	sent, err := (&sending{e.Sender}).do(ctx, c)
	if err != nil {
		cancel(err)
	}
	if err = errors.Join(err, <-came); err == nil && all.Count != sent.Count {
		err = fmt.Errorf("%d of %d messages came", all.Count, sent.Count)
	}
	all.Ended = max(all.Ended, sent.Ended) // acknowledged, too
	all.CPU, all.Acked, all.At = sent.CPU, sent.Acked, nil
	return all, err
}

type sending struct{ Sender }

func (e *sending) do(ctx context.Context, c call) (a answer, err error) {
	if c.Op != opSend {
		return a, unknown(c.Op)
	}
	cpu := load.CPU()
	a.Began = time.Now().UnixNano()
	switch c.Run.Way {
	case Flat:
		a.Count, err = e.flat(ctx, c.Run)
	case Paced:
		a.Count, err = c.Run.Count, pace(ctx, c.Run, e.Send, e.Push)
	case Lone:
		a.Count = c.Run.Count
		a.At, err = e.lone(ctx, c.Run)
	default:
		err = fmt.Errorf("messages are not sent the way %q", c.Run.Way)
	}
	if err != nil {
		return a, err
	}
	a.Acked, err = e.Flush(ctx)
	a.Ended = time.Now().UnixNano()
	a.CPU = (load.CPU() - cpu).Seconds()
	return a, err
}

// between is how many bytes are sent from one look at the clock to the next.
const between = 64 << 10

func (e *sending) flat(ctx context.Context, run Run) (uint64, error) {
	bodies := load.NewBodies(run.Size)
	every := uint64(max(1, between/run.Size))
	began := time.Now()
	for i := uint64(0); ; i++ {
		if i%every == 0 && time.Since(began) >= run.For {
			return i + 1, e.Send(ctx, asLast(bodies, i))
		}
		if err := e.Send(ctx, bodies.At(i)); err != nil {
			return i, err
		}
	}
}

// pace sends records with the moments that they were due at, whatever holds them up.
func pace(ctx context.Context, run Run, send func(context.Context, []byte) error, push func() error) error {
	record := make([]byte, max(run.Size, load.MinRecord))
	began := time.Now()
	for i := range run.Count {
		due := began.Add(time.Duration(float64(i) / run.Rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			if err := push(); err != nil {
				return err
			}
			for ; wait > 0; wait = time.Until(due) {
				load.Rest(wait)
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		load.Fill(record, i, uint64(due.UnixNano()))
		if err := send(ctx, record); err != nil {
			return err
		}
	}
	return push()
}

func (e *sending) lone(ctx context.Context, run Run) ([]moment, error) {
	bodies := load.NewBodies(run.Size)
	return alone(ctx, run.Count, func(i uint64) error {
		return errors.Join(e.Send(ctx, bodies.At(i)), e.Push())
	})
}

// alone calls do for each of count messages, with pauses.
func alone(ctx context.Context, count uint64, do func(i uint64) error) (at []moment, err error) {
	rest := time.NewTimer(pause)
	defer rest.Stop()
	for i := range count {
		select {
		case <-rest.C:
		case <-ctx.Done():
			return at, context.Cause(ctx)
		}
		m := moment{Called: time.Now().UnixNano()}
		if err := do(i); err != nil {
			return at, err
		}
		m.Done = time.Now().UnixNano()
		at = append(at, m)
		rest.Reset(pause)
	}
	return at, nil
}
