package prefetch

// Promise: with a Concurrency, records of a partition are handled at the same time, those
// of one key in their order. One that does not end, or is retried, holds up its key alone,
// and whoever continues from a position handles what was not finished and nothing else.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// keyedLog is batches of ten records each, whose keys come from key.
func keyedLog(batches int, key func(offset int) string) (log []*format.Batch) {
	for i := range batches {
		b := &format.Batch{Base: int64(10 * i), Count: 10, Time: 1}
		for k := range 10 {
			b.Raw = messages.AppendRecord(b.Raw, &messages.Message{Key: []byte(key(10*i + k)), Value: fmt.Append(nil, 10*i+k)})
		}
		log = append(log, b)
	}
	return log
}

// feeder is a consumer of one claim, in one goroutine.
type feeder struct {
	s     *Buffer
	c     *Claim
	log   []*format.Batch
	mail  chan Notice
	alarm *time.Timer
	told  []Notice // that are not of the filling
	// behind is called when nothing more is handed out before a commit.
	behind func()
	sync.Mutex
}

// feed keeps a claim filled from a log, until the test ends.
func feed(t *testing.T, s *Buffer, log []*format.Batch, at Place) *feeder {
	return feedWith(t, s, log, at, nil)
}

func feedWith(t *testing.T, s *Buffer, log []*format.Batch, at Place, behind func()) *feeder {
	f := &feeder{s: s, behind: behind, c: &Claim{Fence: 5, Lease: theLease}, log: log, mail: make(chan Notice, 1<<16), alarm: time.NewTimer(time.Hour)}
	s.Add(f.c, at)
	s.Attach(f.c, func(m Notice) { f.mail <- m })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return f
}

func (f *feeder) run(ctx context.Context) {
	for {
		f.fill()
		select {
		case m := <-f.mail:
			switch m := m.(type) {
			case Rests:
				f.alarm.Reset(m.Delay)
			case RoomMade:
			case Behind:
				if f.behind != nil {
					f.behind()
				}
			default:
				f.Lock()
				f.told = append(f.told, m)
				f.Unlock()
			}
		case <-f.alarm.C:
			f.s.Wake(f.c)
		case <-ctx.Done():
			f.alarm.Stop()
			return
		}
	}
}

func (f *feeder) fill() {
	for {
		offset, _, open := f.s.Next(f.c)
		if !open || offset >= f.log[len(f.log)-1].End() {
			return
		}
		room := f.s.Reserve(f.c)
		if room == 0 {
			return
		}
		i := slices.IndexFunc(f.log, func(b *format.Batch) bool { return b.End() > offset })
		f.s.Fill(f.c, []*format.Batch{f.log[i]}, room)
	}
}

// attempts are what a handler saw.
type attempts struct {
	sync.Mutex
	of    map[int64][]int // attempts, by offset
	inKey map[string]int
	last  map[string]int64 // finished last, by key
	most  int
	busy  int
}

func newAttempts() *attempts {
	return &attempts{of: map[int64][]int{}, inKey: map[string]int{}, last: map[string]int64{}}
}

// handler works for a while on each record; what returns an error of it first.
func (a *attempts) handler(t *testing.T, takes time.Duration, what func(r messages.Record) error) messages.RecordHandler {
	return func(ctx context.Context, r messages.Record) error {
		a.Lock()
		key := string(r.Key)
		a.of[r.Offset] = append(a.of[r.Offset], r.Attempt)
		if a.inKey[key]++; key != "" && a.inKey[key] > 1 {
			t.Errorf("%d records of key %q are handled at the same time", a.inKey[key], key)
		}
		a.busy++
		a.most = max(a.most, a.busy)
		a.Unlock()
		time.Sleep(takes)
		err := what(r)
		a.Lock()
		defer a.Unlock()
		a.inKey[key]--
		a.busy--
		if err != nil {
			return err
		}
		if last, had := a.last[key]; key != "" && had && last >= r.Offset {
			t.Errorf("key %q: offset %d is finished after %d", key, r.Offset, last)
		}
		a.last[key] = r.Offset
		return nil
	}
}

func byKey(offset int) string {
	if offset%5 == 0 {
		return ""
	}
	return fmt.Sprint("key ", offset%97)
}

func TestConcurrencyKeepsTheOrderOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, batches = 64, 200
		s, _ := newTestBuffer(Config{Concurrency: workers})
		f := feed(t, s, keyedLog(batches, byKey), Place{Written: true})
		a := newAttempts()
		began := time.Now()
		stop := consumePaper(t, s, workers, a.handler(t, 10*time.Millisecond, func(r messages.Record) error {
			if r.Offset%31 == 7 && r.Attempt < 3 {
				return errors.New("again")
			}
			return nil
		}))
		for s.Finished(f.c) < 10*batches {
			time.Sleep(time.Millisecond)
		}
		t.Logf("%d records took %s, at most %d at once", 10*batches, time.Since(began), a.most)
		stop()
		for o := range int64(10 * batches) {
			want := []int{1}
			if o%31 == 7 {
				want = []int{1, 2, 3}
			}
			if !slices.Equal(a.of[o], want) {
				t.Fatalf("offset %d had the attempts %v, want %v", o, a.of[o], want)
			}
		}
		if a.most != workers {
			t.Errorf("at most %d were handled at once, want %d", a.most, workers)
		}
		s.Finish()
		if s.bytes != 0 || s.room != 0 || f.c.window != nil {
			t.Errorf("%d bytes and room for %d are still counted, window %v", s.bytes, s.room, f.c.window)
		}
	})
}

// 64 handlers that take 10 ms handle 5,000 records of a partition a second, though one
// record does not end and another one is retried after an hour.
func TestConcurrencyIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, records = 64, 10_000
		s, _ := newTestBuffer(Config{Concurrency: workers, MaxFetched: 1})
		f := feed(t, s, keyedLog(records/10, func(o int) string { return fmt.Sprint(o % 499) }), Place{Written: true})
		a := newAttempts()
		release := make(chan struct{})
		began := time.Now()
		stop := consumePaper(t, s, workers, a.handler(t, 10*time.Millisecond, func(r messages.Record) error {
			switch {
			case r.Offset == 0:
				<-release
			case r.Offset == 1 && r.Attempt == 1:
				return messages.RetryAfter(time.Hour, nil)
			}
			return nil
		}))
		left := func() int64 { return records - int64(len(a.of)) }
		for {
			time.Sleep(10 * time.Millisecond)
			a.Lock()
			n := left()
			a.Unlock()
			if n == 2*(records/499) { // those of the two keys
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("%d records are held up", n)
			}
		}
		took := time.Since(began)
		if rate := float64(records) / took.Seconds(); rate < 5000 {
			t.Errorf("%.0f records a second", rate)
		}
		time.Sleep(20 * time.Millisecond)

		// What is committed now says what is finished, and is small.
		due := s.Due()
		if len(due) != 1 || due[0].Offset != 0 || due[0].Progress.Count() != records-2*(records/499+1) {
			t.Fatalf("due: %d, offset %d, %d finished behind it", len(due), due[0].Offset, due[0].Progress.Count())
		}
		if tried, ok := due[0].Progress.TriedAt(1); !ok || tried.Attempts != 1 || time.Until(tried.NotBefore) < 50*time.Minute {
			t.Fatalf("offset 1 was tried: %+v", tried)
		}
		value := format.CommittedValue(due[0], 0, 0, time.Now())
		if len(value) > 500 {
			t.Errorf("a commit of %d bytes", len(value))
		}

		// Whoever continues from there handles the rest, and nothing else.
		c, err := format.ParseCommitted("k", []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		progress, _ := format.ProgressOf(c)
		next, _ := newTestBuffer(Config{Concurrency: workers})
		g := feed(t, next, f.log, Place{Offset: c.Offset, Base: 0, Written: true, Progress: progress})
		b := newAttempts()
		stopNext := consumePaper(t, next, workers, b.handler(t, time.Millisecond, func(messages.Record) error { return nil }))
		for next.Finished(g.c) < records {
			time.Sleep(time.Second)
		}
		if passed := time.Since(began); passed < 59*time.Minute {
			t.Errorf("the record that was to be retried after an hour was, after %s", passed)
		}
		stopNext()
		for o := range int64(records) {
			want := []int(nil)
			switch {
			case o == 1:
				want = []int{2}
			case o%499 < 2:
				want = []int{1}
			}
			if !slices.Equal(b.of[o], want) {
				t.Fatalf("offset %d had the attempts %v afterwards, want %v", o, b.of[o], want)
			}
		}
		close(release)
		stop()
	})
}

// Whatever moves a claim while its records are in hand, each is finished at most once after
// it, and none is skipped.
func TestConcurrencyWhileSteered(t *testing.T) {
	const batches = 30
	for name, tc := range map[string]struct {
		steer func(s *Buffer, f *feeder)
		from  int64 // what is handled afterwards begins there
	}{
		"paused, resumed": {func(s *Buffer, _ *feeder) { s.Pause(); time.Sleep(time.Second); s.Resume() }, -1},
		"in doubt": {func(s *Buffer, _ *feeder) {
			s.trusted.Store(0)
			time.Sleep(time.Second)
			s.trusted.Store(theLease)
			s.Renewed()
		}, -1},
		"sought back":    {func(s *Buffer, f *feeder) { s.Seek(f.c, 20, 20) }, 20},
		"sought ahead":   {func(s *Buffer, f *feeder) { s.Seek(f.c, 250, -1) }, 250},
		"consumer again": {func(s *Buffer, f *feeder) { s.Attach(f.c, func(m Notice) { f.mail <- m }) }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newTestBuffer(Config{Concurrency: 8})
				f := feed(t, s, keyedLog(batches, byKey), Place{Written: true})
				a := newAttempts()
				a.last = nil
				var mu sync.Mutex
				after := map[int64]int{}
				steered := false
				stop := consumePaper(t, s, 8, func(_ context.Context, r messages.Record) error {
					mu.Lock()
					before := !steered
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
					if r.Offset%13 == 5 && r.Attempt == 1 {
						return errors.New("again")
					}
					mu.Lock()
					defer mu.Unlock()
					if tc.from < 0 || !before {
						after[r.Offset]++
					}
					return nil
				})
				time.Sleep(95 * time.Millisecond)
				mu.Lock()
				steered = true
				mu.Unlock()
				tc.steer(s, f)
				for s.Finished(f.c) < 10*batches {
					time.Sleep(time.Millisecond)
				}
				stop()
				for o := max(tc.from, 0); o < 10*batches; o++ {
					if after[o] != 1 {
						t.Fatalf("offset %d was finished %d times", o, after[o])
					}
				}
			})
		})
	}
}

// A release waits for what is in hand, and its last position says what is finished.
func TestConcurrencyReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestBuffer(Config{Concurrency: 4})
		f := feed(t, s, keyedLog(3, func(int) string { return "" }), Place{Written: true})
		finish := make(chan struct{})
		stop := consumePaper(t, s, 4, func(_ context.Context, r messages.Record) error {
			if r.Offset < 2 {
				<-finish
			}
			if r.Offset == 0 {
				return errors.New("no")
			}
			return nil
		})
		synctest.Wait()
		s.Release(f.c)
		synctest.Wait()
		if f.Lock(); len(f.told) > 0 {
			t.Errorf("told %v with records in hand", f.told)
		}
		f.Unlock()
		close(finish)
		synctest.Wait()
		f.Lock()
		if len(f.told) != 1 || f.told[0] != (Idle{}) {
			t.Errorf("told %v", f.told)
		}
		f.Unlock()
		last := s.Last(f.c)
		if last.Offset != 0 || last.Base != 0 || !last.Progress.IsDone(1) || last.Progress.IsDone(0) {
			t.Errorf("the last position is %+v", last)
		}
		if tried, _ := last.Progress.TriedAt(0); tried.Attempts != 1 {
			t.Errorf("offset 0 was tried %d times", tried.Attempts)
		}
		s.Remove(f.c, nil)
		if s.bytes != 0 || s.room != 0 {
			t.Errorf("%d bytes and room for %d are left", s.bytes, s.room)
		}
		stop()
	})
}

// A reader in order passes over what an earlier owner had finished out of order, and knows
// of its attempts.
func TestReadersInOrderObeyProgress(t *testing.T) {
	progress := format.Progress{
		Done:  []format.Range{{From: 1, To: 3}, {From: 5, To: 12}, {From: 28, To: 30}},
		Tried: []format.Tried{{Offset: 4, Attempts: 2}, {Offset: 13, Attempts: 1, Deaths: 3}},
	}
	want := []int64{0, 3, 4, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27}
	attempt := func(r messages.Record) int {
		switch r.Offset {
		case 4:
			return 3
		case 13:
			return 2
		}
		return 1
	}
	check := func(t *testing.T, s *Buffer, f *feeder, got []messages.Record) {
		t.Helper()
		wantOffsets(t, "handed out", offsetsOf(0, got), want)
		for _, r := range got {
			if r.Attempt != attempt(r) || (r.Deaths == 3) != (r.Offset == 13) {
				t.Errorf("offset %d: attempt %d, %d deaths", r.Offset, r.Attempt, r.Deaths)
			}
		}
		if at := s.Finished(f.c); at < 28 {
			t.Errorf("%d is finished", at)
		}
	}
	t.Run("loop", func(t *testing.T) {
		s, _ := newTestBuffer(Config{})
		f := feed(t, s, keyedLog(3, byKey), Place{Written: true, Progress: progress})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []messages.Record
		for r, err := range s.Records(ctx) {
			if err != nil {
				break
			}
			if got = append(got, r); len(got) == len(want) {
				cancel()
			}
			if at := s.Finished(f.c); at > r.Offset {
				t.Errorf("%d is finished while %d is in hand", at, r.Offset)
			}
			if p := s.Last(f.c); p.Offset >= 0 && (p.Progress.IsDone(r.Offset) || !slices.Equal(p.Progress.Done, progress.From(p.Offset).Done)) {
				t.Errorf("with offset %d in hand, %+v is to be committed", r.Offset, p)
			}
		}
		// A loop that ends does not finish its last record.
		wantOffsets(t, "handed out", offsetsOf(0, got), want)
	})
	t.Run("polls", func(t *testing.T) {
		s, _ := newTestBuffer(Config{})
		f := feed(t, s, keyedLog(3, byKey), Place{Written: true, Progress: progress})
		var got []messages.Record
		for len(got) < len(want) {
			recs, err := s.Poll(t.Context(), 4)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, recs...)
		}
		s.SettlePolled(true)
		check(t, s, f, got)
	})
}

// Promise: a handler of dead letters that ends its goroutine has failed: its record is not
// left in hand, and comes again.
func TestDeadLetterHandlerOfALaneEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var letters atomic.Int64
		cfg := Config{
			Topic: "topic", Group: "group", MaxFetched: 1 << 20, Concurrency: 2, MaxAttempts: 1,
			DeadLetter: func(context.Context, messages.Record, error) error {
				if letters.Add(1) == 1 {
					runtime.Goexit()
				}
				return nil
			},
		}
		cfg.Retry.EnsureDefaults()
		s, _ := newTestBuffer(cfg)
		f := feed(t, s, keyedLog(1, func(int) string { return "" }), Place{})
		ctx, cancel := context.WithCancel(t.Context())
		c := NewConsumption(ctx, s, func(_ context.Context, r messages.Record) error {
			if r.Offset == 3 {
				return errors.New("no disk")
			}
			return nil
		})
		var working sync.WaitGroup
		worker := func() { _ = c.workLanes(ctx, "") }
		working.Go(func() {
			for range 2 { // whoever hosts it begins another one
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					worker()
				}()
				<-ended
			}
		})
		synctest.Wait()
		if letters.Load() != 1 || s.Lent() != 0 {
			t.Errorf("%d dead letters, %d records in hand", letters.Load(), s.Lent())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if letters.Load() != 2 || s.Finished(f.c) != 10 {
			t.Errorf("%d dead letters, finished up to %d", letters.Load(), s.Finished(f.c))
		}
		cancel()
		working.Wait()
	})
}
