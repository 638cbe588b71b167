package pipes

// What a scenario is, and how it is run.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
)

// Scenario is what to run.
type Scenario struct {
	Name         string        // of the destination; empty: bench
	Size         int           // of a message, in bytes; MinSize at least
	Senders      int           // each with a runtime of its own
	Threads      int           // goroutines that call Send, of each sender; 0: one
	Groups       int           // each gets every message
	Members      int           // of each group
	Mode         penstock.Mode // empty: at least once
	Keys         int           // different keys of messages; 0: they have none
	Window       int           // messages that a sender may have out to a member; 0: the default
	Rate         float64       // messages a second of all senders; 0: as fast as it goes
	Compressible bool          // the content is text that repeats, not noise
	Warmup       time.Duration // before anything counts
	Duration     time.Duration
}

// MinSize is the smallest message: what identifies it.
const MinSize = journal.Head

// MaxSize is the largest.
const MaxSize = 64 << 20

// Check returns all that is wrong with a scenario.
func (s Scenario) Check() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(s.Size < MinSize || s.Size > MaxSize, "a size of %d: want %d to %d bytes", s.Size, MinSize, MaxSize)
	fault(s.Senders < 1 || s.Groups < 1 || s.Members < 1, "%d senders, %d groups, %d members: want one of each at least", s.Senders, s.Groups, s.Members)
	fault(s.Threads < 0 || s.Window < 0 || s.Rate < 0 || s.Warmup < 0, "%d threads, a window of %d, a rate of %g, a warm-up of %s: none may be negative", s.Threads, s.Window, s.Rate, s.Warmup)
	fault(s.Duration <= 0, "a duration of %s: want more than nothing", s.Duration)
	fault(s.Mode != "" && !s.Mode.Known(), "mode %q: want one of %q", s.Mode, []penstock.Mode{penstock.AtLeastOnce, penstock.AtMostOnce, penstock.Failover, penstock.KeyAffinity})
	fault(s.Keys < 0, "%d keys: want none or more", s.Keys)
	return errors.Join(faults...)
}

// defaulted is s with its defaults spelt out.
func (s Scenario) defaulted() Scenario {
	if s.Name == "" {
		s.Name = "bench"
	}
	if s.Mode == "" {
		s.Mode = penstock.AtLeastOnce
	}
	s.Threads = max(1, s.Threads)
	return s
}

// settings are those of a result.
func (s Scenario) settings() map[string]string {
	return map[string]string{
		"size": strconv.Itoa(s.Size), "senders": strconv.Itoa(s.Senders), "threads": strconv.Itoa(s.Threads),
		"groups": strconv.Itoa(s.Groups), "members": strconv.Itoa(s.Members), "mode": string(s.Mode), "keys": strconv.Itoa(s.Keys),
		"window": strconv.Itoa(s.Window), "rate": strconv.FormatFloat(s.Rate, 'f', -1, 64),
		"compressible": strconv.FormatBool(s.Compressible), "duration": s.Duration.String(), "warmup": s.Warmup.String(),
	}
}

// patience bounds the setting up and the winding up.
const patience = 30 * time.Second

// Run performs s with runtimes of start and stops them. It blocks for the
// warm-up, the duration, and at most a minute besides; the end of ctx ends it
// early, with an error. The error is a *scenario.Unsound when messages were lost,
// doubled or out of order; the result shows how many. tell may be nil.
func (s Scenario) Run(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
	s = s.defaulted()
	r := scenario.Result{System: "penstock", Round: 1, Settings: s.settings(), Figures: map[results.Figure]float64{}}
	if err := s.Check(); err != nil {
		return r, err
	}
	st := &stage{Scenario: s, payload: journal.NewPayload(s.Size, s.Compressible)}
	err := st.open(ctx, start)
	if err == nil {
		err = st.perform(ctx, r.Figures, tell)
	}
	// What a member saw explains what a sender waited for.
	if err = errors.Join(st.close(), err); err != nil {
		r.Error = err.Error()
		return r, err
	}
	r.Check = st.judge()
	if s.Rate > 0 {
		r.Latencies = st.latencies()
	}
	return r, scenario.Judged(r.Check)
}
