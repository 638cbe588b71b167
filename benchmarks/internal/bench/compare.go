package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Comparisons: alternating runs over two links, and the medians of them. Two
// runs a second apart see the same machine, two sets of runs may not.

// Side is one of the two that are compared: a link and the receiver behind it.
type Side struct {
	Name string
	Link Link
	To   *Receiver
}

// Result is what one comparison came to.
type Result struct {
	ID         string
	Ours, Peer float64
	Unit       string
	Note       string // more about both sides; may be empty

	Runs [2][]float64          // what each run of ours and of the peer came to
	Took [2]*results.Histogram // each latency of both; nil where speed is measured
}

// Ratio is ours over the peer's.
func (r Result) Ratio() float64 { return r.Ours / r.Peer }

// String is the line that other programs read.
func (r Result) String() string {
	return fmt.Sprintf("RATIO %s %.3f ours=%.4g peer=%.4g unit=%s", r.ID, r.Ratio(), r.Ours, r.Peer, r.Unit)
}

// Plan is how long a comparison may take and where it tells of each run.
type Plan struct {
	Budget time.Duration // for all runs together
	Pairs  int           // of runs, ours and peer's
	Runs   io.Writer     // gets a line for each run
}

// Rates compares throughput at one size, in messages per second. It blocks for
// about plan.Budget; ctx bounds it.
func Rates(ctx context.Context, id string, size int, ours, peer Side, plan Plan) (Result, error) {
	sides := []Side{ours, peer}
	bodies := load.NewBodies(size)
	each := plan.Budget / time.Duration(2*plan.Pairs+2) // the two are for warming up
	counts := make([]uint64, len(sides))
	for i, s := range sides {
		rate, err := calibrate(ctx, s, bodies, each/2)
		if err != nil {
			return Result{}, fmt.Errorf("%s: warm up %s: %w", id, s.Name, err)
		}
		counts[i] = max(1, uint64(rate*each.Seconds()))
	}
	rates, costs := make([][]float64, len(sides)), make([][]float64, len(sides))
	for pair := range plan.Pairs {
		for i, s := range sides {
			runtime.GC() // nobody pays for the other's garbage
			used := load.CPU()
			rate, err := Rate(ctx, s.Link, s.To, bodies, counts[i])
			if err != nil {
				return Result{}, fmt.Errorf("%s: run %d of %s: %w", id, pair+1, s.Name, err)
			}
			cost := float64((load.CPU() - used).Nanoseconds()) / float64(counts[i])
			fmt.Fprintf(plan.Runs, "%s run %d %s: %.0f messages/s, %.0f ns of CPU each, %d messages\n", id, pair+1, s.Name, rate, cost, counts[i])
			rates[i], costs[i] = append(rates[i], rate), append(costs[i], cost)
		}
	}
	return Result{
		ID: id, Ours: Median(rates[0]), Peer: Median(rates[1]), Unit: "msg/s",
		Note: fmt.Sprintf("cpu ours=%.0f peer=%.0f ns/msg", Median(costs[0]), Median(costs[1])),
		Runs: [2][]float64{rates[0], rates[1]},
	}, nil
}

// calibrate runs the link warm, for about d, and answers its rate.
func calibrate(ctx context.Context, s Side, bodies *load.Bodies, d time.Duration) (float64, error) {
	for count := uint64(64); ; {
		rate, err := Rate(ctx, s.Link, s.To, bodies, count)
		if err != nil {
			return 0, err
		}
		// Short runs say little of speed: grow by bounded steps.
		want := uint64(rate * d.Seconds())
		if want <= count+count/2 {
			return rate, nil
		}
		count = min(want, count*16)
	}
}

// Latencies compares how long a lone message of size bytes takes on an idle
// link, in microseconds. Each run takes samples messages with pause between
// them; there are plan.Pairs, and more while plan.Budget lasts. ctx bounds it.
func Latencies(ctx context.Context, id string, size, samples int, pause time.Duration, ours, peer Side, plan Plan) (Result, error) {
	sides := []Side{ours, peer}
	bodies := load.NewBodies(size)
	for _, s := range sides {
		if _, err := Lone(ctx, s.Link, s.To, bodies, samples, pause); err != nil {
			return Result{}, fmt.Errorf("%s: warm up %s: %w", id, s.Name, err)
		}
	}
	p50, p99 := make([][]float64, len(sides)), make([][]float64, len(sides))
	all := [2]*results.Histogram{results.NewHistogram(), results.NewHistogram()}
	began := time.Now()
	for pair := 0; pair < plan.Pairs || time.Since(began)*time.Duration(pair+1) < plan.Budget*time.Duration(pair); pair++ {
		for i, s := range sides {
			runtime.GC()
			took, err := Lone(ctx, s.Link, s.To, bodies, samples, pause)
			if err != nil {
				return Result{}, fmt.Errorf("%s: run %d of %s: %w", id, pair+1, s.Name, err)
			}
			noteAll(all[i], took)
			slices.Sort(took)
			half, most := micros(took[len(took)/2]), micros(took[len(took)*99/100])
			fmt.Fprintf(plan.Runs, "%s run %d %s: p50 %.1f µs, p99 %.1f µs, %d samples\n", id, pair+1, s.Name, half, most, len(took))
			p50[i], p99[i] = append(p50[i], half), append(p99[i], most)
		}
	}
	return Result{
		ID: id, Ours: Median(p50[0]), Peer: Median(p50[1]), Unit: "us",
		Note: fmt.Sprintf("p99 ours=%.1f peer=%.1f us", Median(p99[0]), Median(p99[1])),
		Runs: [2][]float64{p50[0], p50[1]}, Took: all,
	}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// noteAll enters latencies.
func noteAll(h *results.Histogram, took []time.Duration) {
	for _, d := range took {
		h.Note(d)
	}
}

// Median is results.Median.
func Median(values []float64) float64 { return results.Median(values) }
