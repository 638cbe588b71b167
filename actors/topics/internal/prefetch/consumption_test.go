package prefetch

// Promise: whatever a handler of Consume does, its record is handled in its turn:
// a failure is tried again, what uses up its attempts goes to the dead letters,
// and no partition's records overtake one another. A loop allocates nothing for a
// record.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
)

func TestConsumeHandlers(t *testing.T) {
	const batches = 6
	end := smallLog.End(0, batches)
	errNo := errors.New("no")
	type try struct {
		offset  int64
		attempt int
	}
	// Of each offset but 2 there is one attempt; these are those of 2.
	for name, tc := range map[string]struct {
		cfg      Config
		at2      func(attempt int) error
		attempts int
		check    func(t *testing.T, events *eventLog, n messages.SubscriptionCounters)
	}{
		"success": {at2: func(int) error { return nil }, attempts: 1, check: func(t *testing.T, _ *eventLog, n messages.SubscriptionCounters) {
			if n.Failed != 0 {
				t.Errorf("%+v", n)
			}
		}},
		"failure, then success": {at2: func(attempt int) error {
			if attempt == 1 {
				return errNo
			}
			return nil
		}, attempts: 2, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
			if got := countEvents[messages.RecordFailed](events); got != 1 || n.Failed != 1 {
				t.Errorf("%d failures told, %d counted", got, n.Failed)
			}
		}},
		"panic, then success": {at2: func(attempt int) error {
			if attempt == 1 {
				panic("at 2")
			}
			return nil
		}, attempts: 2, check: func(t *testing.T, events *eventLog, _ messages.SubscriptionCounters) {
			if p, f := countEvents[messages.HandlerPanicked](events), countEvents[messages.RecordFailed](events); p != 1 || f != 1 {
				t.Errorf("%d panics and %d failures were told", p, f)
			}
		}},
		"Goexit, then success": {at2: func(attempt int) error {
			if attempt < 3 {
				runtime.Goexit()
			}
			return nil
		}, attempts: 3, check: func(t *testing.T, _ *eventLog, n messages.SubscriptionCounters) {
			if n.Failed != 2 {
				t.Errorf("%+v", n)
			}
		}},
		"dead letters": {
			cfg:      Config{MaxAttempts: 3, DeadLetter: func(context.Context, messages.Record, error) error { return nil }},
			at2:      func(int) error { return errNo },
			attempts: 3, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
				if d, f := countEvents[messages.RecordDeadLettered](events), countEvents[messages.RecordFailed](events); d != 1 || f != 2 || n.DeadLettered != 1 {
					t.Errorf("%d dead letters and %d failures were told, %d counted", d, f, n.DeadLettered)
				}
			}},
		"dead letters that are refused at first": {
			cfg: Config{MaxAttempts: 2, DeadLetter: func(_ context.Context, r messages.Record, _ error) error {
				if r.Attempt < 4 {
					return errNo
				}
				return nil
			}},
			at2:      func(int) error { return errNo },
			attempts: 4, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
				if d, f := countEvents[messages.RecordDeadLettered](events), countEvents[messages.RecordFailed](events); d != 1 || f != 3 {
					t.Errorf("%d dead letters and %d failures were told", d, f)
				}
			}},
		"dead letters that panic at first": {
			cfg: Config{MaxAttempts: 1, DeadLetter: func(_ context.Context, r messages.Record, _ error) error {
				if r.Attempt == 1 {
					panic("in the dead letters")
				}
				return nil
			}},
			at2:      func(int) error { return errNo },
			attempts: 2, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
				if p, d := countEvents[messages.HandlerPanicked](events), countEvents[messages.RecordDeadLettered](events); p != 1 || d != 1 {
					t.Errorf("%d panics and %d dead letters were told", p, d)
				}
			}},
		"rejected": {
			cfg:      Config{MaxAttempts: 3, DeadLetter: func(context.Context, messages.Record, error) error { return nil }},
			at2:      func(int) error { return fmt.Errorf("%w: %w", messages.ErrReject, errNo) },
			attempts: 1, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
				if d, f := countEvents[messages.RecordDeadLettered](events), countEvents[messages.RecordFailed](events); d != 1 || f != 0 || n.DeadLettered != 1 || n.Failed != 0 || n.Rejected != 0 {
					t.Errorf("%d dead letters and %d failures were told, counted %+v", d, f, n)
				}
			}},
		"rejected, and refused as a dead letter at first": {
			cfg: Config{DeadLetter: func(_ context.Context, r messages.Record, _ error) error {
				if r.Attempt < 3 {
					return errNo
				}
				return nil
			}},
			at2:      func(int) error { return messages.ErrReject },
			attempts: 3, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
				if d, f := countEvents[messages.RecordDeadLettered](events), countEvents[messages.RecordFailed](events); d != 1 || f != 2 || n.DeadLettered != 1 || n.Failed != 2 {
					t.Errorf("%d dead letters and %d failures were told, counted %+v", d, f, n)
				}
			}},
		"rejected without dead letters": {
			at2:      func(int) error { return messages.ErrReject },
			attempts: 1, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
				if r, f := countEvents[messages.RecordRejected](events), countEvents[messages.RecordFailed](events); r != 1 || f != 0 || n.Rejected != 1 || n.Failed != 0 {
					t.Errorf("%d rejections and %d failures were told, counted %+v", r, f, n)
				}
			}},
		"a delay of the handler's": {at2: func(attempt int) error {
			if attempt < 3 {
				return messages.RetryAfter(time.Hour, errNo)
			}
			return nil
		}, attempts: 3, check: func(t *testing.T, events *eventLog, n messages.SubscriptionCounters) {
			events.mu.Lock()
			defer events.mu.Unlock()
			for _, e := range events.all {
				if e := e.(messages.RecordFailed); e.Delay != time.Hour || !errors.Is(e.Err, errNo) {
					t.Errorf("told %+v", e)
				}
			}
			if n.Failed != 2 || len(events.all) != 2 {
				t.Errorf("%d were told, counted %+v", len(events.all), n)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestBuffer(tc.cfg)
			events := &eventLog{}
			s.emit = events.emit
			d := newPaperDesk(t, s, 1, batches)
			var mu sync.Mutex
			var tries []try
			done := make(chan struct{})
			stop := consumePaper(t, s, 1, func(ctx context.Context, r messages.Record) error {
				mu.Lock()
				tries = append(tries, try{r.Offset, r.Attempt})
				mu.Unlock()
				if r.Offset == 2 {
					return tc.at2(r.Attempt)
				}
				if r.Offset == end-1 {
					close(done)
				}
				return nil
			})
			select {
			case <-done:
			case <-time.After(patience):
				mu.Lock()
				defer mu.Unlock()
				t.Fatalf("not all were handled: %v", tries)
			}
			stop()
			if at := s.Finished(d.consumers[0].c); at < end-1 {
				t.Errorf("%d finished of %d", at, end)
			}
			var want []try
			for o := range end {
				attempts := 1
				if o == 2 {
					attempts = tc.attempts
				}
				for n := range attempts {
					want = append(want, try{o, n + 1})
				}
			}
			if !slices.Equal(tries, want) {
				t.Errorf("tries %v, want %v", tries, want)
			}
			s.mu.Lock()
			n := s.counters
			s.mu.Unlock()
			tc.check(t, events, n)
		})
	}
}

// What a handler's error says about the delay is how long the claim rests. What it
// releases comes again as it was, after the shortest one.
func TestRests(t *testing.T) {
	retry := messages.Retry{Min: time.Second, Max: time.Minute}
	d, settled := messages.NewRecordDelivery(t.Context(), messages.Record{})
	d.Release()
	released := <-settled
	for name, tc := range map[string]struct {
		err     error
		rests   time.Duration
		attempt int
	}{
		"failed":               {errors.New("no"), time.Second, 2},
		"with a longer delay":  {messages.RetryAfter(time.Hour, errors.New("no")), time.Hour, 2},
		"with a shorter delay": {messages.RetryAfter(time.Millisecond, errors.New("no")), time.Millisecond, 2},
		"released":             {released, time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestBuffer(Config{Retry: retry})
			a := holdPaper(s, smallLog, 0, 3, 0)
			var told []time.Duration
			s.Attach(a.c, func(m Notice) {
				if m, ok := m.(Rests); ok {
					told = append(told, m.Delay)
				}
			})
			cur, rec := inHand(t, s)
			c := NewConsumption(t.Context(), s, nil)
			c.fail(t.Context(), cur, rec, tc.err)
			if !slices.Equal(told, []time.Duration{tc.rests}) {
				t.Errorf("it rests %v, want %s", told, tc.rests)
			}
			s.Attach(a.c, func(m Notice) { a.inbox = append(a.inbox, m) })
			s.Wake(a.c)
			settleAll(s, a)
			if _, rec = inHand(t, s); rec.Offset != 0 || rec.Attempt != tc.attempt {
				t.Errorf("then came offset %d, attempt %d; want attempt %d", rec.Offset, rec.Attempt, tc.attempt)
			}
		})
	}
}

// A handler whose partition is lost, or whose consumption ends, is told by its
// context; that is no failure.
func TestConsumeCutShort(t *testing.T) {
	for name, cut := range map[string]func(s *Buffer, c *Claim, stop func()){
		"lost":  func(s *Buffer, c *Claim, _ func()) { s.Remove(c, messages.ErrFenced) },
		"ended": func(_ *Buffer, _ *Claim, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestBuffer(Config{MaxAttempts: 1, DeadLetter: func(context.Context, messages.Record, error) error {
				t.Error("a dead letter")
				return nil
			}})
			events := &eventLog{}
			s.emit = events.emit
			d := newPaperDesk(t, s, 1, 3)
			in, out := make(chan struct{}), make(chan error, 1)
			stop := consumePaper(t, s, 1, func(ctx context.Context, r messages.Record) error {
				close(in)
				select {
				case <-ctx.Done():
				case <-time.After(patience):
					t.Error("the handler was not told")
				}
				out <- context.Cause(ctx)
				return ctx.Err()
			})
			<-in
			cut(s, d.consumers[0].c, stop)
			cause := <-out
			stop()
			if name == "lost" && !errors.Is(cause, messages.ErrFenced) {
				t.Errorf("its context ended for %v", cause)
			}
			if n := countEvents[messages.RecordFailed](events); n != 0 {
				t.Errorf("%d failures were told", n)
			}
			if at := s.Finished(d.consumers[0].c); at != 0 {
				t.Errorf("%d finished", at)
			}
		})
	}
}

func TestConsumeKeepsOrderInEachPartition(t *testing.T) {
	const workers, partitions, batches = 4, 8, 60
	s, _ := newTestBuffer(Config{})
	newPaperDesk(t, s, partitions, batches)
	var left atomic.Int64
	for p := range partitions {
		left.Add(smallLog.End(p, batches))
	}
	var next [partitions]int64 // a partition's is touched by one worker at a time, or -race tells
	var inside [partitions]atomic.Int32
	var busy, most atomic.Int32
	done := make(chan struct{})
	var failed sync.Map
	stop := consumePaper(t, s, workers, func(_ context.Context, r messages.Record) error {
		if n := inside[r.Partition].Add(1); n != 1 {
			t.Errorf("%d workers are in partition %d", n, r.Partition)
		}
		defer inside[r.Partition].Add(-1)
		n := busy.Add(1)
		defer busy.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if r.Offset != next[r.Partition] {
			t.Errorf("partition %d: offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
		}
		if r.Offset%17 == 5 { // now and then one fails once
			if _, again := failed.LoadOrStore([2]int64{int64(r.Partition), r.Offset}, true); !again {
				return errors.New("once")
			}
		}
		next[r.Partition] = r.Offset + 1
		runtime.Gosched()
		if left.Add(-1) == 0 {
			close(done)
		}
		return nil
	})
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%d records are left", left.Load())
	}
	stop()
	if m := most.Load(); m > workers {
		t.Errorf("%d at once", m)
	}
}

// Promise: a handler of batches gets records of one partition in order, never more than
// it asked for. Of a batch that fails those before the failed record are finished, and
// that one and the others come again.
func TestConsumeBatches(t *testing.T) {
	const batches, most = 20, 3
	s, _ := newTestBuffer(Config{Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1}})
	newPaperDesk(t, s, 1, batches)
	end := smallLog.End(0, batches)
	done := make(chan struct{})
	var next int64
	var largest, failures int
	stop := consumePaperWith(t, 1, func(ctx context.Context) *Consumption {
		return NewBatches(ctx, s, most, func(_ context.Context, rs []messages.Record) (int, error) {
			largest = max(largest, len(rs))
			for i, r := range rs {
				if r.Offset != next {
					t.Errorf("offset %d, want %d", r.Offset, next)
				}
				if i > 0 && r.Attempt != 1 {
					t.Errorf("attempt %d of offset %d, behind another", r.Attempt, r.Offset)
				}
				if r.Offset%5 == 4 && r.Attempt < 3 {
					failures++
					return i, errors.New("once more")
				}
				next++
			}
			if next == end {
				close(done)
			}
			return len(rs), nil
		})
	})
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("not all were handled")
	}
	stop()
	if largest != most {
		t.Errorf("at most %d at once, want %d", largest, most)
	}
	if want := int(end/5) * 2; failures != want {
		t.Errorf("%d failures, want %d", failures, want)
	}
}
