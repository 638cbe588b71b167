package prefetch

// Promise: a record is lent to one member at a time, and what becomes of it there is
// decided here: finished, tried again after a delay, given up, or a death.

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// borrowers are members on paper.
type borrowers struct {
	mu       sync.Mutex
	lent     map[int64]func(error) // by offset, what ends it
	records  []messages.Record     // as they were lent
	tags     []int64               // that they were lent under
	first    []int64               // offsets that were lent before what waits
	recalled []int64
}

func (b *borrowers) lend(_ context.Context, r messages.Record, loan Loan) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lent[r.Offset] != nil {
		panic("lent twice")
	}
	b.lent[r.Offset] = loan.Settled
	b.tags = append(b.tags, loan.Tag)
	if loan.First {
		b.first = append(b.first, r.Offset)
	}
	b.records = append(b.records, r)
	return nil
}

func (b *borrowers) recall(tag int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recalled = append(b.recalled, tag)
}

// ends ends a loan, and reports whether there was one.
func (b *borrowers) ends(offset int64, err error) bool {
	b.mu.Lock()
	settled := b.lent[offset]
	delete(b.lent, offset)
	b.mu.Unlock()
	if settled != nil {
		settled(err)
	}
	return settled != nil
}

// last is how an offset was lent last.
func (b *borrowers) last(offset int64) (r messages.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.records {
		if x.Offset == offset {
			r = x
		}
	}
	return r
}

func (b *borrowers) out() (all []int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for offset := range b.lent {
		all = append(all, offset)
	}
	slices.Sort(all)
	return all
}

// beginLending lends what a claim of two batches has, records without keys.
func beginLending(t *testing.T, change func(*Config)) (*Buffer, *feeder, *Lending, *borrowers) {
	cfg := Config{Topic: "topic", Group: "group", MaxFetched: 1 << 20, Concurrency: MostAtOnce, Retry: messages.Retry{Min: time.Second, Max: time.Minute}}
	if change != nil {
		change(&cfg)
	}
	cfg.Retry.EnsureDefaults()
	s, _ := newTestBuffer(cfg)
	l := NewLending(s)
	f := feed(t, s, keyedLog(2, func(int) string { return "" }), Place{})
	b := &borrowers{lent: make(map[int64]func(error))}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(ctx, b.lend, b.recall) })
	running.Go(func() { _ = l.Settle(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	synctest.Wait()
	return s, f, l, b
}

func TestLendingDecidesWhatBecomesOfRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var letters []messages.Record
		s, f, _, b := beginLending(t, func(c *Config) {
			c.MaxAttempts = 2
			c.DeadLetter = func(_ context.Context, r messages.Record, _ error) error {
				letters = append(letters, r)
				return nil
			}
		})
		if !slices.Equal(b.out(), upToOffset(0, 20)) || s.Lent() != 20 {
			t.Fatalf("lent are %v, %d", b.out(), s.Lent())
		}
		b.ends(3, nil)
		b.ends(0, errors.New("no disk"))
		b.ends(1, &messages.DeathError{Member: "m", Cause: errors.New("gone")})
		b.ends(2, &messages.AbandonedError{})
		b.ends(4, messages.Untried(errors.New("recalled")))
		b.ends(5, messages.ErrExpired)
		synctest.Wait()
		if at := b.out(); slices.Contains(at, 0) || slices.Contains(at, 1) || !slices.Contains(at, 2) || !slices.Contains(at, 4) || slices.Contains(at, 5) {
			t.Errorf("lent are %v", at)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r := b.last(0); r.Attempt != 2 || r.Deaths != 0 {
			t.Errorf("what failed came with %d attempts, %d deaths", r.Attempt, r.Deaths)
		}
		if r := b.last(1); r.Attempt != 1 || r.Deaths != 1 {
			t.Errorf("what a member died over came with %d attempts, %d deaths", r.Attempt, r.Deaths)
		}
		b.ends(0, errors.New("no disk"))
		b.ends(1, &messages.DeathError{Member: "m", Cause: errors.New("gone")})
		for offset := int64(2); offset < 20; offset++ {
			b.ends(offset, nil)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(letters) != 2 || letters[0].Offset != 0 || letters[0].Attempt != 2 || letters[1].Offset != 1 || letters[1].Deaths != 2 {
			t.Errorf("dead letters %+v", letters)
		}
		if n, _, _ := s.Stats(); s.Finished(f.c) != 20 || n.Died != 2 || n.Failed != 1 || n.DeadLettered != 2 || n.Expired != 1 {
			t.Errorf("finished up to %d, %+v", s.Finished(f.c), n)
		}
	})
}

// What was lent of a claim that is lost finishes nothing, and what is wanted back is given
// up once all of it has come.
func TestLendingOfClaimsThatGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, _, b := beginLending(t, nil)
		s.Release(f.c)
		for offset := range int64(20) {
			if len(f.told) > 0 {
				t.Fatalf("told %v while %v are lent", f.told, b.out())
			}
			var err error
			if offset > 9 {
				err = messages.Untried(errors.New("recalled"))
			}
			b.ends(offset, err)
		}
		synctest.Wait()
		f.Lock()
		defer f.Unlock()
		if len(f.told) != 1 || f.told[0] != (Idle{}) || len(b.out()) > 0 || s.Finished(f.c) != 10 {
			t.Errorf("told %v, lent %v, finished up to %d", f.told, b.out(), s.Finished(f.c))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, f, _, b := beginLending(t, nil)
		s.Remove(f.c, messages.ErrFenced)
		for offset := range int64(20) {
			b.ends(offset, nil)
		}
		synctest.Wait()
		if n, _, _ := s.Stats(); n.Finished > 0 || len(b.out()) > 0 {
			t.Errorf("finished %d, lent %v", n.Finished, b.out())
		}
	})
}

// A record that waits for room to be lent comes back when its claim is wanted.
func TestLendingIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Topic: "topic", Group: "group", MaxFetched: 1 << 20, Concurrency: MostAtOnce}
		cfg.Retry.EnsureDefaults()
		s, _ := newTestBuffer(cfg)
		l := NewLending(s)
		f := feed(t, s, keyedLog(1, func(int) string { return "" }), Place{})
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			over <- l.Run(ctx, func(ctx context.Context, _ messages.Record, _ Loan) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}, func(int64) {})
		}()
		synctest.Wait()
		s.Release(f.c)
		l.Interrupt()
		synctest.Wait()
		f.Lock()
		if len(f.told) != 1 || s.Lent() != 0 {
			t.Errorf("told %v, %d lent", f.told, s.Lent())
		}
		f.Unlock()
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// Claims that were made in one transaction have the same fence, and what is lent of one of
// them can be recalled without that of the others.
func TestTagsAreOfOneClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, _, ofOne := beginLending(t, nil)
		_, other, _, ofOther := beginLending(t, nil)
		if one.c.Fence != other.c.Fence {
			t.Fatalf("fences %d and %d", one.c.Fence, other.c.Fence)
		}
		if x, y := slices.Compact(ofOne.tags), slices.Compact(ofOther.tags); len(x) != 1 || len(y) != 1 || x[0] == y[0] || x[0] != one.c.Tag || x[0] == 0 {
			t.Errorf("lent under %v and %v", x, y)
		}
	})
}

// What is lent at the moment at which the lease cannot be trusted any more is recalled.
func TestLendingUnderALeaseInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Topic: "topic", Group: "group", MaxFetched: 1 << 20, Concurrency: MostAtOnce}
		cfg.Retry.EnsureDefaults()
		s, trusted := newTestBuffer(cfg)
		l := NewLending(s)
		f := feed(t, s, keyedLog(1, func(int) string { return "" }), Place{})
		ctx, cancel := context.WithCancel(t.Context())
		var lent, recalled []int64
		over := make(chan error, 1)
		go func() {
			over <- l.Run(ctx, func(_ context.Context, r messages.Record, _ Loan) error {
				if lent = append(lent, r.Offset); len(lent) == 3 {
					trusted.Store(0)
				}
				return nil
			}, func(tag int64) { recalled = append(recalled, tag) })
		}()
		synctest.Wait()
		if len(lent) != 3 || len(recalled) != 1 || recalled[0] != f.c.Tag {
			t.Errorf("lent %v, recalled %v", lent, recalled)
		}
		cancel()
		<-over
	})
}

// Promise: what is lent one at a time is lent before what waits, and nothing else is.
func TestLentAloneIsLentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, _, b := beginLending(t, nil)
		if len(b.first) > 0 {
			t.Errorf("%v were lent first", b.first)
		}
		s.Remove(f.c, nil)
		b.lent = make(map[int64]func(error))
		feed(t, s, keyedLog(2, func(int) string { return "" }), Place{Progress: format.Progress{Takeovers: takeovers, Careful: 3}})
		for offset := range int64(3) {
			synctest.Wait()
			if !slices.Equal(b.out(), []int64{offset}) {
				t.Fatalf("%v are lent", b.out())
			}
			b.ends(offset, nil)
		}
		synctest.Wait()
		if !slices.Equal(b.first, []int64{0, 1, 2}) {
			t.Errorf("%v were lent first", b.first)
		}
	})
}

// A handler of dead letters that ends its goroutine has failed: its record and those behind
// it come again.
func TestDeadLetterHandlerEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var letters []int64
		s, f, l, b := beginLending(t, func(c *Config) {
			c.MaxAttempts = 1
			c.DeadLetter = func(_ context.Context, r messages.Record, _ error) error {
				if letters = append(letters, r.Offset); len(letters) == 1 {
					runtime.Goexit()
				}
				return nil
			}
		})
		for offset := range int64(20) {
			b.ends(offset, errors.New("no disk"))
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		again := make(chan error, 1)
		go func() { again <- l.Settle(ctx) }()
		synctest.Wait()
		if len(letters) != 20 || s.Lent() > 0 {
			t.Errorf("dead letters %v, %d lent", letters, s.Lent())
		}
		time.Sleep(10 * time.Second)
		b.ends(0, errors.New("no disk"))
		synctest.Wait()
		if len(letters) != 21 || s.Finished(f.c) != 20 {
			t.Errorf("dead letters %v, finished up to %d", letters, s.Finished(f.c))
		}
		cancel()
		<-again
	})
}
