package pipes

// The half that sends.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
)

// sending is the half that sends, set up.
type sending struct {
	*stage
	plan   *penstock.Destination
	within time.Duration // how wrong the clocks may be
	began  time.Duration // since the start: when the first message is due
	sums   map[string]answer
}

// RunSenders performs the half of s that sends, while processes that run Members of the
// same name perform the other. It waits up to patience until all members of all groups are
// there. The result is that of the whole: latencies are by the senders' clock, and the cost
// is that of all processes. Otherwise it is as Run.
func (s Scenario) RunSenders(ctx context.Context, start scenario.Start, patience time.Duration, tell scenario.Progress) (scenario.Result, error) {
	s = s.defaulted()
	r := scenario.Result{System: "penstock", Round: 1, Settings: s.settings(), Figures: map[results.Figure]float64{}}
	if err := s.Check(); err != nil {
		return r, err
	}
	half := &sending{stage: &stage{Scenario: s, payload: journal.NewPayload(s.Size, s.Compressible)}}
	err := half.run(ctx, start, patience, tell, &r)
	if err = errors.Join(half.close(), err); err != nil {
		r.Error = err.Error()
		return r, err
	}
	return r, scenario.Judged(r.Check)
}

func (h *sending) run(ctx context.Context, start scenario.Start, patience time.Duration, tell scenario.Progress, r *scenario.Result) error {
	if err := h.register(ctx, start); err != nil {
		return err
	}
	var err error
	if h.plan, err = h.runtimes[0].Register(ctx, planOf(h.Name), penstock.MaxMessageSize(largest)); err != nil {
		return err
	}
	if err := h.known(ctx, patience); err != nil {
		return err
	}
	processes, err := h.processes(ctx)
	if err != nil {
		return err
	}
	if err := h.begin(ctx, processes, r); err != nil {
		return err
	}
	n, err := h.send(ctx, r.Figures, tell)
	if err == nil {
		err = h.gather(ctx)
	}
	if err == nil {
		h.judge(r, n)
	}
	return errors.Join(err, h.tellVerdict(ctx, r.Check, err))
}

// prelude is from the last question before a run to its first message.
const prelude = 100 * time.Millisecond

// processes asks who the members are, until each of those that are linked has answered.
func (h *sending) processes(ctx context.Context) (all map[string]answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	known := 0
	if over := scenario.Until(ctx, func() bool {
		all, err = ask(ctx, h.plan, question{Step: stepClock})
		known = 0
		for _, a := range all {
			known += a.Members
		}
		return err == nil && known == h.Members
	}); over != nil {
		return nil, errors.Join(fmt.Errorf("%d members of a group have answered, of %d: %w", known, h.Members, over), err)
	}
	return all, nil
}

// begin tells the members what comes.
func (h *sending) begin(ctx context.Context, all map[string]answer, r *scenario.Result) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	clocks := map[string]time.Duration{}
	for group, a := range all {
		by, within, err := behind(ctx, h.plan, group, h.start)
		if err != nil {
			return err
		}
		clocks[group], h.within = by, max(h.within, within)
		h.Mode = a.Mode
	}
	r.Settings["mode"], r.Settings["processes"] = string(h.Mode), strconv.Itoa(1+len(all))
	r.Settings["clock_error"] = h.within.String()
	h.began = time.Since(h.start) + prelude
	begun, err := ask(ctx, h.plan, question{Step: stepBegin, Scenario: h.Scenario, Streams: len(h.streams), Behind: clocks, Began: h.began})
	if err == nil && len(begun) != len(all) {
		err = fmt.Errorf("another process with members came when %d had answered", len(all))
	}
	return err
}

// send sends everything, and returns how many messages count.
func (h *sending) send(ctx context.Context, figures map[results.Figure]float64, tell scenario.Progress) (uint64, error) {
	runtime.GC()
	defer scenario.Telling(ctx, tell, h.acked)()
	if err := scenario.Pause(ctx, h.began-time.Since(h.start)); err != nil {
		return 0, err
	}
	h.counts.Store(int64(h.began + h.Warmup))
	sent := make(chan error, 1)
	go func() { sent <- h.sendAll(ctx, h.began) }()
	_ = scenario.Pause(ctx, h.Warmup) // those that send notice, too
	meter := scenario.NewMeter()
	_, before := h.acked()
	err := <-sent
	_, after := h.acked()
	n := (after - before) / uint64(h.Groups)
	meter.Read(figures, n, h.Size)
	if h.Rate > 0 {
		figures[results.Offered] = h.Rate
	}
	return n, err
}

// acked is what was sent, and what all groups together have settled of it.
func (h *sending) acked() (sent, settled uint64) {
	sent, _ = h.totals()
	for _, d := range h.dests {
		for _, p := range d.Stats() {
			settled += p.Accepted - uint64(p.Pending)
		}
	}
	return sent, settled
}

// gather asks all members for what they got.
func (h *sending) gather(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h.sums, err = ask(ctx, h.plan, question{Step: stepEnd})
	if err != nil {
		return fmt.Errorf("what came is not known: %w", err)
	}
	return nil
}

// judge enters what became of all messages, and adds what the members used.
func (h *sending) judge(r *scenario.Result, n uint64) {
	handled, accepted := results.NewHistogram(), results.NewHistogram()
	for i, st := range h.streams {
		sent := st.sent.Load()
		r.Check.Sent += sent
		accepted.Merge(st.accepted)
		for g := range h.Groups {
			var parts []*journal.Journal
			for _, group := range slices.Sorted(maps.Keys(h.sums)) {
				parts = append(parts, &h.sums[group].Groups[g][i])
			}
			r.Check.Add(journal.Judge(parts, sent))
		}
	}
	for _, a := range h.sums {
		if a.Handled != nil {
			handled.Merge(a.Handled)
		}
		a.Used.Add(r.Figures, n)
	}
	if h.Rate > 0 {
		r.Latencies = map[string]*results.Histogram{scenario.Accepted: accepted, scenario.Handled: handled}
	}
}

// tellVerdict tells all members what became of the messages, so that they end alike.
func (h *sending) tellVerdict(ctx context.Context, c results.Check, fault error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), soon)
	defer cancel()
	q := question{Step: stepVerdict, Check: c}
	if fault != nil {
		q.Error = fault.Error()
	}
	if _, err := ask(ctx, h.plan, q); err != nil && fault == nil {
		return err
	}
	return nil
}
