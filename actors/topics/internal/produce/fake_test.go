package produce

// A topic whose partitions append to logs in memory.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// fakeLog is a partition's log in memory. Like the true one it knows a batch
// again that is sent twice.
type fakeLog struct {
	mu      sync.Mutex
	sent    []*format.Sealed
	batches []*format.Sealed
	bodies  [][]byte // their records
	bases   []int64
	end     int64
	more    []bool // what each append was told
	// before and after each append; an error or a panic of after comes when the
	// batch is in the log.
	before, after func(ctx context.Context) error
	heard         func(base int64, s *format.Sealed)
	committed     int
}

func (l *fakeLog) append(ctx context.Context, s *format.Sealed, more bool) (int64, error) {
	l.mu.Lock()
	l.sent = append(l.sent, s)
	l.more = append(l.more, more)
	before, after := l.before, l.after
	l.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return 0, err
		}
	}
	base := l.apply(s)
	if after != nil {
		if err := after(ctx); err != nil {
			return 0, err
		}
	}
	return base, nil
}

func (l *fakeLog) apply(s *format.Sealed) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.find(s); i >= 0 {
		return l.bases[i]
	}
	own, err := s.Batch(l.end)
	if err != nil {
		panic(err)
	}
	base := l.end
	l.batches, l.bodies = append(l.batches, s), append(l.bodies, bytes.Clone(own.Raw)) // whatever becomes of the buffer
	l.bases = append(l.bases, base)
	l.end += int64(s.Count)
	return base
}

func (l *fakeLog) holds(s *format.Sealed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.batches, func(b *format.Sealed) bool {
		return b.Producer == s.Producer && b.Sequence == s.Sequence
	})
}

// find is where the log has a batch already, or -1. mu is held.
func (l *fakeLog) find(s *format.Sealed) int {
	return slices.IndexFunc(l.batches, func(b *format.Sealed) bool {
		return b.Producer == s.Producer && b.Sequence == s.Sequence
	})
}

func (l *fakeLog) knows(s *format.Sealed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(s) >= 0
}

func (l *fakeLog) has(base int64, s *format.Sealed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed++
	if l.heard != nil {
		l.heard(base, s)
	}
}

// records are the values in the log, by offset.
func (l *fakeLog) records(t fataler) (values []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.batches {
		count := 0
		for rest := l.bodies[i]; len(rest) > 0; count++ {
			var r messages.Payload
			n, err := messages.ConsumeRecord(rest, &r)
			if err != nil {
				t.Fatalf("a batch of the log: %v", err)
			}
			values, rest = append(values, string(r.Value)), rest[n:]
		}
		if count != b.Count {
			t.Fatalf("a batch of %d records holds %d", b.Count, count)
		}
	}
	return values
}

// fakeTopic is a topic whose partitions append to logs in memory.
type fakeTopic struct {
	settings messages.TopicInfo
	logs     []*fakeLog
	accs     []*Accumulator
	mu       sync.Mutex
	events   []messages.Event
}

func newFakeTopic(partitions int) *fakeTopic {
	f := &fakeTopic{settings: messages.TopicInfo{Name: "audit"}}
	f.settings.Config.Partitions = partitions
	f.settings.Config.Compression = messages.CompressNone
	f.settings.Config.EnsureDefaults()
	for p := range partitions {
		f.logs = append(f.logs, &fakeLog{})
		f.accs = append(f.accs, NewAccumulator(p, f.info, f.emit))
	}
	return f
}

func (f *fakeTopic) info() messages.TopicInfo { return f.settings }

func (f *fakeTopic) emit(e messages.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

// failures are the records of AppendFailed.
func (f *fakeTopic) failures() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e, ok := e.(messages.AppendFailed); ok {
			n += e.Records
		}
	}
	return n
}

func (f *fakeTopic) at(p int) (*Accumulator, error) { return f.accs[p], nil }

func (f *fakeTopic) producer(change func(*Config)) *Producer {
	cfg := Config{
		MaxBuffer:  32 << 20,
		Partitions: func() int { return f.settings.Config.Partitions },
		Info:       func() *messages.TopicInfo { info := f.info(); return &info },
		At:         f.at, Ending: NewEnding(), Host: hosted, Panicked: panicked,
	}
	if change != nil {
		change(&cfg)
	}
	if cfg.Partitioner == nil {
		cfg.Partitioner = ByKey()
	}
	return New(cfg)
}

// panicError is what panicked makes of a callback's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

func panicked(value any, stack []byte) error {
	if value == nil {
		return nil
	}
	return &panicError{value, stack}
}

var errStopped = errors.New("stopped")

// run begins the append loops. stop ends them and returns what they answered; it
// is called at the end of the test if not before.
func (f *fakeTopic) run(t *testing.T) (stop func() []error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	errs := make([]error, len(f.accs))
	var loops sync.WaitGroup
	for p, a := range f.accs {
		loops.Go(func() { errs[p] = a.Run(ctx, f.logs[p].append, f.logs[p].has) })
	}
	stop = func() []error {
		cancel(errStopped)
		loops.Wait()
		return errs
	}
	t.Cleanup(func() { stop() })
	return stop
}

// hosted has callbacks called, as callers do.
func hosted(c usercode.Callbacks) {
	go func() {
		over := false
		defer func() {
			if !over {
				hosted(c)
			}
		}()
		c.Call(context.Background())
		over = true
	}()
}

// within is a context that ends only if something is stuck.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// results collects callbacks.
type results struct {
	mu  sync.Mutex
	all []messages.PutResult
}

func (r *results) add(got messages.PutResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, got)
}

func (r *results) list() []messages.PutResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func text(s string) *messages.Message { return &messages.Message{Value: []byte(s)} }

// blob is a message whose record has exactly size bytes, 200 to 4,096.
func blob(size int) *messages.Message {
	m := &messages.Message{Value: make([]byte, size-6)}
	for messages.RecordSize(m) != size {
		m.Value = make([]byte, len(m.Value)+size-messages.RecordSize(m))
	}
	return m
}

// bounded makes producers with that much room.
func bounded(bytes int) func(*Config) {
	return func(c *Config) { c.MaxBuffer = bytes }
}

// gated lets appends pass one by one.
func gated(l *fakeLog) chan struct{} {
	gate := make(chan struct{})
	l.before = func(ctx context.Context) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return gate
}

var errGivenUp = errors.New("given up")

func counts(l *fakeLog) (n []int) {
	for _, b := range l.batches {
		n = append(n, b.Count)
	}
	return n
}

// told waits until the callbacks that are due have returned.
func (p *Producer) told(t fataler) {
	t.Helper()
	if err := p.calls.flushed(context.Background()); err != nil {
		t.Fatalf("%v", err)
	}
}

// idle reports whether nothing is taken whose waiters were not told.
func (a *Accumulator) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told == a.taken
}

// buffered is the bytes taken that are neither committed nor failed.
func (p *Producer) buffered() int64 { return p.credit.used() }

// fataler is what *testing.T and *rapid.T share here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}
