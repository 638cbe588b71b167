package pipes

// The half that receives.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
)

// Members are those of one process, for a scenario whose senders are in another.
type Members struct {
	Name    string // of the destination; empty: bench
	Groups  int    // as many as the senders' scenario has
	Members int    // of each group, in this process
	Mode    penstock.Mode
	Window  int           // messages that a sender may have out to a member; 0: the default
	Wait    time.Duration // for the senders to begin
}

// Check returns all that is wrong with it.
func (m Members) Check() error {
	return Scenario{
		Name: m.Name, Size: MinSize, Senders: 1, Groups: m.Groups, Members: m.Members, Mode: m.Mode, Window: m.Window, Warmup: m.Wait, Duration: 1,
	}.Check()
}

// receiving is the half that receives, set up.
type receiving struct {
	*stage
	plan  *penstock.Member
	group string // of the plan: this process
	clock time.Time
	since atomic.Pointer[warm] // set when the warm-up is over
	wait  time.Duration
}

// Run joins, waits for a process that runs Scenario.RunSenders, and returns when that has
// said what became of all messages, which is the result's Check; the figures and latencies
// are those of this process. The error is a *scenario.Unsound when messages were lost,
// doubled or out of order, here or elsewhere. tell may be nil.
func (m Members) Run(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
	s := Scenario{Name: m.Name, Groups: m.Groups, Members: m.Members, Mode: m.Mode, Window: m.Window}.defaulted()
	r := scenario.Result{System: "penstock", Round: 1, Figures: map[results.Figure]float64{}}
	if err := m.Check(); err != nil {
		return r, err
	}
	host, _ := os.Hostname() // a part of a name
	half := &receiving{stage: &stage{Scenario: s}, clock: time.Now(), wait: m.Wait, group: fmt.Sprintf("%.40s-%d-%d", host, os.Getpid(), time.Now().UnixNano())}
	err := half.run(ctx, start, tell, &r)
	if err = errors.Join(half.close(), err); err != nil {
		r.Error = err.Error()
		return r, err
	}
	return r, scenario.Judged(r.Check)
}

// warm is where the counting began.
type warm struct {
	scenario.Meter
	received uint64
}

func (h *receiving) run(ctx context.Context, start scenario.Start, tell scenario.Progress, r *scenario.Result) error {
	rt, err := start(ctx)
	if err != nil {
		return err
	}
	h.runtimes = append(h.runtimes, rt)
	// Before the messages' members: with the last of them the senders begin.
	if h.plan, err = rt.Join(ctx, planOf(h.Name), h.group, penstock.KeepFor(time.Second)); err != nil {
		return err
	}
	if err := h.join(ctx, start); err != nil {
		return err
	}
	defer scenario.Telling(ctx, tell, func() (sent, received uint64) { _, received = h.totals(); return received, received })()
	patience, winding := h.wait, patience // how long the senders may be silent
	for {
		q, err := h.next(ctx, patience, func(q question) (answer, error) { return h.answer(ctx, q, r) })
		if err != nil {
			return err
		}
		switch q.Step {
		case stepBegin:
			patience = h.Warmup + h.Duration + 3*winding
		case stepVerdict:
			r.Check = q.Check
			if q.Error != "" {
				return errors.New("the senders failed: " + q.Error)
			}
			return nil
		}
	}
}

// next takes the next question, and replies to it.
func (h *receiving) next(ctx context.Context, patience time.Duration, reply func(question) (answer, error)) (question, error) {
	waiting, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no word from the senders for %s", patience))
	defer cancel()
	got, err := h.plan.Poll(waiting, 1)
	if err != nil {
		return question{}, err
	}
	q, err := decode[question](got[0].Value)
	if err != nil {
		got[0].Reject(err)
		return q, err
	}
	a, err := reply(q)
	if err != nil {
		a.Error = err.Error()
	}
	m, failed := encode(a)
	return q, errors.Join(err, failed, got[0].Reply(m))
}

func (h *receiving) answer(ctx context.Context, q question, r *scenario.Result) (a answer, err error) {
	switch q.Step {
	case stepClock:
		return answer{Clock: time.Since(h.clock), Members: h.Members, Mode: h.Mode}, nil
	case stepBegin:
		return a, h.begin(q, r)
	case stepEnd:
		return h.report(ctx, r)
	case stepVerdict:
		return a, nil
	default:
		return a, fmt.Errorf("step %q is not known", q.Step)
	}
}

// begin reads what a scenario sends.
func (h *receiving) begin(q question, r *scenario.Result) error {
	if h.payload != nil {
		return errors.New("a run has begun already: start the members again for another")
	}
	if q.Scenario.Groups != h.Groups {
		return fmt.Errorf("the senders expect %d groups, and the members are in %d", q.Scenario.Groups, h.Groups)
	}
	mode, window, members := h.Mode, h.Window, h.Members
	h.Scenario = q.Scenario
	h.Mode, h.Window, h.Members = mode, window, members
	r.Settings = h.settings()
	h.payload = journal.NewPayload(h.Size, h.Compressible)
	h.start = h.clock.Add(-q.Behind[h.group])
	h.counts.Store(int64(q.Began + h.Warmup))
	h.listen(q.Streams)
	time.AfterFunc(q.Began+h.Warmup-time.Since(h.start), func() {
		_, received := h.totals()
		h.since.Store(&warm{scenario.NewMeter(), received})
	})
	return nil
}

// report waits for what is on its way, and says what came.
func (h *receiving) report(ctx context.Context, r *scenario.Result) (a answer, err error) {
	if h.Mode == penstock.AtMostOnce { // what is sent is settled before it comes
		for last := uint64(0); ; {
			_, received := h.totals()
			if received == last {
				break
			}
			last = received
			if err := scenario.Pause(ctx, time.Second); err != nil {
				return a, err
			}
		}
	}
	meter := h.since.Load()
	if meter == nil {
		return a, errors.New("the run ended before its warm-up")
	}
	_, received := h.totals()
	meter.Read(r.Figures, (received-meter.received)/uint64(h.Groups), h.Size)
	// Leaving ends the loops, whose journals can be read then.
	leaving, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	for _, g := range h.groups {
		var sums []journal.Journal
		for _, m := range g {
			if err := m.m.Leave(leaving); err != nil {
				return a, err
			}
			<-m.over
			if m.err != nil {
				return a, m.err
			}
		}
		for i := range g[0].journals {
			var parts []*journal.Journal
			for _, m := range g {
				parts = append(parts, m.journals[i])
			}
			sums = append(sums, *journal.Merge(parts))
		}
		a.Groups = append(a.Groups, sums)
	}
	a.Used = meter.Used()
	if h.Rate > 0 {
		a.Handled = h.latencies()[scenario.Handled]
		r.Latencies = map[string]*results.Histogram{scenario.Handled: a.Handled}
	}
	return a, nil
}
