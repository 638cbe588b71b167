package side

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// A side: the processes of one system, and their runs.

// Side is a system that runs.
type Side struct {
	name                         string
	broker, recv, send, performs *process
	dir                          string
	log                          bool // it keeps records
	logs                         int  // so many were made
}

// opens is how long an end may take to open.
const opens = 30 * time.Second

// Start begins the processes of a system: program is what serves its ends. The end of
// ctx ends them. errs gets what they say on standard error. Its error is ErrMissing
// when the system is not here.
func Start(ctx context.Context, program, system string, at Place, errs io.Writer) (_ *Side, err error) {
	s := &Side{name: system}
	defer func() {
		if err != nil && !errors.Is(err, ErrMissing) {
			err = errors.Join(err, s.Close())
		} else if err != nil {
			_ = s.Close() // there is nothing in it
		}
	}()
	if s.dir, err = os.MkdirTemp("", "penstock-side-"); err != nil {
		return nil, err
	}
	at.Dir = s.dir
	ends := []role{rolePerform}
	for _, end := range []struct {
		role role
		to   **process
	}{{rolePerform, &s.performs}, {roleBroker, &s.broker}, {roleReceive, &s.recv}, {roleSend, &s.send}} {
		if !slices.Contains(ends, end.role) {
			continue
		}
		p, err := startProcess(ctx, program, system, end.role, errs)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", system, err)
		}
		limited, cancel := context.WithTimeoutCause(ctx, opens, fmt.Errorf("not open after %s", opens))
		a, err := p.ask(limited, call{Op: opOpen, Place: at})
		cancel()
		switch {
		case err != nil:
			*end.to = p
			return nil, err
		case a.None:
			ends = a.Ends
			if err := p.close(); err != nil {
				return nil, err
			}
			continue
		}
		*end.to = p
		if a.Address != "" {
			at.Address = a.Address
		}
		s.log = s.log || a.Acked
		if end.role == rolePerform {
			return s, nil
		}
	}
	if s.send == nil {
		return nil, fmt.Errorf("%s has no end that sends", system)
	}
	return s, nil
}

// Outcome is what came of a run.
type Outcome struct {
	Count  uint64
	PerSec float64            // sent or put, until the last came or was acknowledged
	Read   float64            // records consumed a second, from the joining on; 0 unless Later
	CPU    float64            // processor seconds of all processes
	Took   *results.Histogram // from when a message was due until it came
	Came   []float64          // lone: microseconds from the call to the arrival
	Put    []float64          // lone records: how long the call took
}

// late is how long what was sent and flushed may take to come.
const late = 45 * time.Second

// settled is how long a consumer has to join before records are put at a rate.
const settled = 300 * time.Millisecond

// Run does one run. After an error the side can only be closed.
func (s *Side) Run(ctx context.Context, run Run) (out Outcome, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run = run.known()
	if s.log {
		s.logs++
		run.Log = fmt.Sprintf("bench-%d", s.logs)
		if _, err := s.send.ask(ctx, call{Op: opOpen, Run: run}); err != nil {
			return out, err
		}
		load.Sync() // nobody's fsync waits for what another has not written yet
	}
	before, err := s.usage(ctx)
	if err != nil {
		return out, err
	}
	if s.performs != nil {
		a, err := s.performs.ask(ctx, call{Op: opSend, Run: run})
		out.Count, out.CPU = a.Count, a.CPU
		out.PerSec = rate(a.Count, a.Began, a.Ended)
		return out, err
	}
	var sent, got answer
	if s.recv == nil || run.Later {
		if sent, err = s.send.ask(ctx, call{Op: opSend, Run: run}); err != nil {
			return out, err
		}
	}
	after, err := s.usage(ctx)
	if err != nil {
		return out, err
	}
	switch {
	case s.recv == nil:
	case run.Later:
		run.Count = sent.Count
		if got, err = s.consumed(ctx, run, func(Run) (answer, error) { return sent, nil }, cancel); err != nil {
			return out, err
		}
		out.Read = rate(got.Count, got.Began, got.Ended)
		got.CPU = 0
	default:
		if got, err = s.consumed(ctx, run, func(run Run) (answer, error) {
			if s.log {
				time.Sleep(settled)
			}
			sent, err = s.send.ask(ctx, call{Op: opSend, Run: run})
			return sent, err
		}, cancel); err != nil {
			return out, err
		}
		if after, err = s.usage(ctx); err != nil {
			return out, err
		}
	}
	return out.of(sent, got, after-before, run), nil
}

// consumed has the receiver take a run while send sends it.
func (s *Side) consumed(ctx context.Context, run Run, send func(Run) (answer, error), cancel context.CancelCauseFunc) (answer, error) {
	if _, err := s.recv.ask(ctx, call{Op: opExpect, Run: run}); err != nil {
		return answer{}, err
	}
	type result struct {
		answer
		err error
	}
	came := make(chan result, 1)
	go func() {
		a, err := s.recv.ask(ctx, call{Op: opSum})
		if err != nil {
			cancel(err) // the sender may wait for room without end
		}
		came <- result{a, err}
	}()
	sent, err := send(run)
	if err != nil {
		return answer{}, errors.Join(err, context.Cause(ctx))
	}
	timeout := time.NewTimer(late)
	defer timeout.Stop()
	select {
	case r := <-came:
		if r.err == nil && r.Count != sent.Count {
			r.err = fmt.Errorf("%s: %d of %d messages came", s.name, r.Count, sent.Count)
		}
		return r.answer, r.err
	case <-timeout.C:
		return answer{}, fmt.Errorf("%s: not all of %d messages came within %s", s.name, sent.Count, late)
	}
}

// usage is the processor time of the broker so far.
func (s *Side) usage(ctx context.Context) (float64, error) {
	if s.broker == nil {
		return 0, nil
	}
	a, err := s.broker.ask(ctx, call{Op: opUsage})
	return a.CPU, err
}

// of adds up what both ends saw.
func (o Outcome) of(sent, got answer, broker float64, run Run) Outcome {
	o.Count, o.CPU, o.Took = sent.Count, sent.CPU+got.CPU+broker, got.Took
	began, ended := sent.Began, sent.Ended
	if got.Began != 0 && !run.Later && run.Log == "" {
		began = got.Began // a pipe counts from what comes first
		if ended = got.Ended; sent.Acked {
			ended = max(ended, sent.Ended)
		}
	}
	o.PerSec = rate(sent.Count, began, ended)
	for i, m := range sent.At {
		o.Put = append(o.Put, micros(m.Done-m.Called))
		if i < len(got.At) {
			o.Came = append(o.Came, micros(got.At[i].Done-m.Called))
		}
	}
	return o
}

func rate(count uint64, began, ended int64) float64 {
	return float64(count) / time.Duration(max(1, ended-began)).Seconds()
}

func micros(ns int64) float64 { return float64(ns) / 1e3 }

// Close ends the processes, the senders first.
func (s *Side) Close() error {
	var errs []error
	for _, p := range slices.Backward([]*process{s.performs, s.broker, s.recv, s.send}) {
		if p != nil {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
