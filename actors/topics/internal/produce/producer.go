package produce

// What one handle of a topic puts: it chooses the partition, takes room for the
// record, and waits for its fate. The records themselves go to the partitions'
// accumulators, which all handles of the process share.

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// Config is what a Producer is made of. Its functions are safe for concurrent use.
type Config struct {
	Partitioner Partitioner
	// MaxBuffer bounds what was taken and is not committed, in encoded bytes.
	MaxBuffer int
	// Partitions and Info are called for each record and must be cheap.
	Partitions func() int
	Info       func() *messages.TopicInfo
	// At is called once for each partition in use. What it returns must be the
	// partition's for as long as the handle lives.
	At func(p int) (*Accumulator, error)
	// Ending is that of puts to the topic: one for all its handles.
	Ending *Ending
	// Host has callbacks called on a goroutine of their own, and does not wait for
	// them.
	Host func(usercode.Callbacks)
	// Panicked is told with what a callback panicked, and where, and returns the
	// error that Flush is to return; or, with nil, of a callback that ended its
	// goroutine, which is no error.
	Panicked func(value any, stack []byte) error
}

// Producer is the putting half of a topic's handle. Its methods are safe for
// concurrent use, and keep nothing of a message but what they copied.
type Producer struct {
	partitions func() int
	at         func(p int) (*Accumulator, error)
	info       func() *messages.TopicInfo
	pick       picker
	manual     manual // in place of pick, or nil
	credit     credit
	waiters    sync.Pool
	calls      putCalls
	ending     *Ending // of puts to the topic: one for all its handles
	closed     *Ending // of this handle

	// used are the accumulators by partition, nil where there was nothing to
	// put yet. The slice is never changed, only replaced.
	used atomic.Pointer[[]*Accumulator]

	mu     sync.Mutex
	faults []fault // for the next Flush
	more   int     // that found no place in faults
}

// New returns the putting half of a handle, which takes its settings from a valid
// Config.
func New(cfg Config) *Producer {
	p := &Producer{
		ending: cfg.Ending, closed: NewEnding(), partitions: cfg.Partitions, at: cfg.At, info: cfg.Info,
		pick: cfg.Partitioner.begin(),
	}
	p.manual, _ = cfg.Partitioner.(manual)
	p.waiters.New = func() any { return &waiter{make(chan messages.PutResult, 1)} }
	p.credit.init(int64(cfg.MaxBuffer), p.ending.over, p.closed.over)
	p.calls.host, p.calls.panicked, p.calls.fail = cfg.Host, cfg.Panicked, func(err error) { p.unheard(err, 1) }
	p.calls.of = func(err error) error { return fmt.Errorf("put to %q: %w", p.info().Name, err) }
	return p
}

// Put appends m where the partitioner says, and waits for its fate or until ctx
// ends: before m is taken that is ctx's cause, and m is not put; after it,
// messages.ErrUnknownOutcome as well.
func (p *Producer) Put(ctx context.Context, m *messages.Message) messages.PutResult {
	part, err := p.choose(m)
	if err != nil {
		return refused(part, err)
	}
	return p.putAt(ctx, part, m)
}

// PutTo is Put into a partition named by the caller.
func (p *Producer) PutTo(ctx context.Context, part int, m *messages.Message) messages.PutResult {
	if n := p.partitions(); part < 0 || part >= n {
		return refused(part, p.noPartition(part, n))
	}
	return p.putAt(ctx, part, m)
}

func (p *Producer) putAt(ctx context.Context, part int, m *messages.Message) messages.PutResult {
	w := p.waiters.Get().(*waiter)
	if err := p.take(ctx, part, m, &slot{from: p, to: w}, nil); err != nil {
		p.waiters.Put(w)
		return refused(part, err)
	}
	select {
	case r := <-w.fate:
		p.waiters.Put(w)
		return r
	case <-ctx.Done():
	}
	select {
	case r := <-w.fate:
		p.waiters.Put(w)
		return r
	default:
		return refused(part, p.unknown(ctx, part)) // w is still to be told
	}
}

// PutEach puts all of msgs, in order for each partition, and returns a result
// for each. The error is nil when every result's is, else all that are
// different, joined. When ctx ends, what was not taken is not put.
//
// through, which may be nil, is given each message and the function that takes it. Its
// error is the result of a message that was not taken; what it keeps back without an
// error has no place.
func (p *Producer) PutEach(ctx context.Context, msgs []messages.Message, through func(context.Context, messages.Message, messages.Send) error) ([]messages.PutResult, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	t := &tally{results: make([]messages.PutResult, len(msgs)), left: len(msgs), done: make(chan struct{})}
	if through != nil {
		for i := range msgs {
			p.takeThrough(ctx, t, i, msgs[i], through)
		}
	} else {
		p.takeAll(ctx, t, msgs)
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		t.abandon(func(part int) error { return p.unknown(ctx, part) })
	}
	return t.results, distinct(t.results)
}

// takeAll takes messages, whose results go to t. Those of a partition are appended
// together: append loops that sleep are woken after the last one. A user's function
// may take its time before the next message, so what was taken does not wait for it.
func (p *Producer) takeAll(ctx context.Context, t *tally, msgs []messages.Message) {
	var asleep *sleepers
	if p.manual == nil {
		asleep = new(sleepers)
		defer asleep.ring()
	}
	for i := range msgs {
		if part, err := p.takeInto(ctx, t, i, &msgs[i], asleep); err != nil {
			t.result(i, refused(part, err))
		}
	}
}

// sleepers are the accumulators whose loops are to be woken, once or more often each.
type sleepers struct{ all []*Accumulator }

func (s *sleepers) add(a *Accumulator) {
	if n := len(s.all); n == 0 || s.all[n-1] != a {
		s.all = append(s.all, a)
	}
}

func (s *sleepers) ring() {
	for _, a := range s.all {
		a.ring()
	}
	clear(s.all)
	s.all = s.all[:0]
}

// takeInto takes message i of a batch, whose result goes to t.
func (p *Producer) takeInto(ctx context.Context, t *tally, i int, m *messages.Message, asleep *sleepers) (part int, err error) {
	if part, err = p.choose(m); err != nil {
		return part, err
	}
	t.results[i] = refused(part, errUndecided)
	return part, p.take(ctx, part, m, &slot{from: p, to: t, index: int32(i)}, asleep)
}

// takeThrough is takeInto by way of through.
func (p *Producer) takeThrough(ctx context.Context, t *tally, i int, m messages.Message, through func(context.Context, messages.Message, messages.Send) error) {
	part, taken := -1, false
	err := through(ctx, m, func(ctx context.Context, m messages.Message) (err error) {
		if taken {
			return p.wrap(part, fmt.Errorf("a middleware called next again for a message that is taken: %w", messages.ErrInvalid))
		}
		part, err = p.takeInto(ctx, t, i, &m, nil)
		taken = err == nil
		return err
	})
	switch {
	case taken:
	case err == nil:
		t.result(i, refused(-1, nil))
	default:
		t.result(i, refused(part, err))
	}
}

// PutAsync takes m, waiting for room until ctx ends, and returns. done is called
// once with the result, after those of earlier records of the partition, unless
// PutAsync returns an error; without one, an error is for Flush to return.
func (p *Producer) PutAsync(ctx context.Context, m *messages.Message, done func(messages.PutResult)) error {
	part, err := p.choose(m)
	if err != nil {
		return err
	}
	s := slot{from: p}
	if done != nil {
		if err := p.calls.room(ctx); err != nil {
			return p.wrap(part, err)
		}
		s.to = callback(done)
	}
	return p.take(ctx, part, m, &s, nil)
}

// TryPut is PutAsync that never waits: without room it returns messages.ErrGroupFull,
// and messages.ErrBusy when too many callbacks wait.
func (p *Producer) TryPut(m *messages.Message, done func(messages.PutResult)) error {
	part, err := p.choose(m)
	if err != nil {
		return err
	}
	s := slot{from: p}
	if done != nil {
		if err := p.calls.tryRoom(); err != nil {
			return p.wrap(part, err)
		}
		s.to = callback(done)
	}
	a, size, err := p.admit(part, m)
	if err != nil {
		return err
	}
	if err := p.credit.try(s.room(size)); err != nil {
		return p.wrap(part, cmp.Or(p.ending.Why(), p.closed.Why(), err))
	}
	return p.add(a, part, m, size, &s, nil)
}

// choose asks the partitioner.
func (p *Producer) choose(m *messages.Message) (int, error) {
	n := p.partitions()
	if n < 1 {
		return -1, p.noPartition(0, n)
	}
	var part int
	if p.manual == nil && m.ID != "" && p.info().Config.DedupeWindow > 0 {
		return place(m, n), nil
	}
	if p.manual != nil {
		own := *m
		part = p.manual(&own, n)
	} else {
		part = p.pick.pick(m.Key, n, p)
	}
	if part < 0 || part >= n {
		return part, p.noPartition(part, n)
	}
	return part, nil
}

func (p *Producer) noPartition(part, n int) error {
	return fmt.Errorf("put to %q, partition %d of %d: %w", p.info().Name, part, n, messages.ErrNoPartition)
}

// take hands m to its partition once there is room for it. With asleep, more messages
// follow: who is to be woken after the last one is added there.
func (p *Producer) take(ctx context.Context, part int, m *messages.Message, s *slot, asleep *sleepers) error {
	a, size, err := p.admit(part, m)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return p.wrap(part, context.Cause(ctx))
	}
	if room := s.room(size); !p.credit.there(room) {
		if asleep != nil {
			asleep.ring() // room comes from what is appended
		}
		if err := p.credit.take(ctx, room); err != nil {
			err = cmp.Or(p.ending.Why(), p.closed.Why(), err)
			return p.wrap(part, fmt.Errorf("waiting for room: %w", err))
		}
	}
	return p.add(a, part, m, size, s, asleep)
}

// admit returns what collects the records of m's partition, and the size of m's, or
// why m cannot be put at all.
func (p *Producer) admit(part int, m *messages.Message) (*Accumulator, int, error) {
	if err := m.Check(); err != nil {
		return nil, 0, p.wrap(part, err)
	}
	if len(m.Key) == 0 && p.info().Config.Compaction == messages.CompactByKey {
		return nil, 0, p.wrap(part, fmt.Errorf("a message without a key: this topic keeps the newest record of each key: %w", messages.ErrInvalid))
	}
	if !m.DeliverAt.IsZero() {
		if err := outlives(m, p.info()); err != nil {
			return nil, 0, p.wrap(part, err)
		}
	}
	size := messages.RecordSize(m)
	if limit := p.info().Config.MaxRecordBytes; size > limit {
		return nil, 0, p.wrap(part, fmt.Errorf("%d bytes with key and headers, the limit is %d, both as encoded: %w", size, limit, messages.ErrTooLarge))
	}
	a, err := p.open(part)
	if err != nil {
		return nil, 0, p.wrap(part, err)
	}
	return a, size, nil
}

// outlives returns why nobody would get m, which is delivered later: by its own time the
// topic has deleted it by then.
func outlives(m *messages.Message, t *messages.TopicInfo) error {
	life := messages.Lifetime(&t.Config)
	if life > 0 && !m.Time.IsZero() && !m.DeliverAt.Before(m.Time.Add(life)) {
		return fmt.Errorf("deliver at %v, and the topic keeps a record of %v for %v: %w: nobody would get it; leave Time out, and it is that of the delivery", m.DeliverAt, m.Time, life, messages.ErrInvalid)
	}
	return nil
}

// add gives m to an accumulator; there is room for it.
func (p *Producer) add(a *Accumulator, part int, m *messages.Message, size int, s *slot, asleep *sleepers) error {
	err, wake := p.ending.Why(), wakeNot
	if err == nil {
		wake, err = a.add(m, size, s, asleep != nil)
	}
	switch {
	case err != nil:
		p.credit.give(s.room(size))
		return p.wrap(part, err)
	case wake == wakeAfter:
		asleep.add(a)
	case wake == wakeNow:
		a.ring()
	}
	return nil
}

// Close takes nothing more. What was taken is decided's to wait for: who was
// adding has added.
func (p *Producer) Close() {
	p.closed.End(messages.ErrClosed)
	for _, a := range p.inUse() {
		if a != nil {
			a.Taken()
		}
	}
}

// Closed returns why this handle takes no more, nil while it does.
func (p *Producer) Closed() error { return p.closed.Why() }

// Calls reports whether a run is one of this handle's callbacks.
func (p *Producer) Calls(r *usercode.Run) bool { return r.Of == &p.calls }

func (p *Producer) wrap(part int, err error) error {
	return fmt.Errorf("put to %q, partition %d: %w", p.info().Name, part, err)
}

func (p *Producer) unknown(ctx context.Context, part int) error {
	return p.wrap(part, fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, context.Cause(ctx)))
}

func (p *Producer) inUse() []*Accumulator {
	if used := p.used.Load(); used != nil {
		return *used
	}
	return nil
}

// open returns the accumulator of a partition.
func (p *Producer) open(part int) (*Accumulator, error) {
	if used := p.inUse(); part < len(used) && used[part] != nil {
		return used[part], nil
	}
	a, err := p.at(part)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	used := p.inUse()
	grown := make([]*Accumulator, max(len(used), part+1))
	copy(grown, used)
	grown[part] = a
	p.used.Store(&grown)
	return a, nil
}

// batches and queued are what the partitioner asks for.

func (p *Producer) batches(part int) uint64 {
	if used := p.inUse(); part < len(used) && used[part] != nil {
		return used[part].drafts.Load()
	}
	return 0
}

func (p *Producer) queued(part int) int64 {
	if used := p.inUse(); part < len(used) && used[part] != nil {
		return used[part].Counters().Queued
	}
	return 0
}
