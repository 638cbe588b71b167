package actors

// A scenario of publishing and delivering that is set up.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
	"github.com/penstock-io/penstock/supervisor"
)

// house is a runtime in an actor system of its own.
type house struct {
	rt   *penstock.Runtime
	sys  *actor.ActorSystem
	pids []*actor.PID // to be stopped, the last first
}

// quiet is how long nothing comes of what was settled before nothing will.
const quiet = 2 * time.Second

type stage struct {
	Scenario
	payload    *journal.Payload
	houses     []*house
	publishers []*publisher
	groups     [][]*receiver
	up         sync.WaitGroup // children that are not ready
	failed     chan error     // the first failure
	start      time.Time
	counts     atomic.Int64 // nanoseconds since start: when the warm-up is over
}

// fail keeps the first failure.
func (s *stage) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// deliver performs a scenario of delivering.
func (s Scenario) deliver(ctx context.Context, start scenario.Start, tell scenario.Progress, r *scenario.Result) error {
	st := &stage{Scenario: s, payload: journal.NewPayload(s.Size, s.Compressible), failed: make(chan error, 1), start: time.Now()}
	err := st.open(ctx, start)
	if err == nil {
		err = st.perform(ctx, r.Figures, tell)
	}
	if err = errors.Join(st.close(), err); err != nil {
		return err
	}
	st.judge(r)
	return nil
}

func (s *stage) house(ctx context.Context, start scenario.Start) (*house, error) {
	h := &house{sys: newSystem()}
	s.houses = append(s.houses, h)
	var err error
	h.rt, err = start(ctx, penstock.ActorSystem(h.sys))
	return h, err
}

func (s *stage) open(ctx context.Context, start scenario.Start) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range s.Senders {
		h, err := s.house(ctx, start)
		if err != nil {
			return err
		}
		p := newPublisher(s, uint64(i), penstock.DestinationProps(h.rt, s.Name, penstock.MaxMessageSize(max(s.Size, 4<<20))))
		s.publishers = append(s.publishers, p)
		s.up.Add(1)
		p.pid = h.sys.Root.Spawn(supervisor.Props(func() actor.Actor { return p }))
		h.pids = append(h.pids, p.pid)
		p.root = h.sys.Root
	}
	h, err := s.house(ctx, start)
	if err != nil {
		return err
	}
	var members []*actor.Props
	for g := range s.Groups {
		var group []*receiver
		for range s.Members {
			r := &receiver{stage: s, handled: results.NewHistogram()}
			for range s.Senders {
				r.journals = append(r.journals, &journal.Journal{})
			}
			group = append(group, r)
			pid := h.sys.Root.Spawn(supervisor.Props(func() actor.Actor { return r }))
			h.pids = append(h.pids, pid)
			members = append(members, penstock.MemberProps(h.rt, s.Name, fmt.Sprintf("g%d", g), penstock.Receiver{To: pid, Batch: s.Batch}, penstock.InMode(s.Mode)))
		}
		s.groups = append(s.groups, group)
	}
	s.up.Add(len(members))
	h.pids = append(h.pids, h.sys.Root.Spawn(supervisor.Props(func() actor.Actor { return &parent{stage: s, children: members} })))
	return s.ready(ctx)
}

// ready waits until every child is, and every publisher linked to all members.
func (s *stage) ready(ctx context.Context) error {
	up := make(chan struct{})
	go func() { s.up.Wait(); close(up) }()
	select {
	case <-up:
	case err := <-s.failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the actors are not ready: %w", context.Cause(ctx))
	}
	for i := range s.publishers {
		linked := 0
		if err := scenario.Until(ctx, func() bool {
			linked = scenario.Links(s.houses[i].rt.Stats().Pipes)
			return linked == s.Groups*s.Members
		}); err != nil {
			return fmt.Errorf("a publisher has %d links, not %d: %w", linked, s.Groups*s.Members, err)
		}
	}
	return nil
}

func (s *stage) totals() (sent, received uint64) {
	for _, p := range s.publishers {
		sent += p.sent.Load()
	}
	for _, g := range s.groups {
		for _, r := range g {
			received += r.got.Load()
		}
	}
	return sent, received
}

func (s *stage) perform(ctx context.Context, figures map[results.Figure]float64, tell scenario.Progress) error {
	runtime.GC()
	defer scenario.Telling(ctx, tell, s.totals)()
	began := time.Since(s.start)
	s.counts.Store(int64(began + s.Warmup))
	for _, p := range s.publishers {
		p.root.Send(p.pid, &begin{began, began + s.Warmup + s.Duration})
	}
	if s.Rate > 0 {
		pacing, stop := context.WithCancel(ctx)
		var pacer sync.WaitGroup
		pacer.Go(func() { s.pace(pacing) })
		defer func() { stop(); pacer.Wait() }()
	}
	err := scenario.Pause(ctx, s.Warmup)
	meter := scenario.NewMeter()
	_, before := s.totals()
	if err == nil {
		err = s.flushed(ctx)
	}
	_, received := s.totals()
	meter.Read(figures, (received-before)/uint64(s.Groups), s.Size)
	if s.Rate > 0 {
		figures[results.Offered] = s.Rate
	}
	return err
}

// pace wakes the publishers whenever a message is due.
func (s *stage) pace(ctx context.Context) {
	began := time.Since(s.start)
	every := time.Duration(float64(time.Second) / s.Rate)
	for n, at := 0, began; ctx.Err() == nil; n, at = n+1, at+every {
		for early := at - time.Since(s.start); early > 0; early = at - time.Since(s.start) {
			load.Rest(early)
		}
		p := s.publishers[n%len(s.publishers)]
		p.root.Send(p.pid, &due{})
	}
}

// flushed waits until all publishers are done and everybody has what was sent.
func (s *stage) flushed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.Warmup+s.Duration+patience)
	defer cancel()
	for _, p := range s.publishers {
		select {
		case <-p.over:
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	// What does not come is judged as lost.
	return scenario.Arrived(ctx, quiet, s.Groups, s.totals)
}

func (s *stage) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, h := range s.houses {
		for i := len(h.pids) - 1; i >= 0; i-- {
			errs = append(errs, supervisor.Stop(ctx, h.sys, h.pids[i]))
		}
		if h.rt != nil {
			errs = append(errs, h.rt.Stop(ctx))
		}
		h.sys.Shutdown()
	}
	select {
	case err := <-s.failed:
		errs = append(errs, err)
	default:
	}
	return errors.Join(errs...)
}

// judge enters what became of all messages, in all groups together, and how long it took.
func (s *stage) judge(r *scenario.Result) {
	accepted, handled := results.NewHistogram(), results.NewHistogram()
	for i, p := range s.publishers {
		r.Check.Sent += p.sent.Load()
		accepted.Merge(p.accepted)
		for _, g := range s.groups {
			var journals []*journal.Journal
			for _, rec := range g {
				journals = append(journals, rec.journals[i])
			}
			r.Check.Add(journal.Judge(journals, p.sent.Load()))
		}
	}
	for _, g := range s.groups {
		for _, rec := range g {
			handled.Merge(rec.handled)
		}
	}
	if s.Rate > 0 {
		r.Latencies = map[string]*results.Histogram{scenario.Accepted: accepted, scenario.Handled: handled}
	}
}
