package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// One scenario: senders and members over loopback, for a while.

// scenario is what to run.
type scenario struct {
	Size    int           `json:"size"`
	Senders int           `json:"senders"`
	Groups  int           `json:"groups"`
	Members int           `json:"members"` // of each group
	Mode    penstock.Mode `json:"mode"`
	Window  int           `json:"window,omitempty"` // 0: the default
	Rate    float64       `json:"rate,omitempty"`   // messages/s of all senders; 0: as fast as it goes
	Seconds float64       `json:"seconds"`
}

// report is what came of it.
type report struct {
	scenario
	Sent      uint64   `json:"sent"`
	Elapsed   float64  `json:"elapsed_s"` // first send to last ack
	PerSecond float64  `json:"messages_per_s"`
	Bytes     float64  `json:"mb_per_s"`
	CPU       float64  `json:"cpu_ns_per_message"`
	Latency   *latency `json:"latency_us,omitempty"`
	verdict
}

// latency is from the intended time to the handler, in microseconds, over all
// groups: a sender that falls behind its rate does not hide it.
type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// patience bounds the setting up and the winding up.
const patience = 30 * time.Second

// Latencies from 1 µs to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// sender is one registered instance, in a runtime of its own.
type sender struct {
	dest *penstock.Destination
	sent atomic.Uint64
}

// member reads for one group.
type member struct {
	m        *penstock.Member
	got      atomic.Uint64
	journals []*journal // by sender
	took     *hdrhistogram.Histogram
	err      error
	over     chan struct{} // closed when the loop has ended
}

// stage is a scenario that is set up.
type stage struct {
	scenario
	payload  *payload
	runtimes []*penstock.Runtime
	senders  []*sender
	groups   [][]*member
	start    time.Time
}

// run performs s against etcd, in a namespace of its own, and tells how it goes
// each second.
func (s scenario) run(ctx context.Context, etcd clientv3.Config, prefix string, progress func(sent, received uint64)) (report, error) {
	st := &stage{scenario: s, payload: newPayload(s.Size)}
	err := st.open(ctx, etcd, prefix)
	var r report
	if err == nil {
		r, err = st.perform(ctx, progress)
	}
	// What a member saw explains what a sender waited for.
	if err = errors.Join(st.close(), err); err != nil {
		return r, err
	}
	return st.judge(r)
}

func (s *stage) open(ctx context.Context, etcd clientv3.Config, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := func() (*penstock.Runtime, error) {
		rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd), penstock.Prefix(prefix), penstock.Listen("tcp://127.0.0.1:0"))
		if err == nil {
			s.runtimes = append(s.runtimes, rt)
		}
		return rt, err
	}
	for range s.Senders {
		rt, err := start()
		if err != nil {
			return err
		}
		dest, err := rt.Register(ctx, "bench", penstock.MaxMessageSize(max(s.Size, 4<<20)))
		if err != nil {
			return err
		}
		s.senders = append(s.senders, &sender{dest: dest})
	}
	rt, err := start()
	if err != nil {
		return err
	}
	opts := []penstock.JoinOption{penstock.InMode(s.Mode)}
	if s.Window > 0 {
		opts = append(opts, penstock.Window(s.Window))
	}
	s.start = time.Now()
	for g := range s.Groups {
		var group []*member
		for range s.Members {
			m, err := rt.Join(ctx, "bench", fmt.Sprintf("g%d", g), opts...)
			if err != nil {
				return err
			}
			reader := &member{m: m, took: newHistogram(), over: make(chan struct{})}
			for range s.Senders {
				reader.journals = append(reader.journals, &journal{})
			}
			group = append(group, reader)
			go s.read(reader)
		}
		s.groups = append(s.groups, group)
	}
	return s.known(ctx)
}

// known waits until every sender serves every group: what is sent before goes
// to fewer of them.
func (s *stage) known(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for _, snd := range s.senders {
		for {
			linked := 0
			for _, p := range snd.dest.Stats() {
				linked += p.Links
			}
			if linked == s.Groups*s.Members {
				break
			}
			select {
			case <-look.C:
			case <-ctx.Done():
				return fmt.Errorf("a sender has %d links, not %d: %w", linked, s.Groups*s.Members, context.Cause(ctx))
			}
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
		st, err := s.payload.read(msg.Value)
		if err == nil && st.sender >= uint64(len(m.journals)) {
			err = fmt.Errorf("a message of sender %d came, of %d", st.sender, len(m.journals))
		}
		if err != nil {
			m.err = err
			return
		}
		if s.Rate > 0 {
			took := time.Since(s.start) - st.meant
			// What takes longer than a minute counts as a minute.
			_ = m.took.RecordValue(min(max(1, took.Microseconds()), time.Minute.Microseconds()))
		}
		m.journals[st.sender].note(st.seq, msg.Redelivered)
		m.got.Add(1)
	}
}

func (s *stage) perform(ctx context.Context, progress func(sent, received uint64)) (report, error) {
	runtime.GC()
	r := report{scenario: s.scenario}
	reporting, stop := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() { s.tell(reporting, progress) })
	defer reporter.Wait()
	defer stop()

	used, began := load.CPU(), time.Now()
	var wg sync.WaitGroup
	errs := make([]error, len(s.senders))
	for i, snd := range s.senders {
		wg.Go(func() {
			if errs[i] = s.feed(ctx, uint64(i), snd); errs[i] == nil {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				errs[i] = snd.dest.Flush(ctx)
			}
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		err = s.arrived(ctx)
	}
	elapsed := time.Since(began)
	r.Sent, _ = s.counts()
	r.Elapsed = elapsed.Seconds()
	r.PerSecond = float64(r.Sent) / r.Elapsed
	r.Bytes = r.PerSecond * float64(s.Size) / 1e6
	r.CPU = float64((load.CPU() - used).Nanoseconds()) / float64(max(1, r.Sent))
	return r, err
}

// feed sends for the scenario's time: at its share of the rate, each message
// when it is due or as soon after as it can be, or without a rate as fast as it
// goes.
func (s *stage) feed(ctx context.Context, id uint64, snd *sender) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Seconds*float64(time.Second))+patience)
	defer cancel()
	every := time.Duration(0)
	if s.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(s.Senders) / s.Rate)
	}
	buf := make([]byte, s.Size)
	began := time.Since(s.start)
	end := began + time.Duration(s.Seconds*float64(time.Second))
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
		s.payload.write(buf, stamp{sender: id, seq: seq, meant: meant})
		if err := snd.dest.Send(ctx, penstock.Message{Value: buf}); err != nil {
			return err
		}
		snd.sent.Add(1)
	}
}

func (s *stage) counts() (sent, received uint64) {
	for _, snd := range s.senders {
		sent += snd.sent.Load()
	}
	for _, g := range s.groups {
		for _, m := range g {
			received += m.got.Load()
		}
	}
	return sent, received
}

func (s *stage) tell(ctx context.Context, progress func(sent, received uint64)) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			progress(s.counts())
		case <-ctx.Done():
			return
		}
	}
}

// arrived waits for what at-most-once settles before it is handled. What does
// not come is judged as lost.
func (s *stage) arrived(ctx context.Context) error {
	late := time.After(patience)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		if sent, received := s.counts(); received >= sent*uint64(s.Groups) {
			return nil
		}
		select {
		case <-look.C:
		case <-late:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
			<-m.over
			errs = append(errs, m.err)
		}
	}
	return errors.Join(errs...)
}

func (s *stage) judge(r report) (report, error) {
	took := newHistogram()
	for _, g := range s.groups {
		for i, snd := range s.senders {
			var journals []*journal
			for _, m := range g {
				journals = append(journals, m.journals[i])
			}
			r.verdict = r.add(judge(journals, snd.sent.Load()))
		}
		for _, m := range g {
			took.Merge(m.took)
		}
	}
	if s.Rate > 0 {
		at := func(q float64) float64 { return float64(took.ValueAtQuantile(q)) }
		r.Latency = &latency{P50: at(50), P99: at(99), P999: at(99.9), Max: float64(took.Max())}
	}
	if r.Lost > 0 || r.Duplicates > 0 || r.Disordered > 0 {
		return r, fmt.Errorf("%d messages lost, %d twice, %d out of order", r.Lost, r.Duplicates, r.Disordered)
	}
	return r, nil
}
