package produce

// Whatever fails, and whenever: each record is told of once, with what is true.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

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
		producers := []*Producer{f.producer(nil), f.producer(nil)}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.IntRange(0, 5).Draw(t, "puts") {
				id := w.next
				w.next++
				from := rapid.IntRange(0, 1).Draw(t, "producer")
				if err := producers[from].PutAsync(context.Background(), text(fmt.Sprint(id)), func(r messages.PutResult) { w.tell(from, id, r) }); err != nil {
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
func (w *world) drain(a *Accumulator) {
	for range 1000 {
		ctx, cancel := context.WithCancelCause(context.Background())
		w.stopped = cancel
		over := make(chan struct{})
		go func() {
			defer close(over)
			defer func() { _ = recover() }()
			_ = a.Run(ctx, w.append, w.committed)
		}()
		calm := make(chan struct{})
		go func() {
			defer close(calm)
			_ = a.Flushed(ctx, a.Taken())
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

func (w *world) check(a *Accumulator, producers []*Producer) {
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
	n := a.Counters()
	if n.Queued != 0 || int(n.Failed) != failed || int(n.Committed) != w.next-failed || int(n.Records) != w.next {
		t.Fatalf("counted %+v, %d of %d failed", n, failed, w.next)
	}
	for _, p := range producers {
		if p.buffered() != 0 {
			t.Fatalf("%d bytes of credit are lost", p.buffered())
		}
	}
}
