package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// One scenario: producers and consumers around one topic, for a while.

// scenario is what to run.
type scenario struct {
	Size        int                  `json:"size"`
	Partitions  int                  `json:"partitions"`
	Producers   int                  `json:"producers"`
	Keys        int                  `json:"keys,omitempty"` // 0: records have none
	Groups      int                  `json:"groups"`
	Consumers   int                  `json:"consumers"` // in each group
	Compression penstock.Compression `json:"compression"`
	Rate        float64              `json:"rate,omitempty"` // records/s of all producers; 0: as fast as it goes
	Seconds     float64              `json:"seconds"`
	CatchUp     bool                 `json:"catch_up,omitempty"`
}

func (s scenario) topic() penstock.TopicConfig {
	return penstock.TopicConfig{Partitions: s.Partitions, Compression: s.Compression}
}

// report is what came of it.
type report struct {
	scenario
	Put         uint64   `json:"put"`
	PutRate     float64  `json:"put_per_s"`      // from the first put to the last commit of a batch
	ConsumeRate float64  `json:"consumed_per_s"` // of each group, until the last committed offset
	CPU         float64  `json:"cpu_ns_per_record"`
	Committed   *latency `json:"committed_us,omitempty"`
	Handled     *latency `json:"handled_us,omitempty"`
	verdict
}

// latency is from the intended time, in microseconds: a producer that falls
// behind its rate does not hide it.
type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// patience bounds the setting up and each part of the winding up.
const patience = time.Minute

// largest leaves room in a record for its frame.
const largest = 1<<20 - 1<<10

// took is a histogram of latencies that several goroutines write.
type took struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// newTook has room for 1 µs to a minute, to three digits.
func newTook() *took { return &took{h: hdrhistogram.New(1, time.Minute.Microseconds(), 3)} }

func (t *took) note(d time.Duration) {
	t.mu.Lock()
	// What takes longer than a minute counts as a minute.
	_ = t.h.RecordValue(min(max(1, d.Microseconds()), time.Minute.Microseconds()))
	t.mu.Unlock()
}

func (t *took) latency() *latency {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := func(q float64) float64 { return float64(t.h.ValueAtQuantile(q)) }
	return &latency{P50: at(50), P99: at(99), P999: at(99.9), Max: float64(t.h.Max())}
}

// producer puts, in a runtime of its own.
type producer struct {
	topic *penstock.Topic
	put   atomic.Uint64
}

// consumer is one member of one group.
type consumer struct {
	sub      *penstock.Subscription
	got      atomic.Uint64
	journals []*journal // by producer
	over     chan struct{}
	err      error // of the loop, when it is over
}

// stage is a scenario that is set up.
type stage struct {
	scenario
	etcd      clientv3.Config
	prefix    string
	runtimes  []*penstock.Runtime
	producers []*producer
	opening   sync.Mutex // of groups, which grow while somebody counts
	groups    [][]*consumer
	start     time.Time
	committed *took
	handled   *took
}

const topicName = "bench"

// run performs s against etcd, in a namespace of its own, deletes the topic, and
// tells how it goes each second.
func (s scenario) run(ctx context.Context, etcd clientv3.Config, prefix string, progress func(put, consumed uint64)) (report, error) {
	st := &stage{scenario: s, etcd: etcd, prefix: prefix, start: time.Now(), committed: newTook(), handled: newTook()}
	r, err := st.perform(ctx, progress)
	// What a consumer saw explains what others waited for.
	return r, errors.Join(st.close(), err)
}

func (s *stage) runtime(ctx context.Context) (*penstock.Runtime, error) {
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(s.etcd), penstock.Prefix(s.prefix))
	if err == nil {
		s.runtimes = append(s.runtimes, rt)
	}
	return rt, err
}

func (s *stage) openProducers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range s.Producers {
		rt, err := s.runtime(ctx)
		if err != nil {
			return err
		}
		topic, err := rt.EnsureTopic(ctx, topicName, s.topic())
		if err != nil {
			return err
		}
		s.producers = append(s.producers, &producer{topic: topic})
	}
	return nil
}

// openConsumers joins the groups and waits until every partition has an owner,
// so that no rebalance is part of what is measured.
func (s *stage) openConsumers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	groups := make([][]*consumer, s.Groups)
	s.opening.Lock()
	s.groups = groups
	s.opening.Unlock()
	for range s.Consumers {
		rt, err := s.runtime(ctx)
		if err != nil {
			return err
		}
		topic, err := rt.Topic(ctx, topicName)
		if err != nil {
			return err
		}
		for g := range groups {
			sub, err := topic.Subscribe(ctx, groupName(g))
			if err != nil {
				return err
			}
			c := &consumer{sub: sub, over: make(chan struct{})}
			for range s.Producers {
				c.journals = append(c.journals, newJournal(s.Partitions))
			}
			s.opening.Lock()
			groups[g] = append(groups[g], c)
			s.opening.Unlock()
			go s.read(c)
		}
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !s.shared() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("the partitions are not shared out: %w", context.Cause(ctx))
		}
	}
	return nil
}

func groupName(g int) string { return "g" + strconv.Itoa(g) }

// shared reports whether every member has its fair share.
func (s *stage) shared() bool {
	for _, members := range s.groups {
		owned := 0
		for _, c := range members {
			n := len(c.sub.Partitions())
			if n < s.Partitions/s.Consumers {
				return false
			}
			owned += n
		}
		if owned != s.Partitions {
			return false
		}
	}
	return true
}

func (s *stage) read(c *consumer) {
	defer close(c.over)
	for rec, err := range c.sub.Records(context.Background()) {
		if err == nil {
			err = s.take(c, rec)
		}
		if err != nil {
			c.err = err
			return
		}
	}
}

func (s *stage) take(c *consumer, rec penstock.Record) error {
	if len(rec.Value) != s.Size {
		return fmt.Errorf("a record of %d bytes came, %d were put", len(rec.Value), s.Size)
	}
	id, meant, err := load.Read(rec.Value)
	if err != nil {
		return err
	}
	producer, seq := parts(id)
	if producer >= s.Producers || rec.Partition >= s.Partitions {
		return fmt.Errorf("record %d of producer %d came from partition %d", seq, producer, rec.Partition)
	}
	if s.Rate > 0 {
		s.handled.note(time.Since(s.start) - time.Duration(meant))
	}
	c.journals[producer].note(rec.Partition, seq)
	c.got.Add(1)
	return nil
}

func (s *stage) perform(ctx context.Context, progress func(put, consumed uint64)) (report, error) {
	r := report{scenario: s.scenario}
	if err := s.openProducers(ctx); err != nil {
		return r, err
	}
	if !s.CatchUp {
		if err := s.openConsumers(ctx); err != nil {
			return r, err
		}
	}
	runtime.GC()
	reporting, stop := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() { s.tell(reporting, progress) })
	defer reporter.Wait()
	defer stop()

	used, began := load.CPU(), time.Now()
	if err := s.putAll(ctx); err != nil {
		return r, err
	}
	put := time.Since(began)
	if s.CatchUp {
		began = time.Now()
		if err := s.openConsumers(ctx); err != nil {
			return r, err
		}
	}
	if err := s.arrived(ctx); err != nil {
		return r, err
	}
	consumed := time.Since(began)
	r.CPU = float64((load.CPU() - used).Nanoseconds())
	stop()

	r.Put, _ = s.counts()
	r.PutRate = float64(r.Put) / put.Seconds()
	r.CPU /= float64(max(1, r.Put))
	if s.Groups > 0 {
		r.ConsumeRate = float64(r.Put) / consumed.Seconds()
	}
	if s.Rate > 0 {
		r.Committed, r.Handled = s.committed.latency(), s.handled.latency()
	}
	if err := s.lag(ctx); err != nil {
		return r, err
	}
	if err := s.producers[0].delete(ctx, s.runtimes[0]); err != nil {
		return r, err
	}
	return s.judge(r)
}

func (p *producer) delete(ctx context.Context, rt *penstock.Runtime) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return rt.DeleteTopic(ctx, p.topic.Name())
}

// putAll lets all producers put and waits until everything is committed.
func (s *stage) putAll(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.producers))
	for i, p := range s.producers {
		wg.Go(func() {
			if errs[i] = s.feed(ctx, i, p); errs[i] == nil {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				errs[i] = p.topic.Flush(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// feed puts for the scenario's time: at its share of the rate, each record when
// it is due or as soon after as it can be, or without a rate as fast as it goes.
func (s *stage) feed(ctx context.Context, number int, p *producer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Seconds*float64(time.Second))+patience)
	defer cancel()
	every := time.Duration(0)
	if s.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(s.Producers) / s.Rate)
	}
	value, key := make([]byte, s.Size), make([]byte, 0, 16)
	began := time.Since(s.start)
	end := began + time.Duration(s.Seconds*float64(time.Second))
	for seq := uint64(0); ; seq++ {
		meant := began + time.Duration(seq)*every
		var done func(penstock.PutResult)
		if every > 0 {
			if meant >= end {
				return nil
			}
			for early := meant - time.Since(s.start); early > 0; early = meant - time.Since(s.start) {
				load.Rest(early)
			}
			done = s.noteCommit(p, meant)
		} else if seq%64 == 0 && time.Since(s.start) >= end {
			return nil
		}
		load.Fill(value, id(number, seq), uint64(meant))
		m := penstock.Message{Value: value}
		if s.Keys > 0 {
			key = strconv.AppendUint(key[:0], seq%uint64(s.Keys), 10)
			m.Key = key
		}
		if err := p.topic.PutAsync(ctx, m, done); err != nil {
			return err
		}
		p.put.Add(1)
	}
}

// noteCommit notes when a record is committed. One that failed is missed by the
// judge.
func (s *stage) noteCommit(p *producer, meant time.Duration) func(penstock.PutResult) {
	return func(r penstock.PutResult) {
		if r.Err == nil {
			s.committed.note(time.Since(s.start) - meant)
		}
	}
}

func (s *stage) counts() (put, consumed uint64) {
	for _, p := range s.producers {
		put += p.put.Load()
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	for _, g := range s.groups {
		for _, c := range g {
			consumed += c.got.Load()
		}
	}
	return put, consumed
}

func (s *stage) tell(ctx context.Context, progress func(put, consumed uint64)) {
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

// arrived waits for every group to have got everything, and leaves the groups,
// which commits it. What does not come is judged as lost.
func (s *stage) arrived(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for waiting := true; waiting; {
		if put, consumed := s.counts(); consumed >= put*uint64(s.Groups) {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			waiting = false
		}
	}
	leaving, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, g := range s.groups {
		for _, c := range g {
			wg.Go(func() {
				err := c.sub.Unsubscribe(leaving)
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lag makes sure that everything is committed.
func (s *stage) lag(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for g := range s.groups {
		info, err := s.runtimes[0].DescribeConsumerGroup(ctx, topicName, groupName(g))
		if err != nil {
			return err
		}
		if info.Lag != 0 {
			return fmt.Errorf("group %s has not committed %d records", groupName(g), info.Lag)
		}
	}
	return nil
}

func (s *stage) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, rt := range s.runtimes {
		errs = append(errs, rt.Stop(ctx))
	}
	for _, g := range s.groups {
		for _, c := range g {
			<-c.over
			errs = append(errs, c.err)
		}
	}
	return errors.Join(errs...)
}

func (s *stage) judge(r report) (report, error) {
	for _, g := range s.groups {
		for i, p := range s.producers {
			var journals []*journal
			for _, c := range g {
				<-c.over // it has left
				journals = append(journals, c.journals[i])
			}
			r.verdict = r.add(judge(journals, p.put.Load()))
		}
	}
	if r.Lost > 0 || r.Duplicates > 0 || r.Disordered > 0 {
		return r, fmt.Errorf("%d records lost, %d twice, %d out of order", r.Lost, r.Duplicates, r.Disordered)
	}
	return r, nil
}
