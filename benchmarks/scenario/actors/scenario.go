package actors

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

// What actors do.
const (
	Deliver = "deliver" // publish to a destination, and take what a member hands out
	Tell    = "tell"    // tell actors of the same system
	Ask     = "ask"     // ask them, and wait for the answer
)

// Scenario is what to run.
type Scenario struct {
	Name         string        // of the destination; empty: bench
	Do           string        // Deliver, Tell or Ask; empty: Deliver
	Bare         bool          // of Tell and Ask: proto.actor alone, without supervision
	Size         int           // of a message, in bytes; MinSize at least. Tell and Ask pass a pointer
	Senders      int           // actors that publish, or goroutines that tell or ask
	Groups       int           // of Deliver: each gets every message
	Members      int           // of each group; of Tell and Ask: actors for each sender
	Publish      int           // messages of a Publish; 0: one
	Batch        int           // deliveries that an actor gets at once; 0: each by itself
	Mode         penstock.Mode // empty: at least once
	Rate         float64       // messages a second of all senders; 0: as fast as it goes
	Compressible bool          // the content is text that repeats, not noise
	Warmup       time.Duration // before anything counts
	Duration     time.Duration
}

// MinSize is the smallest message: what identifies it. MaxSize leaves room for one in
// what may wait in an actor.
const (
	MinSize = journal.Head
	MaxSize = 8 << 20
)

// mostAtOnce bounds batches.
const mostAtOnce = 4096

// Check returns all that is wrong with a scenario.
func (s Scenario) Check() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(s.Do != "" && s.Do != Deliver && s.Do != Tell && s.Do != Ask, "doing %q: want %s, %s or %s", s.Do, Deliver, Tell, Ask)
	fault(s.Size < MinSize || s.Size > MaxSize, "a size of %d: want %d to %d bytes", s.Size, MinSize, MaxSize)
	fault(s.Senders < 1 || s.Groups < 1 || s.Members < 1, "%d senders, %d groups, %d members: want one of each at least", s.Senders, s.Groups, s.Members)
	fault(s.Publish < 0 || s.Publish > mostAtOnce || s.Batch < 0 || s.Batch > mostAtOnce, "%d messages published and %d delivered at once: want at most %d", s.Publish, s.Batch, mostAtOnce)
	fault(s.Rate < 0 || s.Warmup < 0, "a rate of %g, a warm-up of %s: neither may be negative", s.Rate, s.Warmup)
	fault(s.Rate > 0 && (s.Do == Tell || s.Do == Ask), "a rate of %g for %s: only %s keeps to one", s.Rate, s.Do, Deliver)
	fault(s.Bare && s.Do != Tell && s.Do != Ask, "bare actors do not %s: they %s and %s", Deliver, Tell, Ask)
	fault(s.Duration <= 0, "a duration of %s: want more than nothing", s.Duration)
	fault(s.Mode != "" && s.Mode != penstock.AtLeastOnce && s.Mode != penstock.AtMostOnce, "mode %q: want %s or %s", s.Mode, penstock.AtLeastOnce, penstock.AtMostOnce)
	return errors.Join(faults...)
}

// defaulted is s with its defaults spelt out.
func (s Scenario) defaulted() Scenario {
	if s.Name == "" {
		s.Name = "bench"
	}
	if s.Do == "" {
		s.Do = Deliver
	}
	if s.Mode == "" {
		s.Mode = penstock.AtLeastOnce
	}
	s.Publish = max(1, s.Publish)
	return s
}

// settings are those of a result.
func (s Scenario) settings() map[string]string {
	out := map[string]string{
		"do": s.Do, "senders": strconv.Itoa(s.Senders), "members": strconv.Itoa(s.Members),
		"duration": s.Duration.String(), "warmup": s.Warmup.String(),
	}
	if s.Do != Deliver {
		out["bare"] = strconv.FormatBool(s.Bare)
		return out
	}
	out["size"], out["groups"], out["mode"] = strconv.Itoa(s.Size), strconv.Itoa(s.Groups), string(s.Mode)
	out["publish"], out["batch"] = strconv.Itoa(s.Publish), strconv.Itoa(s.Batch)
	out["rate"], out["compressible"] = strconv.FormatFloat(s.Rate, 'f', -1, 64), strconv.FormatBool(s.Compressible)
	return out
}

// System is whose actors they are, as results have it.
func (s Scenario) System() string {
	if s.Bare {
		return "protoactor"
	}
	return "penstock"
}

// patience bounds the setting up and the winding up.
const patience = 30 * time.Second

// Run performs s, with runtimes of start where messages are delivered, and stops what it
// began. It blocks for the warm-up, the duration, and at most a minute besides; the end
// of ctx ends it early, with an error. The error is a *scenario.Unsound when messages
// were lost, doubled or out of order; the result shows how many. tell may be nil, and
// start too where actors only tell and ask.
func (s Scenario) Run(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
	s = s.defaulted()
	r := scenario.Result{System: s.System(), Round: 1, Settings: s.settings(), Figures: map[results.Figure]float64{}}
	if err := s.Check(); err != nil {
		return r, err
	}
	var err error
	if s.Do == Deliver {
		err = s.deliver(ctx, start, tell, &r)
	} else {
		err = s.talk(ctx, tell, &r)
	}
	if err != nil {
		r.Error = err.Error()
		return r, err
	}
	return r, scenario.Judged(r.Check)
}
