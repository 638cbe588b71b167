package prefetch

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Promise: what has expired is passed over by every kind of reader and counts as
// finished, so that the place moves past it. It is counted and told once, though a record
// before it comes again, and finishes nothing that is in hand.

// expiring is a buffer with one claim over two batches of five, of which those at gone
// have expired.
func expiring(gone ...int64) (b *Buffer, c *Claim, told *[]int64, log *eventLog) {
	told, log = new([]int64), new(eventLog)
	cfg := Config{Topic: "audit", Group: "billing", MaxFetched: 8 << 20, Expired: func(r messages.Record) bool {
		*told = append(*told, r.Offset)
		return len(*told) > 1
	}}
	cfg.Retry.EnsureDefaults()
	trusted := new(atomic.Int64)
	trusted.Store(theLease)
	b = New(cfg, log.emit, trusted, usercode.New())
	c = &Claim{Fence: 5, Lease: theLease}
	b.Add(c, Place{Written: true})
	b.Fill(c, expiringBatches(time.Now(), gone...), b.Reserve(c))
	return b, c, told, log
}

func expiringBatches(at time.Time, gone ...int64) (out []*format.Batch) {
	for base := int64(0); base < 10; base += 5 {
		batch := &format.Batch{Base: base, Count: 5, Time: 1}
		for o := base; o < base+5; o++ {
			m := messages.Message{Value: []byte("value")}
			if slices.Contains(gone, o) {
				m.ExpiresAt = at
			}
			batch.Raw = messages.AppendRecord(batch.Raw, &m)
		}
		out = append(out, batch)
	}
	return out
}

func without(gone []int64) (out []int64) {
	for o := range int64(10) {
		if !slices.Contains(gone, o) {
			out = append(out, o)
		}
	}
	return out
}

var goneCases = map[string][]int64{
	"none":             nil,
	"the first":        {0},
	"the last":         {9},
	"ends of a batch":  {0, 1, 4, 5, 8, 9},
	"in the middle":    {2, 7},
	"a batch":          {0, 1, 2, 3, 4},
	"the second batch": {5, 6, 7, 8, 9},
	"all":              {0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
}

func TestExpiredIsPassedOver(t *testing.T) {
	readers := map[string]func(t *testing.T, ctx context.Context, b *Buffer, got *[]int64){
		"a loop": func(_ *testing.T, ctx context.Context, b *Buffer, got *[]int64) {
			for r, err := range b.Records(ctx) {
				if err == nil {
					*got = append(*got, r.Offset)
				}
			}
		},
		"Poll": func(t *testing.T, ctx context.Context, b *Buffer, got *[]int64) {
			for {
				rs, err := b.Poll(ctx, 3)
				if err != nil {
					b.SettlePolled(true)
					return
				}
				if at := b.claims[0].at(); at > rs[0].Offset {
					t.Errorf("%d are finished, %d is in hand", at, rs[0].Offset)
				}
				for _, r := range rs {
					*got = append(*got, r.Offset)
				}
			}
		},
		"a handler": func(_ *testing.T, ctx context.Context, b *Buffer, got *[]int64) {
			_ = NewConsumption(ctx, b, func(_ context.Context, r messages.Record) error {
				*got = append(*got, r.Offset)
				return nil
			}).Work(ctx)
		},
		"a handler of batches": func(t *testing.T, ctx context.Context, b *Buffer, got *[]int64) {
			_ = NewBatches(ctx, b, 3, func(_ context.Context, rs []messages.Record) (int, error) {
				if at := b.claims[0].at(); at > rs[0].Offset {
					t.Errorf("%d are finished, %d is in hand", at, rs[0].Offset)
				}
				for _, r := range rs {
					*got = append(*got, r.Offset)
				}
				return len(rs), nil
			}).Work(ctx)
		},
	}
	for reader, read := range readers {
		for name, gone := range goneCases {
			t.Run(reader+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, c, told, log := expiring(gone...)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					var got []int64
					read(t, ctx, b, &got)
					wantOffsets(t, "handed out", got, without(gone))
					wantOffsets(t, "told", *told, gone)
					if at := b.Finished(c); at != 10 {
						t.Errorf("%d are finished", at)
					}
					if n, _, _ := b.Stats(); n.Expired != uint64(len(gone)) || n.Finished != 10 {
						t.Errorf("counted are %+v", n)
					}
					if due := b.Due(); len(due) != 1 || due[0].Offset != 10 {
						t.Errorf("to be committed is %+v", due)
					}
					if n := countEvents[messages.RecordsExpired](log); n != len(gone) {
						t.Errorf("%d events", n)
					}
					if len(gone) > 0 && log.all[0].(messages.RecordsExpired).Untold != 1 {
						t.Errorf("what was not taken: %+v", log.all[0])
					}
				})
			})
		}
	}
}

// A record that failed is not tried again once it has expired; one behind a record that
// fails is counted once.
func TestExpiredIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, told, _ := expiring()
		c.drop()
		batches := expiringBatches(time.Now().Add(time.Second), 0, 6)
		b.Fill(c, batches, b.Reserve(c))
		b.Attach(c, func(n Notice) {
			if r, ok := n.(Rests); ok {
				go func() {
					time.Sleep(r.Delay)
					b.Wake(c)
					b.Fill(c, batches, b.Reserve(c))
				}()
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		tries := make(map[int64]int)
		time.Sleep(999 * time.Millisecond)
		_ = NewBatches(ctx, b, 10, func(_ context.Context, rs []messages.Record) (int, error) {
			first := rs[0].Offset
			if tries[first]++; first == 0 || first == 5 && tries[first] < 3 {
				return 0, errors.New("once more")
			}
			if rs[0].Attempt != tries[first] {
				t.Errorf("attempt %d of offset %d", rs[0].Attempt, first)
			}
			return len(rs), nil
		}).Work(ctx)
		if tries[0] != 1 || tries[5] != 3 {
			t.Errorf("tried were %v", tries)
		}
		wantOffsets(t, "told", *told, []int64{0, 6})
		if n, _, _ := b.Stats(); n.Expired != 2 || n.Failed != 3 || b.Finished(c) != 10 {
			t.Errorf("counted are %+v", n)
		}
	})
}

// What has expired is behind until it is passed over and committed; after a Seek it is
// counted again.
func TestExpiredCountsAsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, told, _ := expiring(goneCases["all"]...)
		lag := func() int64 {
			n, _ := b.Lag(time.Now(), func(int) (int64, bool) { return 10, true })
			return n
		}
		read := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for range b.Records(ctx) {
			}
			for _, p := range b.Due() {
				b.Wrote(p)
			}
		}
		if n := lag(); n != 10 {
			t.Errorf("a lag of %d before", n)
		}
		read()
		if n := lag(); n != 0 || len(*told) != 10 {
			t.Errorf("a lag of %d after %v", n, *told)
		}
		b.Seek(c, 5, 5)
		b.Fill(c, expiringBatches(time.Now(), goneCases["all"]...), b.Reserve(c))
		read()
		if n, _, _ := b.Stats(); n.Expired != 15 {
			t.Errorf("counted are %+v", n)
		}
	})
}

// What a Poll has in hand is finished together with what has expired behind it.
func TestExpiredBehindAPoll(t *testing.T) {
	b, c, _, _ := expiring(1, 3, 4)
	if rs, err := b.Poll(t.Context(), 5); err != nil || len(rs) != 2 || rs[1].Offset != 2 {
		t.Fatalf("polled %v, %v", rs, err)
	}
	if at := b.Finished(c); at != 0 {
		t.Errorf("%d are finished, and are in hand", at)
	}
	b.SettlePolled(true)
	if at := b.Finished(c); at != 5 {
		t.Errorf("%d are finished, of a batch whose last have expired", at)
	}
}
