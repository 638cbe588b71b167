package pipes

// A scenario that is set up: its senders, its members, and what they do.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
)

// stream is one goroutine that calls Send of a destination.
type stream struct {
	dest     *penstock.Destination
	sent     atomic.Uint64
	accepted *results.Histogram
}

// member reads for one group.
type member struct {
	m        *penstock.Member
	got      atomic.Uint64
	journals []*journal.Journal // by stream
	handled  *results.Histogram
	err      error
	over     chan struct{} // closed when the loop has ended
}

// quiet is how long nothing comes of what was settled before nothing will.
const quiet = 2 * time.Second

type stage struct {
	Scenario
	payload  *journal.Payload
	runtimes []*penstock.Runtime
	dests    []*penstock.Destination
	streams  []*stream
	groups   [][]*member
	start    time.Time
	counts   atomic.Int64 // nanoseconds since start: when the warm-up is over
}

// open starts everything in this process, and waits until all are linked.
func (s *stage) open(ctx context.Context, start scenario.Start) error {
	if err := s.register(ctx, start); err != nil {
		return err
	}
	if err := s.join(ctx, start); err != nil {
		return err
	}
	s.listen(len(s.streams))
	return s.known(ctx, patience)
}

// register starts the senders.
func (s *stage) register(ctx context.Context, start scenario.Start) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range s.Senders {
		rt, err := start(ctx)
		if err != nil {
			return err
		}
		s.runtimes = append(s.runtimes, rt)
		dest, err := rt.Register(ctx, s.Name, penstock.MaxMessageSize(max(s.Size, 4<<20)))
		if err != nil {
			return err
		}
		s.dests = append(s.dests, dest)
		for range s.Threads {
			s.streams = append(s.streams, &stream{dest: dest, accepted: results.NewHistogram()})
		}
	}
	s.start = time.Now()
	return nil
}

// join starts the members, in a runtime of their own.
func (s *stage) join(ctx context.Context, start scenario.Start) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rt, err := start(ctx)
	if err != nil {
		return err
	}
	s.runtimes = append(s.runtimes, rt)
	opts := []penstock.JoinOption{penstock.InMode(s.Mode)}
	if s.Window > 0 {
		opts = append(opts, penstock.Window(s.Window))
	}
	for g := range s.Groups {
		var group []*member
		for range s.Members {
			m, err := rt.Join(ctx, s.Name, fmt.Sprintf("g%d", g), opts...)
			if err != nil {
				return err
			}
			group = append(group, &member{m: m, handled: results.NewHistogram(), over: make(chan struct{})})
		}
		s.groups = append(s.groups, group)
	}
	return nil
}

// listen lets the members read what so many streams send.
func (s *stage) listen(streams int) {
	for _, g := range s.groups {
		for _, m := range g {
			for range streams {
				m.journals = append(m.journals, &journal.Journal{})
			}
			go s.read(m)
		}
	}
}

// known waits until every sender serves every group: what is sent before goes
// to fewer of them.
func (s *stage) known(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, dest := range s.dests {
		linked := 0
		if err := scenario.Until(ctx, func() bool {
			linked = scenario.Links(dest.Stats())
			return linked == s.Groups*s.Members
		}); err != nil {
			return fmt.Errorf("a sender has %d links, not %d: %w", linked, s.Groups*s.Members, err)
		}
	}
	return nil
}

func (s *stage) read(m *member) {
	defer close(m.over)
	for msg, err := range m.m.Messages(context.Background()) {
		if err != nil {
			m.err = err
			return
		}
		st, err := s.payload.Read(msg.Value)
		if err == nil && st.Sender >= uint64(len(m.journals)) {
			err = fmt.Errorf("a message of sender %d came, of %d", st.Sender, len(m.journals))
		}
		if err != nil {
			m.err = err
			return
		}
		if s.Rate > 0 && int64(st.Meant) >= s.counts.Load() {
			m.handled.Note(time.Since(s.start) - st.Meant)
		}
		m.journals[st.Sender].Note(st.Seq, msg.Redelivered)
		m.got.Add(1)
	}
}

func (s *stage) perform(ctx context.Context, figures map[results.Figure]float64, tell scenario.Progress) error {
	runtime.GC()
	defer scenario.Telling(ctx, tell, s.totals)()

	began := time.Since(s.start)
	s.counts.Store(int64(began + s.Warmup))
	sent := make(chan error, 1)
	go func() { sent <- s.sendAll(ctx, began) }()
	_ = scenario.Pause(ctx, s.Warmup) // those that work notice, too
	meter := scenario.NewMeter()
	_, before := s.totals()
	err := <-sent
	if err == nil && len(s.groups) > 0 {
		// What does not come is judged as lost.
		err = scenario.Arrived(ctx, quiet, s.Groups, s.totals)
	}
	_, received := s.totals()
	meter.Read(figures, (received-before)/uint64(s.Groups), s.Size)
	if s.Rate > 0 {
		figures[results.Offered] = s.Rate
	}
	return err
}

// sendAll lets all streams send, and waits until what they sent is acked.
func (s *stage) sendAll(ctx context.Context, began time.Duration) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.streams))
	for i, st := range s.streams {
		wg.Go(func() {
			if errs[i] = s.feed(ctx, uint64(i), st, began); errs[i] == nil {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				errs[i] = st.dest.Flush(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// feed sends until the scenario is over: at its share of the rate, each message
// when it is due or as soon after as it can be, or without a rate as fast as it
// goes.
func (s *stage) feed(ctx context.Context, id uint64, st *stream, began time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.Warmup+s.Duration+patience)
	defer cancel()
	every := time.Duration(0)
	if s.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(len(s.streams)) / s.Rate)
	}
	buf := make([]byte, s.Size)
	keys := make([][]byte, max(1, s.Keys)) // without a number there is one, which is none
	for i := range s.Keys {
		keys[i] = strconv.AppendInt([]byte("key-"), int64(i), 10)
	}
	end := began + s.Warmup + s.Duration
	for seq := uint64(0); ; seq++ {
		meant := began + time.Duration(seq)*every
		if every > 0 {
			if meant >= end {
				return nil
			}
			for early := meant - time.Since(s.start); early > 0; early = meant - time.Since(s.start) {
				load.Rest(early)
			}
		} else if seq%64 == 0 && time.Since(s.start) >= end {
			return nil
		}
		s.payload.Write(buf, journal.Stamp{Sender: id, Seq: seq, Meant: meant})
		if err := st.dest.Send(ctx, penstock.Message{Key: keys[seq%uint64(len(keys))], Value: buf}); err != nil {
			return err
		}
		if every > 0 && int64(meant) >= s.counts.Load() {
			st.accepted.Note(time.Since(s.start) - meant)
		}
		st.sent.Add(1)
	}
}

func (s *stage) totals() (sent, received uint64) {
	for _, st := range s.streams {
		sent += st.sent.Load()
	}
	for _, g := range s.groups {
		for _, m := range g {
			received += m.got.Load()
		}
	}
	return sent, received
}

func (s *stage) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, rt := range s.runtimes {
		errs = append(errs, rt.Stop(ctx))
	}
	for _, g := range s.groups {
		for _, m := range g {
			if m.journals != nil { // else nobody began to read
				<-m.over
				errs = append(errs, m.err)
			}
		}
	}
	return errors.Join(errs...)
}

// judge is what became of all messages, in all groups together; Sent is what was sent.
func (s *stage) judge() results.Check {
	var sum results.Check
	for i, st := range s.streams {
		sum.Sent += st.sent.Load()
		for _, g := range s.groups {
			var journals []*journal.Journal
			for _, m := range g {
				journals = append(journals, m.journals[i])
			}
			sum.Add(journal.Judge(journals, st.sent.Load()))
		}
	}
	return sum
}

func (s *stage) latencies() map[string]*results.Histogram {
	accepted, handled := results.NewHistogram(), results.NewHistogram()
	for _, st := range s.streams {
		accepted.Merge(st.accepted)
	}
	for _, g := range s.groups {
		for _, m := range g {
			handled.Merge(m.handled)
		}
	}
	return map[string]*results.Histogram{scenario.Accepted: accepted, scenario.Handled: handled}
}
