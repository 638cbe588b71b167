package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// Comparisons of logs, the way links are compared: alternating runs, medians.

// LogSide is one of the two that are compared; the peer's Log may be nil, then
// there is no such peer here.
type LogSide struct {
	Name string
	Log  load.Log
}

// calibration is how many records the first run of a side has.
const calibration = 20000

// PutRates compares how many records a second are put, of size bytes, until
// all are acknowledged. It blocks for about plan.Budget; ctx bounds it. Without
// a peer, Peer of the result is 0.
func PutRates(ctx context.Context, id string, size int, ours, peer LogSide, plan Plan) (Result, error) {
	return logRates(ctx, id, ours, peer, plan, func(s LogSide, count uint64) (load.Timing, error) {
		return s.Log.Put(ctx, size, count)
	})
}

// ConsumeRates compares how many records a second a group reads and finishes
// for good, of size bytes. Each side reads its same records in each run. It
// blocks for about plan.Budget and what the putting takes; ctx bounds it.
func ConsumeRates(ctx context.Context, id string, size int, ours, peer LogSide, plan Plan) (Result, error) {
	there := map[load.Log]uint64{}
	return logRates(ctx, id, ours, peer, plan, func(s LogSide, count uint64) (load.Timing, error) {
		if there[s.Log] < count {
			if _, err := s.Log.Put(ctx, size, count); err != nil {
				return load.Timing{}, err
			}
			there[s.Log] = count
			runtime.GC()
		}
		return s.Log.Consume(ctx)
	})
}

func logRates(ctx context.Context, id string, ours, peer LogSide, plan Plan, run func(LogSide, uint64) (load.Timing, error)) (Result, error) {
	var sides []LogSide
	for _, s := range []LogSide{ours, peer} {
		if s.Log != nil {
			sides = append(sides, s)
		}
	}
	if len(sides) == 0 {
		return Result{}, fmt.Errorf("%s: there is nothing to measure", id)
	}
	each := plan.Budget / time.Duration(len(sides)*(plan.Pairs+1)) // one for warming up
	counts := make([]uint64, len(sides))
	for i, s := range sides {
		for counts[i] = calibration; ; {
			took, err := run(s, counts[i])
			if err != nil {
				return Result{}, fmt.Errorf("%s: warm up %s: %w", id, s.Name, err)
			}
			// Short runs say little of speed: grow by bounded steps.
			want := uint64(took.Rate() * each.Seconds())
			if want <= counts[i]*2 {
				counts[i] = max(took.Count, want)
				break
			}
			counts[i] = min(want, counts[i]*16)
		}
	}
	rates, costs := make([][]float64, len(sides)), make([][]float64, len(sides))
	for pair := range plan.Pairs {
		for i, s := range sides {
			runtime.GC() // nobody pays for the other's garbage,
			load.Sync()  // nor for what it has not written yet
			took, err := run(s, counts[i])
			if err != nil {
				return Result{}, fmt.Errorf("%s: run %d of %s: %w", id, pair+1, s.Name, err)
			}
			fmt.Fprintf(plan.Runs, "%s run %d %s: %.0f records/s, %.0f ns of CPU each, %d records\n", id, pair+1, s.Name, took.Rate(), took.Cost(), took.Count)
			rates[i], costs[i] = append(rates[i], took.Rate()), append(costs[i], took.Cost())
		}
	}
	r := Result{ID: id, Ours: Median(rates[0]), Unit: "msg/s", Note: fmt.Sprintf("cpu ours=%.0f", Median(costs[0]))}
	r.Runs[0] = rates[0]
	if len(sides) > 1 {
		r.Peer, r.Runs[1] = Median(rates[1]), rates[1]
		r.Note += fmt.Sprintf(" peer=%.0f", Median(costs[1]))
	}
	r.Note += " ns/msg, with etcd's or the server's"
	return r, nil
}
