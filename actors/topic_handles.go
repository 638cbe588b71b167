package actors

// What a caller holds of a topic: a handle to put and read with, and a
// subscription. The handles outlive the actors behind them.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/prefetch"
	"github.com/penstock-io/penstock/actors/internal/produce"
	"github.com/penstock-io/penstock/actors/internal/tail"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Topic is an open topic. It is safe for concurrent use.
type Topic struct {
	path     *topicPath
	producer *produce.Producer
	released atomic.Bool // the path is told that this handle does not use it
}

func newTopicHandle(path *topicPath, cfg ProducerConfig) (*Topic, error) {
	if err := path.ended(); err != nil {
		return nil, err
	}
	tell := usercode.PanicTeller(path.eng.hub.emit, fmt.Sprintf("PutAsync to %q", path.name))
	return &Topic{path: path, producer: produce.New(produce.Config{
		Partitioner: cfg.Partitioner, MaxBuffer: cfg.MaxBuffer,
		Partitions: path.partitions, Info: path.current.Load, At: path.accumulator, Ending: path.puts,
		Host: path.eng.calls,
		Panicked: func(value any, stack []byte) error {
			tell(value, stack)
			if value == nil {
				return nil
			}
			return &supervisor.PanicError{Value: value, Stack: stack}
		},
	})}, nil
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.path.name }

// Info is penstock.Topic.Info.
func (t *Topic) Info() messages.TopicInfo { return t.path.info() }

// PID returns the topic's actor.
func (t *Topic) PID() *actor.PID { return t.path.pid.Load() }

// Put is penstock.Topic.Put, with the error in the result.
func (t *Topic) Put(ctx context.Context, m messages.Message) messages.PutResult {
	if err := contextGiven(ctx); err != nil {
		return messages.PutResult{Partition: -1, Offset: -1, Err: fmt.Errorf("put to %q: %w", t.Name(), err)}
	}
	return t.producer.Put(ctx, &m)
}

// PutTo is penstock.Topic.PutTo, with the error in the result.
func (t *Topic) PutTo(ctx context.Context, partition int, m messages.Message) messages.PutResult {
	if err := contextGiven(ctx); err != nil {
		return messages.PutResult{Partition: -1, Offset: -1, Err: fmt.Errorf("put to %q: %w", t.Name(), err)}
	}
	return t.producer.PutTo(ctx, partition, &m)
}

// PutBatch is penstock.Topic.PutBatch.
func (t *Topic) PutBatch(ctx context.Context, msgs []messages.Message) ([]messages.PutResult, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("put to %q: %w", t.Name(), err)
	}
	return t.producer.PutBatch(ctx, msgs)
}

// PutAsync is penstock.Topic.PutAsync.
func (t *Topic) PutAsync(ctx context.Context, m messages.Message, done func(messages.PutResult)) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("put to %q: %w", t.Name(), err)
	}
	return t.producer.PutAsync(ctx, &m, done)
}

// Flush is penstock.Topic.Flush.
func (t *Topic) Flush(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("flush topic %q: %w", t.Name(), err)
	}
	if err := t.refuse(ctx, "flush"); err != nil {
		return err
	}
	return t.producer.Flush(ctx)
}

// refuse returns messages.ErrBusy to a callback of this handle that would wait for
// itself.
func (t *Topic) refuse(ctx context.Context, what string) error {
	return t.path.eng.inside.Refuse(ctx, fmt.Sprintf("%s topic %q", what, t.path.name), t.producer.Calls)
}

// Close is penstock.Topic.Close.
func (t *Topic) Close(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("close topic %q: %w", t.Name(), err)
	}
	t.producer.Close()
	if t.released.Load() {
		return nil
	}
	if err := t.refuse(ctx, "close"); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("close topic %q: %w", t.path.name, err) }
	if err := t.producer.Decided(ctx); err != nil {
		return fail(err)
	}
	waiting, done := withinGrace(ctx)
	defer done()
	err := t.producer.Called(waiting)
	if err != nil && ctx.Err() != nil {
		return fail(err)
	}
	if t.released.CompareAndSwap(false, true) {
		t.path.use(-1)
	}
	if err = errors.Join(err, t.producer.Heard()); err != nil {
		return fail(err)
	}
	return nil
}

// ended answers why nothing new can be begun with the handle, or nil.
func (t *Topic) ended() error { return cmp.Or(t.path.ended(), t.producer.Closed()) }

// Read is penstock.Topic.Read.
func (t *Topic) Read(ctx context.Context, partition int, from messages.Start) iter.Seq2[messages.Record, error] {
	if err := contextGiven(ctx); err != nil {
		return func(yield func(messages.Record, error) bool) { yield(messages.Record{}, err) }
	}
	return func(yield func(messages.Record, error) bool) {
		if err := t.read(ctx, partition, from, yield); err != nil {
			yield(messages.Record{}, fmt.Errorf("read %q, partition %d: %w", t.path.name, partition, err))
		}
	}
}

// read yields until yield has enough, which is no error.
func (t *Topic) read(ctx context.Context, p int, from messages.Start, yield func(messages.Record, error) bool) error {
	if err := t.ended(); err != nil {
		return err
	}
	part, err := t.path.partition(p)
	if err != nil {
		return err
	}
	t.path.use(1)
	defer t.path.use(-1)
	delayed := func(err error) { t.path.eng.hub.emit(messages.ReadDelayed{Topic: t.path.name, Partition: p, Err: err}) }
	var offset, base int64
	if err := insist(ctx, delayed, func() (err error) {
		offset, base, err = part.log.Resolve(ctx, from)
		return err
	}); err != nil {
		return err
	}
	me := new(int) // who reads
	part.join()
	defer part.leave(me)
	eng := t.path.eng
	history := 0
	for end := int64(0); ; {
		f := &fetch{Reader: me, Offset: offset, Base: base, History: history}
		if offset < end {
			f.Room = tail.FetchBytes
		}
		got, err := askFetch(ctx, eng, part, f)
		switch {
		case err != nil:
			return err
		case got.Err != nil:
			part.unreadable(offset, got.End, got.Err)
			return got.Err
		case got.Trimmed > offset:
			offset, base = got.Trimmed, got.Trimmed
			continue
		}
		end, history = got.End, got.History
		if len(got.Batches) == 0 && f.Room == 0 {
			end = max(end, offset+1) // there is news
		}
		for _, b := range got.Batches {
			at, rest := b.Base, b.Raw
			for len(rest) > 0 {
				rec := messages.Record{Topic: t.path.name, Partition: p, Offset: at, Attempt: 1}
				n, err := messages.ConsumeRecord(rest, &rec.Payload)
				if err != nil {
					part.unreadable(at, end, err)
					return fmt.Errorf("offset %d: %w", at, err)
				}
				rest = rest[n:]
				at++
				if rec.Offset < offset {
					continue
				}
				if rec.UnixNano == 0 {
					rec.UnixNano = b.Time
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if !yield(rec, nil) {
					return nil
				}
			}
			offset, base = b.End(), b.End()
		}
	}
}

// askFetch waits for a partition's answer. A partition that is begun again is
// asked again.
func askFetch(ctx context.Context, eng *Engine, part *partitionPath, f *fetch) (*fetched, error) {
	for attempt := 1; ; attempt++ {
		pid := part.pid.Load()
		var req any = f
		if pid == nil {
			pid, req = part.topic.pid.Load(), &partitionMail{part, f}
		}
		again := *f // its answers go elsewhere
		got, err := supervisor.Ask[*fetched](ctx, eng.sys, pid, req)
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, supervisor.ErrNoActor):
			return nil, err
		case part.topic.ended() != nil:
			return nil, part.topic.ended()
		}
		f = &again
		t := time.NewTimer(etcdRetry.Delay(attempt, rand.Float64()))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// Subscribe is penstock.Topic.Subscribe or, with cfg.Partitions,
// penstock.Topic.SubscribePartitions. cfg.Topic is set here.
func (t *Topic) Subscribe(ctx context.Context, cfg SubscriptionConfig) (*Subscription, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("subscribe %q to %q: %w", cfg.Group, t.Name(), err)
	}
	e := t.path.eng
	cfg.Topic = t.path.name
	cfg.EnsureDefaults()
	fail := func(err error) (*Subscription, error) {
		return nil, fmt.Errorf("subscribe %q to %q: %w", cfg.Group, cfg.Topic, err)
	}
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if o, ok := cfg.Start.Offset(); ok && o < 0 {
		return fail(fmt.Errorf("begin at offset %d: %w: the first is 0", o, messages.ErrOffsetOutOfRange))
	}
	if err := t.ended(); err != nil {
		return fail(err)
	}
	if ctx.Err() != nil {
		return fail(context.Cause(ctx))
	}
	if cfg.Partitions != nil {
		cfg.Partitions = slices.Compact(slices.Sorted(slices.Values(cfg.Partitions)))
		for _, p := range cfg.Partitions {
			if n := t.path.partitions(); p < 0 || p >= n {
				return fail(fmt.Errorf("partition %d of %d: %w", p, n, messages.ErrNoPartition))
			}
		}
	}
	cfg.ID = cmp.Or(cfg.ID, randomID())
	s := &Subscription{eng: e, path: t.path, cfg: cfg, incarnation: randomID(), since: time.Now(), buffer: prefetch.New(cfg.prefetch(), e.hub.emit, &e.standing, e.inside)}
	s.async.emit, s.async.host, s.async.of, s.async.sub = s.panicked, e.calls, s.committing, s
	_, err := supervisor.Ask[*subscribed](ctx, e.sys, e.root, &subscribe{s})
	if err != nil {
		err = e.unanswered(ctx, err, &s.wait, s.written.Load(), "the group has not given out its partitions yet")
		e.sys.Root.Send(e.root, &withdraw{sub: s})
		return fail(err)
	}
	return s, nil
}

// Subscription is a place in a topic's consumer group. It is safe for concurrent
// use; one loop, Poll or Consume reads at a time.
type Subscription struct {
	eng         *Engine
	path        *topicPath
	cfg         SubscriptionConfig
	buffer      *prefetch.Buffer
	incarnation string
	since       time.Time
	pid         atomic.Pointer[actor.PID]
	written     atomic.Bool                      // the member's key is the registry's to keep
	began       atomic.Pointer[format.Beginning] // where the group did; set before written
	announced   atomic.Bool                      // who subscribed was told
	gone        atomic.Bool                      // Unsubscribed was told
	removal     removal
	wait        idWait

	async asyncCommits

	mu        sync.Mutex
	consuming *prefetch.Consumption
	leaving   leaveState
	leavers   []*actor.PID // who wait for the drain
}

// leaveState says whether somebody has asked for the end.
type leaveState uint8

const (
	staying leaveState = iota
	askedToLeave
)

// left tells, once, that the subscription ended.
func (s *Subscription) left() {
	if s.gone.CompareAndSwap(false, true) {
		s.eng.hub.emit(messages.Unsubscribed{Topic: s.cfg.Topic, Group: s.cfg.Group, Member: s.cfg.ID})
	}
}

func (s *Subscription) addLeaver(pid *actor.PID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = askedToLeave
	if pid != nil {
		s.leavers = append(s.leavers, pid)
	}
}

func (s *Subscription) takeLeavers() []*actor.PID {
	s.mu.Lock()
	defer s.mu.Unlock()
	leavers := s.leavers
	s.leavers = nil
	return leavers
}

func (s *Subscription) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving == askedToLeave
}

// ID returns the member's id in its group.
func (s *Subscription) ID() string { return s.cfg.ID }

// PID returns the subscription's actor.
func (s *Subscription) PID() *actor.PID { return s.pid.Load() }

// Partitions is penstock.Subscription.Partitions.
func (s *Subscription) Partitions() []int { return s.buffer.Partitions() }

// Records is penstock.Subscription.Records.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[messages.Record, error] {
	if err := contextGiven(ctx); err != nil {
		return func(yield func(messages.Record, error) bool) { yield(messages.Record{}, err) }
	}
	return s.buffer.Records(ctx)
}

// Poll is penstock.Subscription.Poll.
func (s *Subscription) Poll(ctx context.Context, limit int) ([]messages.Record, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	recs, err := s.buffer.Poll(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("poll group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return recs, nil
}

// Consume is penstock.Subscription.Consume.
func (s *Subscription) Consume(ctx context.Context, handler messages.RecordHandler) error {
	if err := errors.Join(contextGiven(ctx), handlerGiven(handler == nil)); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if err := s.buffer.Begin(); err != nil {
		if errors.Is(err, messages.ErrClosed) {
			return s.buffer.Cause()
		}
		return fmt.Errorf("consume group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	defer s.buffer.Finish()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := prefetch.NewConsumption(ctx, s.buffer, handler)
	s.setConsumption(c)
	defer s.setConsumption(nil)
	if s.buffer.IsOver() {
		c.Finish() // it ended before it could know of c
	}
	s.eng.sys.Root.Send(s.pid.Load(), &consumeRecords{c})
	<-c.Over()
	if err := s.buffer.Cause(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *Subscription) setConsumption(c *prefetch.Consumption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consuming = c
}

func (s *Subscription) consumption() *prefetch.Consumption {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.consuming
}

// end lets loops and Consume return: the actor behind them is gone.
func (s *Subscription) end() {
	s.buffer.Leave(prefetch.Left, nil)
	s.async.close(fmt.Errorf("%s: %w", s.committing(), cmp.Or(s.buffer.Cause(), messages.ErrClosed)))
	if c := s.consumption(); c != nil {
		c.Finish()
	}
}

// Seek is penstock.Subscription.Seek.
func (s *Subscription) Seek(ctx context.Context, partition int, to messages.Start) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	_, err := supervisor.Ask[*sought](ctx, s.eng.sys, s.pid.Load(), &seekIn{partition, to})
	if errors.Is(err, supervisor.ErrNoActor) {
		err = cmp.Or(s.buffer.Cause(), messages.ErrClosed)
	}
	if err != nil {
		return fmt.Errorf("seek in group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return nil
}

// Pause is penstock.Subscription.Pause.
func (s *Subscription) Pause(partitions ...int) { s.buffer.Pause(partitions...) }

// Resume is penstock.Subscription.Resume.
func (s *Subscription) Resume(partitions ...int) { s.buffer.Resume(partitions...) }

// Lag is penstock.Subscription.Lag.
func (s *Subscription) Lag(ctx context.Context) (messages.GroupInfo, error) {
	if err := contextGiven(ctx); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("lag: %w", err)
	}
	if err := s.path.ended(); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("lag of group %q in %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return s.eng.log.DescribeGroup(ctx, s.path.info(), s.cfg.Group)
}

// Unsubscribe is penstock.Subscription.Unsubscribe.
func (s *Subscription) Unsubscribe(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	if err := s.eng.inside.Refuse(ctx, fmt.Sprintf("unsubscribe %q from %q", s.cfg.Group, s.cfg.Topic), func(c *usercode.Run) bool { return c.Of == s.buffer }); err != nil {
		s.buffer.Leave(prefetch.Leaving, nil) // the caller gets no other record
		s.eng.sys.Root.Send(s.pid.Load(), &leaveUnasked{})
		return err
	}
	end, cancel := supervisor.Grace(ctx, lastGrace)
	defer cancel()
	err := s.drain(ctx)
	if werr := s.eng.withdraw(end, &withdraw{sub: s}); werr != nil {
		return errors.Join(err, fmt.Errorf("unsubscribe %q from %q: %w", s.cfg.Group, s.cfg.Topic, werr))
	}
	waiting, done := withinGrace(end)
	defer done()
	err = errors.Join(err, s.async.over(waiting))
	s.left()
	return err
}

// drain finishes and releases everything, or gives up when ctx ends.
func (s *Subscription) drain(ctx context.Context) error {
	began := time.Now()
	_, err := supervisor.Ask[*memberDrained](ctx, s.eng.sys, s.pid.Load(), &drainMember{})
	switch {
	case errors.Is(err, supervisor.ErrNoActor):
		return nil
	case err != nil && ctx.Err() == nil:
		return fmt.Errorf("unsubscribe %q from %q: %w", s.cfg.Group, s.cfg.Topic, err)
	case err != nil:
		return fmt.Errorf("unsubscribe %q from %q: not everything was released after %s: %w",
			s.cfg.Group, s.cfg.Topic, time.Since(began).Round(time.Millisecond), context.Cause(ctx))
	}
	return nil
}
