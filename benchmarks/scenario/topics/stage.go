package topics

// A scenario that is set up: its producers, its consumers, and what they do.

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
)

// producer puts, in a runtime of its own.
type producer struct {
	topic     *penstock.Topic
	put       atomic.Uint64
	committed atomic.Uint64
}

// consumer is one member of one group.
type consumer struct {
	sub      *penstock.Subscription
	got      atomic.Uint64
	journals []*journal // by producer
	over     chan struct{}
	err      error // of the loop, when it is over
}

// quiet is how long nothing comes before nothing will: a rebalance takes less.
const quiet = 5 * time.Second

// stage is a scenario that is set up.
type stage struct {
	Scenario
	launch    scenario.Start
	runtimes  []*penstock.Runtime
	producers []*producer
	opening   sync.Mutex // of groups, which grow while somebody counts
	groups    [][]*consumer
	start     time.Time
	counts    atomic.Int64 // nanoseconds since start: when the warm-up is over
	accepted  *took
	committed *took
	handled   *took
}

func (s *stage) runtime(ctx context.Context) (*penstock.Runtime, error) {
	rt, err := s.launch(ctx)
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
		topic, err := rt.EnsureTopic(ctx, s.Name, s.topic())
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
		topic, err := rt.Topic(ctx, s.Name)
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
	if err := scenario.Until(ctx, s.shared); err != nil {
		return fmt.Errorf("the partitions are not shared out: %w", err)
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
	read := load.Read
	if s.Compressible {
		read = load.ReadText
	}
	id, meant, err := read(rec.Value)
	if err != nil {
		return err
	}
	producer, seq := parts(id)
	if producer >= s.Producers || rec.Partition >= s.Partitions {
		return fmt.Errorf("record %d of producer %d came from partition %d", seq, producer, rec.Partition)
	}
	if s.Rate > 0 && int64(meant) >= s.counts.Load() {
		s.handled.note(time.Since(s.start) - time.Duration(meant))
	}
	c.journals[producer].note(rec.Partition, seq)
	c.got.Add(1)
	return nil
}

func (s *stage) perform(ctx context.Context, figures map[results.Figure]float64, tell scenario.Progress) error {
	if err := s.openProducers(ctx); err != nil {
		return err
	}
	if !s.CatchUp {
		if err := s.openConsumers(ctx); err != nil {
			return err
		}
	}
	runtime.GC()
	defer scenario.Telling(ctx, tell, s.totals)()
	if err := s.measure(ctx, figures); err != nil {
		return err
	}
	return s.lag(ctx)
}

// measure lets everybody work and enters what it took.
func (s *stage) measure(ctx context.Context, figures map[results.Figure]float64) error {
	began := time.Since(s.start)
	s.counts.Store(int64(began + s.Warmup))
	put := make(chan error, 1)
	go func() { put <- s.putAll(ctx, began) }()
	_ = scenario.Pause(ctx, s.Warmup) // those that work notice, too
	meter := scenario.NewMeter()
	before, beforeRead := s.committedAndRead()
	if err := <-put; err != nil {
		return err
	}
	total, _ := s.committedAndRead()
	meter.Read(figures, total-before, s.Size)
	if s.Rate > 0 {
		figures[results.Offered] = s.Rate
	}
	consumers := meter
	if s.CatchUp {
		consumers, beforeRead = scenario.NewMeter(), 0
		if err := s.openConsumers(ctx); err != nil {
			return err
		}
	}
	if err := s.arrived(ctx); err != nil {
		return err
	}
	if s.Groups > 0 {
		_, read := s.totals()
		figures[results.Consumed] = float64(read-beforeRead) / float64(s.Groups) / consumers.Elapsed().Seconds()
		if !s.CatchUp { // what consumers used is part of the cost
			rest := map[results.Figure]float64{}
			meter.Read(rest, total-before, s.Size)
			for _, f := range []results.Figure{results.CPU, results.Allocs, results.AllocBytes, results.WireBytes, results.RSS} {
				figures[f] = rest[f]
			}
		}
	}
	return nil
}

// remove deletes the topic, if it was made.
func (s *stage) remove() error {
	if len(s.producers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.runtimes[0].DeleteTopic(ctx, s.Name)
}

// putAll lets all producers put and waits until everything is committed.
func (s *stage) putAll(ctx context.Context, began time.Duration) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.producers))
	for i, p := range s.producers {
		wg.Go(func() {
			if errs[i] = s.feed(ctx, i, p, began); errs[i] == nil {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				errs[i] = p.topic.Flush(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// feed puts until the scenario is over: at its share of the rate, each record when
// it is due or as soon after as it can be, or without a rate as fast as it goes.
func (s *stage) feed(ctx context.Context, number int, p *producer, began time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.Warmup+s.Duration+patience)
	defer cancel()
	every := time.Duration(0)
	if s.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(s.Producers) / s.Rate)
	}
	w := newWriter(s, p, number)
	end := began + s.Warmup + s.Duration
	for seq := uint64(0); ; seq++ {
		meant := began + time.Duration(seq)*every
		if every > 0 {
			if meant >= end {
				return w.flush(ctx)
			}
			for early := meant - time.Since(s.start); early > 0; early = meant - time.Since(s.start) {
				load.Rest(early)
			}
		} else if (seq%64 == 0 || s.Put == Lone) && time.Since(s.start) >= end {
			return w.flush(ctx)
		}
		if err := w.put(ctx, seq, meant); err != nil {
			return err
		}
	}
}

func (s *stage) totals() (put, consumed uint64) {
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

// committedAndRead is how much is in etcd, and how much consumers have.
func (s *stage) committedAndRead() (committed, read uint64) {
	for _, p := range s.producers {
		committed += p.committed.Load()
	}
	_, read = s.totals()
	return committed, read
}

// arrived waits for every group to have got everything, and leaves the groups,
// which commits it. What does not come is judged as lost.
func (s *stage) arrived(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = scenario.Arrived(ctx, quiet, s.Groups, s.totals)
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
		info, err := s.runtimes[0].DescribeConsumerGroup(ctx, s.Name, groupName(g))
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
	errs := []error{s.remove()}
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

// judge is what became of all records, in all groups together; Sent is what was put.
func (s *stage) judge() results.Check {
	var sum results.Check
	for i, p := range s.producers {
		sum.Sent += p.put.Load()
		for _, g := range s.groups {
			var journals []*journal
			for _, c := range g {
				journals = append(journals, c.journals[i])
			}
			sum.Add(judge(journals, p.put.Load()))
		}
	}
	return sum
}
