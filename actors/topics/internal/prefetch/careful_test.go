package prefetch

// Promise: a record that ends each process that handles it becomes a dead letter, and all
// others are handled, though no process lives to tell.

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// paperEtcd is where a group is in a partition.
type paperEtcd struct {
	sync.Mutex
	value []byte
	alive *Buffer // who may write
}

// write writes what is due of s, if it is alive.
func (e *paperEtcd) write(s *Buffer) {
	e.Lock()
	defer e.Unlock()
	if e.alive != s {
		return
	}
	for _, p := range s.Due() {
		e.value = []byte(format.CommittedValue(p, 0, 0, time.Now()))
		s.Wrote(p)
	}
}

func (e *paperEtcd) read(t *testing.T) (int64, format.Progress) {
	e.Lock()
	defer e.Unlock()
	if e.value == nil {
		return 0, format.Progress{}
	}
	c, err := format.ParseCommitted("k", e.value)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := format.ProgressOf(c)
	return c.Offset, p
}

func TestARecordThatEndsItsProcesses(t *testing.T) {
	const records, poison, attempts = 2500, 1500, 3
	for name, cfg := range map[string]Config{
		"one after the other": {},
		"by key":              {Concurrency: 16},
	} {
		for ticks, every := range map[string]time.Duration{"without commits": time.Hour, "with commits": 50 * time.Millisecond} {
			t.Run(name+"/"+ticks, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := keyedLog(records/10, byKey)
					var mu sync.Mutex
					handled, letters := map[int64]int{}, map[int64]int{}
					var deaths []int
					etcd := &paperEtcd{}
					owners := 0
					for {
						if owners++; owners > 20 {
							t.Fatalf("no end after %d owners", owners)
						}
						cfg := cfg
						cfg.MaxAttempts = attempts
						cfg.DeadLetter = func(_ context.Context, r messages.Record, _ error) error {
							mu.Lock()
							defer mu.Unlock()
							letters[r.Offset]++
							deaths = append(deaths, r.Deaths)
							return nil
						}
						var s *Buffer
						cfg.Persist = func(context.Context) error { etcd.write(s); return nil }
						s, _ = newTestBuffer(cfg)
						etcd.alive = s
						offset, progress := etcd.read(t)
						if owners > 1 {
							progress = TakenOver(offset, progress)
							etcd.value = []byte(format.CommittedValue(format.Position{Offset: offset, Progress: progress}, 0, 0, time.Now()))
						}
						f := feedWith(t, s, log, Place{Offset: offset, Base: -1, Written: true, Progress: progress}, func() { etcd.write(s) })
						died := make(chan struct{})
						stop := consumePaper(t, s, max(1, cfg.Concurrency), func(ctx context.Context, r messages.Record) error {
							time.Sleep(time.Millisecond)
							if r.Offset == poison {
								etcd.Lock()
								etcd.alive = nil
								etcd.Unlock()
								close(died)
								<-ctx.Done()
								return ctx.Err()
							}
							select {
							case <-died: // and so do the others
								<-ctx.Done()
								return ctx.Err()
							default:
							}
							mu.Lock()
							defer mu.Unlock()
							handled[r.Offset]++
							return nil
						})
						look, tick := time.NewTicker(100*time.Millisecond), time.NewTicker(every)
						for over := false; !over; {
							select {
							case <-died:
								over = true
							case <-tick.C:
								etcd.write(s)
							case <-look.C:
								over = s.Finished(f.c) == records
							}
						}
						look.Stop()
						tick.Stop()
						stop()
						if s.Finished(f.c) == records {
							etcd.write(s)
							break
						}
						s.Remove(f.c, nil)
					}
					t.Logf("%d owners, deaths %v", owners, deaths)
					if letters[poison] != 1 || len(letters) != 1 || !slices.Equal(deaths, []int{attempts}) {
						t.Errorf("dead letters %v, after %v deaths", letters, deaths)
					}
					for o := range int64(records) {
						if o != poison && handled[o] == 0 {
							t.Fatalf("offset %d was not handled", o)
						}
					}
					if offset, p := etcd.read(t); offset != records || len(p.Done)+len(p.Tried)+p.Takeovers > 0 {
						t.Errorf("%d is committed, %+v", offset, p)
					}
				})
			})
		}
	}
}

// Promise: a share trips when at least so many of the last records became dead letters, not
// before there were as many records, and then begins again.
func TestShareOfDeadLetters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.IntRange(2, 9).Draw(t, "of")
		least := rapid.SampledFrom([]float64{0.01, 0.25, 0.5, 0.99, 1}).Draw(t, "least")
		s := newShare(Share{Least: least, Of: of})
		var all []bool // since it tripped last
		for range rapid.IntRange(0, 60).Draw(t, "times") {
			n, letter := 1, rapid.Bool().Draw(t, "letter")
			if !letter {
				n = rapid.IntRange(0, 12).Draw(t, "handled")
			}
			for range n {
				all = append(all, letter)
			}
			letters := 0
			for _, l := range all[max(0, len(all)-of):] {
				if l {
					letters++
				}
			}
			want := 0
			if len(all) >= of && float64(letters) >= least*float64(of) {
				want, all = letters, nil
			}
			if got := s.finished(n, letter); got != want {
				t.Fatalf("%d letters of the last %d trip, want %d", got, of, want)
			}
		}
	})
}

// Promise: records that fail between others trip all the same, whether they are handled one
// by one or in batches.
func TestShareTripsBetweenHandledRecords(t *testing.T) {
	for _, batches := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const of = 10
			tripped := make(chan Tripped, 100)
			s, _ := newTestBuffer(Config{
				MaxAttempts: 1, Share: Share{Least: 0.5, Of: of}, Breaker: of,
				DeadLetter: func(context.Context, messages.Record, error) error { return nil },
				Trip:       func(t Tripped) { tripped <- t },
			})
			feed(t, s, keyedLog(10, byKey), Place{Base: -1, Written: true})
			handle := func(_ context.Context, r messages.Record) error {
				if r.Offset >= 20 && r.Offset%2 == 0 {
					return errors.New("the database is away")
				}
				return nil
			}
			stop := consumePaperWith(t, 1, func(ctx context.Context) *Consumption {
				if !batches {
					return NewConsumption(ctx, s, handle)
				}
				return NewBatches(ctx, s, 4, func(ctx context.Context, all []messages.Record) (int, error) {
					for i, r := range all {
						if err := handle(ctx, r); err != nil {
							return i, err
						}
					}
					return len(all), nil
				})
			})
			defer stop()
			synctest.Wait()
			stop()
			// Of records 20 to 99 each ten trip once.
			if n := len(tripped); n != 8 {
				t.Errorf("batches %v: tripped %d times, want 8", batches, n)
			}
			if got := <-tripped; got != (Tripped{Letters: of / 2, Of: of}) {
				t.Errorf("batches %v: tripped by %+v", batches, got)
			}
		})
	}
}
