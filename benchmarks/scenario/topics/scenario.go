package topics

// What a scenario is, and how it is run.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
)

// How producers put.
const (
	Async   = "async" // PutAsync, as many as there is room for
	Batched = "batch" // PutBatch, one after the other
	Lone    = "lone"  // Put, one after the other
)

// Scenario is what to run.
type Scenario struct {
	Name         string // of the topic, which is made and deleted; empty: bench
	Size         int    // of a record's value, in bytes; MinSize at least
	Partitions   int
	Producers    int    // each with a runtime of its own
	Put          string // Async, Batched or Lone; empty: Async
	Batch        int    // records of a PutBatch; 0: 100
	Keys         int    // how many different keys; 0: records have none
	Groups       int    // each gets every record; 0: nobody reads
	Consumers    int    // in each group; those of different groups share runtimes
	Compression  penstock.Compression
	Compressible bool          // the values are text that repeats, not noise
	CatchUp      bool          // consume when everything was put, not meanwhile
	Rate         float64       // records a second of all producers; 0: as fast as it goes
	Warmup       time.Duration // before anything counts
	Duration     time.Duration
}

// MinSize is the smallest record: what identifies it. MaxSize leaves room in a
// batch for the frame of a record.
const (
	MinSize = load.MinRecord
	MaxSize = 1<<20 - 1<<10
)

// Check returns all that is wrong with a scenario.
func (s Scenario) Check() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(s.Size < MinSize || s.Size > MaxSize, "a size of %d: want %d to %d bytes", s.Size, MinSize, MaxSize)
	fault(s.Partitions < 1 || s.Producers < 1 || s.Groups < 0 || s.Groups > 0 && s.Consumers < 1,
		"%d partitions, %d producers, %d groups, %d consumers in each: want one of each at least, but for groups", s.Partitions, s.Producers, s.Groups, s.Consumers)
	fault(s.Keys < 0 || s.Batch < 0 || s.Rate < 0 || s.Warmup < 0, "%d keys, batches of %d, a rate of %g, a warm-up of %s: none may be negative", s.Keys, s.Batch, s.Rate, s.Warmup)
	fault(s.Duration <= 0, "a duration of %s: want more than nothing", s.Duration)
	fault(s.Put != "" && s.Put != Async && s.Put != Batched && s.Put != Lone, "putting %q: want %s, %s or %s", s.Put, Async, Batched, Lone)
	return errors.Join(faults...)
}

// defaulted is s with its defaults spelt out.
func (s Scenario) defaulted() Scenario {
	if s.Name == "" {
		s.Name = "bench"
	}
	if s.Put == "" {
		s.Put = Async
	}
	if s.Put == Batched && s.Batch == 0 {
		s.Batch = 100
	}
	if s.Put != Batched {
		s.Batch = 0
	}
	if s.Compression == "" {
		s.Compression = penstock.CompressS2
	}
	return s
}

// settings are those of a result.
func (s Scenario) settings() map[string]string {
	return map[string]string{
		"size": strconv.Itoa(s.Size), "partitions": strconv.Itoa(s.Partitions), "producers": strconv.Itoa(s.Producers),
		"put": s.Put, "batch": strconv.Itoa(s.Batch), "keys": strconv.Itoa(s.Keys), "groups": strconv.Itoa(s.Groups),
		"consumers": strconv.Itoa(s.Consumers), "compression": string(s.Compression), "compressible": strconv.FormatBool(s.Compressible),
		"catch_up": strconv.FormatBool(s.CatchUp), "rate": strconv.FormatFloat(s.Rate, 'f', -1, 64),
		"duration": s.Duration.String(), "warmup": s.Warmup.String(),
	}
}

func (s Scenario) topic() penstock.TopicConfig {
	return penstock.TopicConfig{Partitions: s.Partitions, Compression: s.Compression}
}

// patience bounds the setting up and each part of the winding up.
const patience = time.Minute

// Run performs s with runtimes of start, deletes the topic, and stops them. It
// blocks for the warm-up, the duration, and what reading the rest takes; the end of
// ctx ends it early, with an error. The error is a *scenario.Unsound when records
// were lost, doubled or out of order; the result shows how many. tell may be nil.
func (s Scenario) Run(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
	s = s.defaulted()
	r := scenario.Result{System: "penstock", Round: 1, Settings: s.settings(), Figures: map[results.Figure]float64{}}
	if err := s.Check(); err != nil {
		return r, err
	}
	st := &stage{Scenario: s, launch: start, start: time.Now(), accepted: newTook(), committed: newTook(), handled: newTook()}
	err := st.perform(ctx, r.Figures, tell)
	// What a consumer saw explains what others waited for.
	if err = errors.Join(st.close(), err); err != nil {
		r.Error = err.Error()
		return r, err
	}
	r.Check = st.judge()
	if s.Rate > 0 {
		r.Latencies = map[string]*results.Histogram{
			scenario.Accepted: st.accepted.h, scenario.Committed: st.committed.h, scenario.Handled: st.handled.h,
		}
	}
	return r, scenario.Judged(r.Check)
}
