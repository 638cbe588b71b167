package side

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// The ends of log-like systems: records that are put, kept and consumed.

type putting struct{ Putter }

func (e *putting) do(ctx context.Context, c call) (a answer, err error) {
	run := c.Run
	switch c.Op {
	case opOpen:
		return a, e.Create(ctx, run.Log)
	case opSend:
	default:
		return a, unknown(c.Op)
	}
	records := load.NewRecords(run.Size)
	cpu := load.CPU()
	a.Acked, a.Count, a.Began = true, run.Count, time.Now().UnixNano()
	switch run.Way {
	case Flat:
		a.Count, err = e.flat(ctx, run, records)
	case Batch:
		a.Count, err = e.batches(ctx, run)
	case Paced:
		err = pace(ctx, run, e.PutAsync, func() error { return nil })
	case Lone:
		a.At, err = alone(ctx, run.Count, func(i uint64) error { return e.Put(ctx, records.At(i)) })
	default:
		err = fmt.Errorf("records are not put the way %q", run.Way)
	}
	if err == nil {
		err = e.Flush(ctx)
	}
	a.Ended = time.Now().UnixNano()
	a.CPU = (load.CPU() - cpu).Seconds()
	return a, err
}

func (e *putting) flat(ctx context.Context, run Run, records *load.Records) (uint64, error) {
	every := uint64(max(1, between/run.Size))
	began := time.Now()
	for i := uint64(0); ; i++ {
		if i%every == 0 && time.Since(began) >= run.For {
			return i, nil
		}
		if err := e.PutAsync(ctx, records.At(i)); err != nil {
			return i, err
		}
	}
}

func (e *putting) batches(ctx context.Context, run Run) (count uint64, err error) {
	batch := make([][]byte, run.Batch)
	for i := range batch {
		batch[i] = make([]byte, max(run.Size, load.MinRecord))
	}
	for began := time.Now(); time.Since(began) < run.For; {
		for i := range batch {
			load.Fill(batch[i], count, 0)
			count++
		}
		if err := e.PutBatch(ctx, batch); err != nil {
			return count, err
		}
	}
	return count, nil
}

type consuming struct {
	Consumer
	at   Place
	over chan answer // of the run at hand
}

func (e *consuming) do(ctx context.Context, c call) (answer, error) {
	switch c.Op {
	case opExpect:
		e.over = make(chan answer, 1)
		go func(over chan<- answer) { over <- e.consume(ctx, c.Run) }(e.over)
		return answer{}, nil
	case opSum:
		select {
		case a := <-e.over:
			return a, a.fault()
		case <-ctx.Done():
			return answer{}, context.Cause(ctx)
		}
	default:
		return answer{}, unknown(c.Op)
	}
}

// consume reads the log of a run. It counts from the joining until all is remembered as
// done.
func (e *consuming) consume(ctx context.Context, run Run) answer {
	tally := load.NewTally(max(run.Size, load.MinRecord), run.Count, e.at.Partitions)
	a := answer{Count: run.Count, Began: time.Now().UnixNano()}
	cpu := load.CPU()
	switch run.Way {
	case Paced:
		a.Took = results.NewHistogram()
	case Lone:
		a.At = make([]moment, run.Count)
	}
	err := e.Consume(ctx, run.Log, func(partition int, record []byte) (bool, error) {
		if run.Way == Paced || run.Way == Lone {
			now := time.Now().UnixNano()
			switch i, meant, err := load.Read(record); {
			case err != nil || i >= run.Count: // the tally says so
			case run.Way == Lone:
				a.At[i].Done = now
			case i >= run.warm():
				a.Took.Note(time.Duration(now - int64(meant)))
			}
		}
		err := tally.Take(partition, record)
		return tally.Left() == 0, err
	})
	a.Ended = time.Now().UnixNano()
	a.CPU = (load.CPU() - cpu).Seconds()
	if left := tally.Left(); err == nil && left > 0 {
		err = fmt.Errorf("consuming ended %d of %d records before the last", left, run.Count)
	}
	if err != nil {
		a.Error = errors.Join(err, context.Cause(ctx)).Error()
	}
	return a
}
