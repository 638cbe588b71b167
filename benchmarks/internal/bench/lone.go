package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Single records, against one put into the same etcd with nothing around it.
// The two take turns, record by record: what the disk does at the moment, it
// does to both.

// settle is how long nothing happens between two samples.
const settle = time.Millisecond

// samples are what both sides took.
type samples struct{ ours, peer []time.Duration }

func (s samples) result(id string) Result {
	slices.Sort(s.ours)
	slices.Sort(s.peer)
	at := func(took []time.Duration, percent int) float64 { return micros(took[len(took)*percent/100]) }
	took := [2]*results.Histogram{results.NewHistogram(), results.NewHistogram()}
	noteAll(took[0], s.ours)
	noteAll(took[1], s.peer)
	return Result{
		Runs: [2][]float64{{at(s.ours, 50)}, {at(s.peer, 50)}}, Took: took,
		ID: id, Ours: at(s.ours, 50), Peer: at(s.peer, 50), Unit: "us",
		Note: fmt.Sprintf("p99 ours=%.0f peer=%.0f us, %d samples each", at(s.ours, 99), at(s.peer, 99), len(s.ours)),
	}
}

// warm is how many pairs do not count.
const warm = 20

// take samples both sides in turns until budget is spent.
func take(ctx context.Context, budget time.Duration, ours, peer func(i uint64) (time.Duration, error)) (samples, error) {
	var s samples
	end := time.Now().Add(budget)
	pause := time.NewTimer(settle)
	defer pause.Stop()
	for i := uint64(0); i <= warm || time.Now().Before(end); i++ {
		for _, side := range []struct {
			do   func(uint64) (time.Duration, error)
			took *[]time.Duration
		}{{peer, &s.peer}, {ours, &s.ours}} {
			select {
			case <-pause.C:
			case <-ctx.Done():
				return s, context.Cause(ctx)
			}
			took, err := side.do(i)
			if err != nil {
				return s, err
			}
			if i >= warm {
				*side.took = append(*side.took, took)
			}
			pause.Reset(settle)
		}
	}
	return s, nil
}

// plainPut puts record i straight into etcd.
func (t *Topics) plainPut(ctx context.Context, records *load.Records) func(i uint64) (time.Duration, error) {
	return func(i uint64) (time.Duration, error) {
		key, value := fmt.Sprintf("/plain/%020d", i), string(records.At(i))
		began := time.Now()
		_, err := t.raw.Put(ctx, key, value)
		return time.Since(began), err
	}
}

// LonePuts compares how long Put takes on an idle topic with a plain put of
// the same size, in microseconds. It blocks for about budget; ctx bounds it.
func (t *Topics) LonePuts(ctx context.Context, id string, size int, budget time.Duration) (Result, error) {
	if err := t.make(ctx); err != nil {
		return Result{}, fmt.Errorf("%s: %w", id, err)
	}
	records := load.NewRecords(size)
	s, err := take(ctx, budget, func(i uint64) (time.Duration, error) {
		began := time.Now()
		_, _, err := t.puts.Put(ctx, penstock.Message{Value: records.At(i)})
		return time.Since(began), err
	}, t.plainPut(ctx, records))
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", id, err)
	}
	return s.result(id), nil
}

// EndToEnd compares how long after Put has returned another runtime's handler is
// called with how long a plain put takes, in microseconds. It blocks for about
// budget; ctx bounds it.
func (t *Topics) EndToEnd(ctx context.Context, id string, size int, budget time.Duration) (_ Result, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", id, err)
		}
	}()
	if err := t.make(ctx); err != nil {
		return Result{}, err
	}
	t.groups++
	sub, err := t.reads.Subscribe(ctx, fmt.Sprintf("g%d", t.groups))
	if err != nil {
		return Result{}, err
	}
	records := load.NewRecords(size)
	called, over := make(chan arrival, 1), make(chan error, 1)
	go func() {
		over <- sub.Consume(ctx, func(_ context.Context, r penstock.Record) error {
			at := time.Now()
			called <- arrival{at, r.Clone()}
			return nil
		})
	}()
	s, err := take(ctx, budget, func(i uint64) (time.Duration, error) {
		partition, offset, err := t.puts.Put(ctx, penstock.Message{Value: records.At(i)})
		put := time.Now()
		if err != nil {
			return 0, err
		}
		select {
		case a := <-called:
			if a.record.Partition != partition || a.record.Offset != offset {
				return 0, fmt.Errorf("record %d of partition %d came where %d of %d was due", a.record.Offset, a.record.Partition, offset, partition)
			}
			got, _, err := load.Read(a.record.Value)
			if err == nil && got != i {
				err = fmt.Errorf("record %d came where %d was put", got, i)
			}
			return max(0, a.at.Sub(put)), err
		case err := <-over:
			return 0, fmt.Errorf("consuming ended: %w", err)
		case <-ctx.Done():
			return 0, fmt.Errorf("a record did not come: %w", context.Cause(ctx))
		}
	}, t.plainPut(ctx, records))
	if err != nil {
		return Result{}, err
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		return Result{}, err
	}
	return s.result(id), <-over
}

// arrival is a record at its handler.
type arrival struct {
	at     time.Time
	record penstock.Record
}
