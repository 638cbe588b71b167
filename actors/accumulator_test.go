package actors

// What is put is appended in order, told of once, and survives the end of the
// loop that appends it.

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

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
	accs     []*accumulator
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
		f.accs = append(f.accs, newAccumulator(p, f.info, f.emit))
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

func (f *fakeTopic) at(p int) (*accumulator, error) { return f.accs[p], nil }

func (f *fakeTopic) producer(change func(*ProducerConfig)) *producer {
	var cfg ProducerConfig
	if change != nil {
		change(&cfg)
	}
	cfg.EnsureDefaults()
	return newProducer(cfg, func() int { return f.settings.Config.Partitions }, f.at, func() *messages.TopicInfo { info := f.info(); return &info }, newEnding(), hosted)
}

var errStopped = errors.New("stopped")

// run begins the append loops. stop ends them and answers what they answered; it
// is called at the end of the test if not before.
func (f *fakeTopic) run(t *testing.T) (stop func() []error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	errs := make([]error, len(f.accs))
	var loops sync.WaitGroup
	for p, a := range f.accs {
		loops.Go(func() { errs[p] = a.run(ctx, f.logs[p].append, f.logs[p].has) })
	}
	stop = func() []error {
		cancel(errStopped)
		loops.Wait()
		return errs
	}
	t.Cleanup(func() { stop() })
	return stop
}

// within is a context that ends only if something is stuck.
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

func TestWhatComesMeanwhileIsTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gate := make(chan struct{})
		f.logs[0].before = func(context.Context) error { <-gate; return nil }
		f.run(t)
		p := f.producer(nil)
		var got results
		for i := range 100 {
			if err := p.putAsync(t.Context(), text(fmt.Sprint(i)), got.add); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				synctest.Wait() // it is on its way
			}
		}
		gate <- struct{}{}
		gate <- struct{}{}
		synctest.Wait()
		if log := f.logs[0]; len(log.batches) != 2 || log.batches[0].Count != 1 || log.batches[1].Count != 99 {
			t.Errorf("batches of %v, want the first record alone and all others together", counts(log))
		}
		for i, r := range got.list() {
			if want := (messages.PutResult{Offset: int64(i)}); r != want {
				t.Errorf("result %d is %+v", i, r)
			}
		}
		if more := f.logs[0].more; more[0] || more[1] {
			t.Errorf("told of more to come: %v", more)
		}
		if n := f.accs[0].counters(); n.Appends != 2 || n.Committed != 100 || n.Records != 100 || n.Queued != 0 || n.Failed != 0 {
			t.Errorf("counted %+v", n)
		}
		if !f.accs[0].idle() || p.buffered() != 0 {
			t.Errorf("something is left: %d bytes", p.buffered())
		}
	})
}

func counts(l *fakeLog) (n []int) {
	for _, b := range l.batches {
		n = append(n, b.Count)
	}
	return n
}

func TestABatchIsFull(t *testing.T) {
	large := func(n int) *messages.Message { return &messages.Message{Value: make([]byte, n)} }
	const alone = messages.MaxBatchBytes + 1
	for name, tc := range map[string]struct {
		put  []*messages.Message
		want []int
	}{
		"at its records":         {slices.Repeat([]*messages.Message{text("")}, 2*messages.MaxBatchRecords+1), []int{messages.MaxBatchRecords, messages.MaxBatchRecords, 1}},
		"at its bytes":           {slices.Repeat([]*messages.Message{large(100 << 10)}, 12), []int{5, 5, 2}},
		"before a larger record": {[]*messages.Message{text("a"), large(alone), text("b"), text("c")}, []int{1, 1, 2}},
		"by a larger record":     {[]*messages.Message{large(alone), large(alone)}, []int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeTopic(1)
			p := f.producer(nil)
			for _, m := range tc.put {
				if err := p.putAsync(t.Context(), m, nil); err != nil {
					t.Fatal(err)
				}
			}
			f.run(t)
			if err := p.flush(within(t)); err != nil {
				t.Fatal(err)
			}
			if got := counts(f.logs[0]); !slices.Equal(got, tc.want) {
				t.Errorf("batches of %v, want %v", got, tc.want)
			}
			want := slices.Repeat([]bool{true}, len(tc.want))
			want[len(want)-1] = false
			if got := f.logs[0].more; !slices.Equal(got, want) {
				t.Errorf("told of more to come: %v, want %v", got, want)
			}
			for _, b := range f.logs[0].batches {
				if b.Raw > messages.MaxBatchBytes && b.Count > 1 {
					t.Errorf("%d records in %d bytes", b.Count, b.Raw)
				}
			}
		})
	}
}

// Each put, whoever made it, is told once, in the order of the offsets, and
// truly; each record is in the log once at most, where its result says: whatever
// becomes of appends, of those who wait and of the loop itself.
func TestAccumulatorUnderFailures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFakeTopic(1)
		a, log := f.accs[0], f.logs[0]
		w := world{
			t: t, log: log, told: make(map[int]messages.PutResult),
			fates: rapid.SliceOfN(rapid.SampledFrom([]string{
				"", "", "", "full", "too large", "unknown", "odd", "panic", "panic after", "stop", "stop after",
				"committed panics", "callback panics", "callback ends its goroutine",
			}), 0, 12).Draw(t, "fates"),
		}
		producers := []*producer{f.producer(nil), f.producer(nil)}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.IntRange(0, 5).Draw(t, "puts") {
				id := w.next
				w.next++
				from := rapid.IntRange(0, 1).Draw(t, "producer")
				if err := producers[from].putAsync(context.Background(), text(fmt.Sprint(id)), func(r messages.PutResult) { w.tell(from, id, r) }); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.Bool().Draw(t, "run") {
				w.drain(a)
			}
		}
		w.drain(a)
		for _, p := range producers {
			p.told(t)
		}
		w.check(a, producers)
	})
}

// world drives an accumulator through failures and keeps the books.
type world struct {
	t     *rapid.T
	log   *fakeLog
	fates []string
	next  int

	mu      sync.Mutex
	told    map[int]messages.PutResult
	order   [2][]int64 // by producer
	ailing  string     // what the next callback does
	cut     *format.Sealed
	stopped context.CancelCauseFunc
}

func (w *world) tell(from, id int, r messages.PutResult) {
	w.mu.Lock()
	if before, twice := w.told[id]; twice {
		w.t.Errorf("%d was told %+v and %+v", id, before, r)
	}
	w.told[id] = r
	if r.Err == nil {
		w.order[from] = append(w.order[from], r.Offset)
	}
	ailing := w.ailing
	w.ailing = ""
	w.mu.Unlock()
	switch ailing {
	case "callback panics":
		panic("callback")
	case "callback ends its goroutine":
		runtime.Goexit()
	}
}

// drain runs the loop, again and again, until everything was told.
func (w *world) drain(a *accumulator) {
	for range 1000 {
		ctx, cancel := context.WithCancelCause(context.Background())
		w.stopped = cancel
		over := make(chan struct{})
		go func() {
			defer close(over)
			defer func() { _ = recover() }()
			_ = a.run(ctx, w.append, w.committed)
		}()
		calm := make(chan struct{})
		go func() {
			defer close(calm)
			_ = a.flushed(ctx, a.takenSoFar())
		}()
		select {
		case <-calm:
		case <-over:
		}
		cancel(errStopped)
		<-over
		<-calm
		if a.idle() {
			return
		}
	}
	w.t.Fatal("what was put is never told")
}

func (w *world) fate() string {
	if len(w.fates) == 0 {
		return ""
	}
	f := w.fates[0]
	w.fates = w.fates[1:]
	return f
}

func (w *world) append(ctx context.Context, s *format.Sealed, more bool) (int64, error) {
	if w.cut != nil && w.cut != s {
		w.t.Errorf("batch %d was on its way, and %d is sent before it was resolved", w.cut.Sequence, s.Sequence)
	}
	w.cut = s
	fate := w.fate()
	if w.log.holds(s) {
		fate = "" // an appender resolves what it was given before
	}
	switch fate {
	case "panic":
		panic("append")
	case "stop":
		w.stopped(errStopped)
		return 0, fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, context.Cause(ctx))
	case "full", "too large", "unknown", "odd":
		if w.log.knows(s) {
			break // an appender resolves what was sent before it gives up
		}
		w.cut = nil
		return 0, map[string]error{
			"full": messages.ErrNoSpace, "too large": messages.ErrTooLarge, "unknown": messages.ErrUnknownOutcome, "odd": errors.New("odd"),
		}[fate]
	}
	base := w.log.apply(s)
	switch fate {
	case "panic after":
		panic("append")
	case "stop after":
		w.stopped(errStopped)
		return 0, fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, context.Cause(ctx))
	}
	w.cut = nil
	w.mu.Lock()
	w.ailing = fate
	w.mu.Unlock()
	return base, nil
}

func (w *world) committed(base int64, s *format.Sealed) {
	w.mu.Lock()
	ailing := w.ailing
	if ailing == "committed panics" {
		w.ailing = ""
	}
	w.mu.Unlock()
	if ailing == "committed panics" {
		panic("committed")
	}
}

func (w *world) check(a *accumulator, producers []*producer) {
	t := w.t
	values := w.log.records(t)
	seen := make(map[string]bool)
	for _, v := range values {
		if seen[v] {
			t.Fatalf("%s is in the log twice: %v", v, values)
		}
		seen[v] = true
	}
	for _, order := range w.order {
		if !slices.IsSorted(order) {
			t.Fatalf("told in the order %v", w.order)
		}
	}
	failed := 0
	for id := range w.next {
		r, ok := w.told[id]
		value := fmt.Sprint(id)
		switch {
		case !ok:
			t.Fatalf("%d was never told", id)
		case r.Err == nil && values[r.Offset] != value:
			t.Fatalf("%d is said to be at %d, where %s is", id, r.Offset, values[r.Offset])
		case r.Err != nil && seen[value] && !errors.Is(r.Err, messages.ErrUnknownOutcome):
			t.Fatalf("%d is in the log, and told %v", id, r.Err)
		case r.Err != nil:
			failed++
		}
	}
	n := a.counters()
	if n.Queued != 0 || int(n.Failed) != failed || int(n.Committed) != w.next-failed || int(n.Records) != w.next {
		t.Fatalf("counted %+v, %d of %d failed", n, failed, w.next)
	}
	for _, p := range producers {
		if p.buffered() != 0 {
			t.Fatalf("%d bytes of credit are lost", p.buffered())
		}
	}
}

// stuck begins a loop whose first append hangs, with one record in flight and
// some behind it.
func stuck(t *testing.T, f *fakeTopic, p *producer, behind int) (got *results, release chan error) {
	t.Helper()
	release = make(chan error)
	f.logs[0].after = func(context.Context) error { return <-release }
	got = &results{}
	for i := range 1 + behind {
		if err := p.putAsync(t.Context(), text(fmt.Sprint(i)), got.add); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	return got, release
}

func TestCloseWithABatchInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		stop := f.run(t)
		p := f.producer(nil)
		got, release := stuck(t, f, p, 3)
		f.accs[0].close(messages.ErrClosed)
		synctest.Wait()
		all := got.list()
		if len(all) != 4 {
			t.Fatalf("%d were told, want all", len(all))
		}
		for i, r := range all {
			if unknown := errors.Is(r.Err, messages.ErrUnknownOutcome); !errors.Is(r.Err, messages.ErrClosed) || unknown != (i == 0) {
				t.Errorf("result %d: %v", i, r.Err)
			}
		}
		if err := p.putAsync(t.Context(), text("late"), nil); !errors.Is(err, messages.ErrClosed) {
			t.Errorf("a put to what is closed: %v", err)
		}
		release <- nil // in the log after all: nobody is told anything else
		synctest.Wait()
		if errs := stop(); errs[0] != nil {
			t.Errorf("the loop answers %v", errs[0])
		}
		if again := got.list(); len(again) != 4 {
			t.Errorf("%d results for 4 records", len(again))
		}
		if f.failures() != 4 || f.logs[0].committed != 0 || p.buffered() != 0 {
			t.Errorf("%d failures, %d committed, %d bytes left", f.failures(), f.logs[0].committed, p.buffered())
		}
		f.accs[0].close(errors.New("other")) // changes nothing
		if err := p.putAsync(t.Context(), text("late"), nil); !errors.Is(err, messages.ErrClosed) {
			t.Errorf("a put to what is closed twice: %v", err)
		}
	})
}

func TestCloseBeforeAnythingWasSent(t *testing.T) {
	f := newFakeTopic(1)
	var got results
	p := f.producer(nil)
	if err := p.putAsync(t.Context(), text("a"), got.add); err != nil {
		t.Fatal(err)
	}
	f.accs[0].close(messages.ErrClosed)
	p.told(t)
	if all := got.list(); len(all) != 1 || !errors.Is(all[0].Err, messages.ErrClosed) || errors.Is(all[0].Err, messages.ErrUnknownOutcome) {
		t.Errorf("told %v", all)
	}
	if err := f.accs[0].run(within(t), f.logs[0].append, f.logs[0].has); err != nil {
		t.Errorf("a loop of what is closed: %v", err)
	}
	if len(f.logs[0].sent) != 0 {
		t.Errorf("%d batches were sent after the close", len(f.logs[0].sent))
	}
}

// A callback may close; what was told success stays so, and nobody is forgotten.
func TestCloseFromACallback(t *testing.T) {
	f := newFakeTopic(1)
	p := f.producer(nil)
	var got results
	gate := gated(f.logs[0])
	for range messages.MaxBatchRecords + 5 {
		if err := p.putAsync(t.Context(), text("x"), func(r messages.PutResult) {
			got.add(r)
			if r.Offset == 2 {
				f.accs[0].close(messages.ErrClosed)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	f.run(t)
	gate <- struct{}{}
	_ = p.flush(within(t))
	all := got.list()
	if len(all) != messages.MaxBatchRecords+5 {
		t.Fatalf("%d were told", len(all))
	}
	for i, r := range all {
		if (r.Err == nil) != (i < messages.MaxBatchRecords) {
			t.Fatalf("result %d: %+v", i, r)
		}
	}
}

func TestADeletedTopicClosesTheAccumulator(t *testing.T) {
	f := newFakeTopic(1)
	f.logs[0].before = func(context.Context) error { return fmt.Errorf("append: %w", messages.ErrTopicDeleted) }
	p := f.producer(nil)
	var got results
	for range messages.MaxBatchRecords + 5 {
		if err := p.putAsync(t.Context(), text("x"), got.add); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.accs[0].run(within(t), f.logs[0].append, f.logs[0].has); err != nil {
		t.Errorf("the loop answers %v", err)
	}
	p.told(t)
	for i, r := range got.list() {
		if !errors.Is(r.Err, messages.ErrTopicDeleted) || errors.Is(r.Err, messages.ErrUnknownOutcome) {
			t.Fatalf("result %d: %v", i, r.Err)
		}
	}
	if len(f.logs[0].sent) != 1 || f.failures() != messages.MaxBatchRecords+5 {
		t.Errorf("%d appends, %d failures", len(f.logs[0].sent), f.failures())
	}
	if r := p.put(t.Context(), text("late")); !errors.Is(r.Err, messages.ErrTopicDeleted) {
		t.Errorf("a put after that: %v", r.Err)
	}
}

// The end of the loop leaves the batch on its way, and the next loop sends the
// very same before anything else.
func TestARestartResumesTheSameBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		f.logs[0].after = func(ctx context.Context) error { <-ctx.Done(); return messages.ErrUnknownOutcome }
		stop := f.run(t)
		p := f.producer(nil)
		var got results
		for i := range 3 {
			if err := p.putAsync(t.Context(), text(fmt.Sprint(i)), got.add); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if errs := stop(); !errors.Is(errs[0], errStopped) {
			t.Errorf("the loop answers %v", errs[0])
		}
		if len(got.list()) != 0 || f.accs[0].idle() {
			t.Errorf("told %v when the loop ended", got.list())
		}
		f.logs[0].after = nil
		f.run(t)
		if err := p.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sent := f.logs[0].sent; len(sent) != 3 || sent[0] != sent[1] || sent[2] == sent[1] {
			t.Errorf("%d batches sent, want the first twice and the next", len(sent))
		}
		if values := f.logs[0].records(t); fmt.Sprint(values) != "[0 1 2]" {
			t.Errorf("the log has %v", values)
		}
		for i, r := range got.list() {
			if want := (messages.PutResult{Offset: int64(i)}); r != want {
				t.Errorf("result %d is %+v", i, r)
			}
		}
	})
}

// What readers get of a batch is not written over.
func TestBatchesForReadersKeepTheirBytes(t *testing.T) {
	f := newFakeTopic(1)
	type own struct {
		raw, copied []byte
	}
	var kept []own
	f.logs[0].heard = func(base int64, s *format.Sealed) {
		b, err := s.Batch(base)
		if err != nil {
			t.Error(err)
			return
		}
		kept = append(kept, own{b.Raw, bytes.Clone(b.Raw)})
	}
	f.run(t)
	p := f.producer(nil)
	for i := range 200 {
		m := &messages.Message{Value: bytes.Repeat([]byte{byte(i)}, 20<<10)}
		if i%2 == 0 {
			for j := range m.Value {
				m.Value[j] = byte(rand.Uint32()) // which does not pack
			}
		}
		if err := p.putAsync(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, k := range kept {
		if !bytes.Equal(k.raw, k.copied) {
			t.Fatalf("kept batch %d was written over", i)
		}
	}
}

// A draft is what was added, and takes little more memory than that.
func TestADraftIsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, want, slots := newDraft(), []byte(nil), []slot(nil)
		usual := rapid.SampledFrom([]int{1, 64, 1000, 1100, 5000, 100_000}).Draw(t, "usual size")
		for i := range rapid.IntRange(1, 1000).Draw(t, "records") {
			m := &messages.Message{Value: bytes.Repeat([]byte{byte(i)}, rapid.IntRange(usual/2, usual).Draw(t, "size"))}
			size := messages.RecordSize(m)
			if !d.fits(size, messages.MaxBatchBytes) {
				break
			}
			s := slot{to: callback(nil), index: int32(i), count: 1, size: int32(size)}
			d.add(m, size, &s)
			want, slots = messages.AppendRecord(want, m), append(slots, s)
		}
		held := 0
		for _, p := range d.pieces {
			held += cap(p.buf)
		}
		if most := len(want) + max(smallestPiece, min(len(want)/4, 16<<10)); held > most || d.size != len(want) {
			t.Errorf("%d bytes, and %d are said to be there, in %d", len(want), d.size, held)
		}
		for i := range slots {
			if got := d.slot(i); got.index != slots[i].index || got.size != slots[i].size {
				t.Fatalf("slot %d of %d is %+v, want %+v", i, len(slots), got, slots[i])
			}
		}
		d.whole(func(raw []byte) {
			if !bytes.Equal(raw, want) {
				t.Error("the records are others than were added")
			}
		})
		(&shipment{draft: d, spare: spareAll}).recycle()
	})
}

func TestTimesOfABatch(t *testing.T) {
	at := func(nano int64) *messages.Message { return &messages.Message{Time: time.Unix(0, nano)} }
	for name, tc := range map[string]struct {
		put      []*messages.Message
		min, max int64 // 0 is the time of the sealing
	}{
		"none has one":         {[]*messages.Message{text("a"), text("b")}, 0, 0},
		"all have one":         {[]*messages.Message{at(7), at(3), at(5)}, 3, 7},
		"before 1970":          {[]*messages.Message{at(-7), at(-3)}, -7, -3},
		"some are of now":      {[]*messages.Message{at(7), text("a")}, 7, 0},
		"some are of tomorrow": {[]*messages.Message{at(1 << 62), text("a")}, 0, 1 << 62},
		"1970 is none":         {[]*messages.Message{at(0)}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeTopic(1)
				p := f.producer(nil)
				for _, m := range tc.put {
					if err := p.putAsync(t.Context(), m, nil); err != nil {
						t.Fatal(err)
					}
				}
				f.run(t)
				if err := p.flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				now := time.Now().UnixNano() // the bubble's clock stands
				b := f.logs[0].batches[0]
				if got, want := []int64{b.MinTime, b.MaxTime, b.Time}, []int64{cmp.Or(tc.min, now), cmp.Or(tc.max, now), now}; !slices.Equal(got, want) {
					t.Errorf("from %d to %d, at %d; want %v", b.MinTime, b.MaxTime, b.Time, want)
				}
			})
		})
	}
}

// An idle partition holds no buffer.
func TestAnIdleAccumulatorKeepsNothing(t *testing.T) {
	f := newFakeTopic(1)
	f.run(t)
	p := f.producer(nil)
	for range 10_000 {
		if err := p.putAsync(t.Context(), text("0123456789"), func(messages.PutResult) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(within(t)); err != nil {
		t.Fatal(err)
	}
	a := f.accs[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.filling != nil || len(a.full) > 0 || a.flight != nil || slices.ContainsFunc(a.full[:cap(a.full)], func(d *draft) bool { return d != nil }) {
		t.Errorf("left: %v, %v, %v", a.filling, a.full, a.flight)
	}
}

// told waits until the callbacks that are due have returned.
func (p *producer) told(t fataler) {
	t.Helper()
	if err := p.calls.flushed(context.Background()); err != nil {
		t.Fatalf("%v", err)
	}
}

// idle tells whether nothing is taken whose waiters were not told.
func (a *accumulator) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told == a.taken
}

// buffered is the bytes taken that are neither committed nor failed.
func (p *producer) buffered() int64 { return p.credit.used() }
