package actors

// What one handle of a topic puts: it chooses the partition, takes room for the
// record, and waits for its fate. The records themselves go to the partitions'
// accumulators, which all handles of the process share.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// producer is the putting half of a topic's handle. Its methods are safe for
// concurrent use, and keep nothing of a message but what they copied.
type producer struct {
	partitions func() int
	at         func(p int) (*accumulator, error)
	info       func() *messages.TopicInfo
	pick       picker
	manual     manual // in place of pick, or nil
	credit     credit
	waiters    sync.Pool
	calls      putCalls
	ending     *ending // of puts to the topic: one for all its handles
	closed     *ending // of this handle

	// used are the accumulators by partition, nil where there was nothing to
	// put yet. The slice is never changed, only replaced.
	used atomic.Pointer[[]*accumulator]

	mu     sync.Mutex
	faults []fault // for the next Flush
	more   int     // that found no place in faults
}

// closure is why a producer takes no more.
type closure struct{ err error }

// fault is what became of records that nobody waited for.
type fault struct {
	err     error
	records int
}

// faultsKept bounds what waits for a Flush that may never come.
const faultsKept = 32

// newProducer makes the putting half of a handle. cfg is valid. The functions are
// safe for concurrent use; partitions and info are called for each record and
// must be cheap; at is called once for each partition in use, and what it answers
// must be the partition's for as long as the handle lives. host has callbacks
// called on a goroutine of their own, and does not wait for them.
func newProducer(cfg ProducerConfig, partitions func() int, at func(p int) (*accumulator, error), info func() *messages.TopicInfo, end *ending, host func(usercode.Callbacks)) *producer {
	p := &producer{ending: end, closed: newEnding(), partitions: partitions, at: at, info: info, pick: cfg.Partitioner.begin()}
	p.manual, _ = cfg.Partitioner.(manual)
	p.waiters.New = func() any { return &waiter{make(chan messages.PutResult, 1)} }
	p.credit.init(int64(cfg.MaxBuffer), end.over, p.closed.over)
	p.calls.host, p.calls.fail = host, func(err error) { p.unheard(err, 1) }
	p.calls.of = func(err error) error { return fmt.Errorf("put to %q: %w", info().Name, err) }
	return p
}

// put appends m where the partitioner says, and waits for its fate or until ctx
// ends: before m is taken that is ctx's cause, and m is not put; after it,
// messages.ErrUnknownOutcome as well.
func (p *producer) put(ctx context.Context, m *messages.Message) messages.PutResult {
	part, err := p.choose(m)
	if err != nil {
		return refused(part, err)
	}
	return p.putAt(ctx, part, m)
}

// putTo is put into a partition named by the caller.
func (p *producer) putTo(ctx context.Context, part int, m *messages.Message) messages.PutResult {
	if n := p.partitions(); part < 0 || part >= n {
		return refused(part, p.noPartition(part, n))
	}
	return p.putAt(ctx, part, m)
}

func refused(part int, err error) messages.PutResult {
	return messages.PutResult{Partition: part, Offset: -1, Err: err}
}

func (p *producer) putAt(ctx context.Context, part int, m *messages.Message) messages.PutResult {
	w := p.waiters.Get().(*waiter)
	if err := p.take(ctx, part, m, &slot{from: p, to: w}); err != nil {
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

// putBatch puts all of msgs, in order for each partition, and answers a result
// for each. The error is nil when every result's is, else all that are
// different, joined. When ctx ends, what was not taken is not put.
func (p *producer) putBatch(ctx context.Context, msgs []messages.Message) ([]messages.PutResult, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	t := &tally{results: make([]messages.PutResult, len(msgs)), left: len(msgs), done: make(chan struct{})}
	for i := range msgs {
		part, err := p.choose(&msgs[i])
		if err == nil {
			t.results[i] = refused(part, errUndecided)
			err = p.take(ctx, part, &msgs[i], &slot{from: p, to: t, index: int32(i)})
		}
		if err != nil {
			t.result(i, refused(part, err))
		}
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		t.abandon(func(part int) error { return p.unknown(ctx, part) })
	}
	return t.results, distinct(t.results)
}

// distinct joins the errors of results, each text once.
func distinct(results []messages.PutResult) error {
	var errs []error
	seen := make(map[string]bool)
	var last error
	for _, r := range results {
		if r.Err == nil || r.Err == last { //nolint:errorlint // the very same value is meant
			continue // a batch that failed has one error for all its records
		}
		last = r.Err
		if text := r.Err.Error(); !seen[text] {
			seen[text] = true
			errs = append(errs, r.Err)
		}
	}
	return errors.Join(errs...)
}

// putAsync takes m, waiting for room until ctx ends, and returns. done is called
// once with the result, after those of earlier records of the partition, unless
// putAsync answers an error; without one, an error is for flush to answer.
func (p *producer) putAsync(ctx context.Context, m *messages.Message, done func(messages.PutResult)) error {
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
	return p.take(ctx, part, m, &s)
}

// flush waits until what was taken before the call is committed or failed and its
// callbacks have returned, or ctx ends. It answers the errors of records that
// nobody waited for since the last flush, and of callbacks that panicked.
func (p *producer) flush(ctx context.Context) error {
	if err := p.decided(ctx); err != nil {
		return err
	}
	if err := p.called(ctx); err != nil {
		return err
	}
	return p.heard()
}

// decided waits until what was taken before the call is committed or failed.
func (p *producer) decided(ctx context.Context) error {
	type goal struct {
		a     *accumulator
		taken uint64
	}
	var goals []goal
	for _, a := range p.inUse() {
		if a != nil {
			goals = append(goals, goal{a, a.takenSoFar()})
		}
	}
	for _, g := range goals {
		if err := g.a.flushed(ctx, g.taken); err != nil {
			return fmt.Errorf("flush %q: %d bytes are not committed: %w", p.info().Name, p.credit.used(), err)
		}
	}
	return nil
}

// called waits until the callbacks of what is decided have returned.
func (p *producer) called(ctx context.Context) error {
	if err := p.calls.flushed(ctx); err != nil {
		return fmt.Errorf("flush %q: callbacks have not returned: %w", p.info().Name, err)
	}
	return nil
}

// heard answers what was unheard of, once.
func (p *producer) heard() error {
	p.mu.Lock()
	faults, more := p.faults, p.more
	p.faults, p.more = nil, 0
	p.mu.Unlock()
	if len(faults) == 0 {
		return nil
	}
	var errs []error
	for _, f := range faults {
		if f.records > 1 {
			errs = append(errs, fmt.Errorf("%d records: %w", f.records, f.err))
		} else {
			errs = append(errs, f.err)
		}
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("%d records more, for other reasons", more))
	}
	return fmt.Errorf("flush %q: %w", p.info().Name, errors.Join(errs...))
}

// unheard keeps an error of records that nobody waits for.
func (p *producer) unheard(err error, records int) {
	text := err.Error()
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.faults, func(f fault) bool { return f.err == err || f.err.Error() == text }) //nolint:errorlint // the very same value, or as good as
	switch {
	case i >= 0:
		p.faults[i].records += records
	case len(p.faults) < faultsKept:
		p.faults = append(p.faults, fault{err, records})
	default:
		p.more += records
	}
}

// ending lets every put from then on, and those that wait for room, end with an
// error. What was taken is the accumulators' to finish.
type ending struct {
	cause atomic.Pointer[closure]
	over  chan struct{} // closed with it
}

func newEnding() *ending { return &ending{over: make(chan struct{})} }

// end tells why; the first one counts, and true is answered for it.
func (e *ending) end(err error) bool {
	first := e.cause.CompareAndSwap(nil, &closure{err})
	if first {
		close(e.over)
	}
	return first
}

// why answers the cause of the end, nil before it.
func (e *ending) why() error {
	if c := e.cause.Load(); c != nil {
		return c.err
	}
	return nil
}

// close takes nothing more. What was taken is decided's to wait for: who was
// adding has added.
func (p *producer) close() {
	p.closed.end(messages.ErrClosed)
	for _, a := range p.inUse() {
		if a != nil {
			a.takenSoFar()
		}
	}
}

// choose asks the partitioner.
func (p *producer) choose(m *messages.Message) (int, error) {
	n := p.partitions()
	if n < 1 {
		return -1, p.noPartition(0, n)
	}
	var part int
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

func (p *producer) noPartition(part, n int) error {
	return fmt.Errorf("put to %q, partition %d of %d: %w", p.info().Name, part, n, messages.ErrNoPartition)
}

// take hands m to its partition once there is room for it.
func (p *producer) take(ctx context.Context, part int, m *messages.Message, s *slot) error {
	if err := m.Check(); err != nil {
		return p.wrap(part, err)
	}
	size := messages.RecordSize(m)
	if limit := p.info().Config.MaxRecordBytes; size > limit {
		return p.wrap(part, fmt.Errorf("%d bytes with key and headers, the limit is %d, both as encoded: %w", size, limit, messages.ErrTooLarge))
	}
	if ctx.Err() != nil {
		return p.wrap(part, context.Cause(ctx))
	}
	a, err := p.open(part)
	if err != nil {
		return p.wrap(part, err)
	}
	if err := p.credit.take(ctx, s.room(size)); err != nil {
		err = cmp.Or(cmp.Or(p.ending.why(), p.closed.why()), err)
		return p.wrap(part, fmt.Errorf("waiting for room: %w", err))
	}
	if err = p.ending.why(); err == nil {
		err = a.add(m, size, s)
	}
	if err != nil {
		p.credit.give(s.room(size))
		return p.wrap(part, err)
	}
	return nil
}

func (p *producer) wrap(part int, err error) error {
	return fmt.Errorf("put to %q, partition %d: %w", p.info().Name, part, err)
}

func (p *producer) unknown(ctx context.Context, part int) error {
	return p.wrap(part, fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, context.Cause(ctx)))
}

func (p *producer) inUse() []*accumulator {
	if used := p.used.Load(); used != nil {
		return *used
	}
	return nil
}

// open answers the accumulator of a partition.
func (p *producer) open(part int) (*accumulator, error) {
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
	grown := make([]*accumulator, max(len(used), part+1))
	copy(grown, used)
	grown[part] = a
	p.used.Store(&grown)
	return a, nil
}

// batches and queued are what the partitioner asks for.

func (p *producer) batches(part int) uint64 {
	if used := p.inUse(); part < len(used) && used[part] != nil {
		return used[part].drafts.Load()
	}
	return 0
}

func (p *producer) queued(part int) int64 {
	if used := p.inUse(); part < len(used) && used[part] != nil {
		return used[part].counters().Queued
	}
	return 0
}

// waiter is a Put that waits. One that was told is used again.
type waiter struct{ fate chan messages.PutResult }

func (w *waiter) result(_ int, r messages.PutResult) { w.fate <- r }

// callback is PutAsync's. Its producer calls it.
type callback func(messages.PutResult)

func (c callback) result(_ int, r messages.PutResult) { c(r) }

// tally collects the results of a PutBatch.
type tally struct {
	mu      sync.Mutex
	results []messages.PutResult
	left    int // without a result; 0 means that results is the caller's
	done    chan struct{}
}

// errUndecided stands in a tally for a result to come. It is put there before
// anybody else can know of the message.
var errUndecided = errors.New("undecided")

func (t *tally) result(i int, r messages.PutResult) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		return
	}
	t.results[i] = r
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// abandon decides what is undecided. What comes later is not heard.
func (t *tally) abandon(decide func(part int) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		return
	}
	t.left = 0
	for i := range t.results {
		if r := &t.results[i]; r.Err == errUndecided { //nolint:errorlint // never wrapped
			r.Err = decide(r.Partition)
		}
	}
}

// credit is the room that a producer has for records, in bytes. Who waits for it
// gets it in the order they came, so that a large record is not passed by for
// ever.
type credit struct {
	size    int64
	free    atomic.Int64
	waiting atomic.Int32 // len(queue), for those who do not hold mu

	mu    sync.Mutex
	queue []*want
	// over and closed are closed when nothing is granted any more.
	over, closed <-chan struct{}
}

// want is a record that waits for room.
type want struct {
	size    int64
	granted chan struct{}
}

func (c *credit) init(size int64, over, closed <-chan struct{}) {
	c.size, c.over, c.closed = size, over, closed
	c.free.Store(size)
}

func (c *credit) used() int64 { return c.size - c.free.Load() }

// take waits for room for n bytes, until ctx ends, whose cause it answers, or
// the credit is closed: messages.ErrClosed.
func (c *credit) take(ctx context.Context, n int64) error {
	// Without looking at the queue nobody would ever get out of it.
	if c.waiting.Load() == 0 && c.tryTake(n) {
		return nil
	}
	w := &want{n, make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, w)
	c.waiting.Store(int32(len(c.queue)))
	c.grant()
	c.mu.Unlock()
	var err error
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-c.over:
		err = messages.ErrClosed
	case <-c.closed:
		err = messages.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.queue, w); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
		c.waiting.Store(int32(len(c.queue)))
	} else {
		c.free.Add(n) // granted at the same moment
	}
	c.grant() // it may have held up smaller ones
	return err
}

func (c *credit) tryTake(n int64) bool {
	for {
		free := c.free.Load()
		if free < n {
			return false
		}
		if c.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

// give puts n bytes back.
func (c *credit) give(n int64) {
	c.free.Add(n)
	if c.waiting.Load() > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.grant()
	}
}

// grant serves the queue from its front. mu is held.
func (c *credit) grant() {
	served := 0
	for ; served < len(c.queue) && c.tryTake(c.queue[served].size); served++ {
		close(c.queue[served].granted)
	}
	if served > 0 {
		c.queue = slices.Delete(c.queue, 0, served)
		c.waiting.Store(int32(len(c.queue)))
	}
}
