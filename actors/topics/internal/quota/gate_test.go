package quota

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// However many processes write at once, as fast as they are let, the file of a database
// never comes to its quota; and what was refused passes again once there is room.
func TestAnOverloadedEtcdStaysBelowItsQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int64{16 << 20, 32 << 20, 256 << 20}).Draw(t, "quota")
		swell := rapid.Float64Range(1, 2).Draw(t, "amplification")
		n := rapid.IntRange(1, 8).Draw(t, "processes")
		batch := rapid.SampledFrom([]int{1 << 10, 60 << 10, 500 << 10}).Draw(t, "batch")
		now := time.Unix(1e9, 0)
		etcd := Size{InUse: 1 << 20, File: 1 << 20, Quota: limit}
		gates := make([]*Gate, n)
		for i := range gates {
			gates[i] = NewGate()
			gates[i].now = func() time.Time { return now }
			gates[i].Looked(etcd)
		}
		refused, put := 0, 0
		for range 150 { // looks
			for range 50 { // appends of each between two looks
				for _, g := range gates {
					switch a := g.admit(batch, 0); {
					case a.err != nil:
						refused++
					case a.wait == 0:
						put++
						etcd.InUse += int64(float64(batch) * swell)
						etcd.File = max(etcd.File, etcd.InUse)
					}
				}
				if etcd.File >= limit {
					t.Fatalf("%d batches of %d bytes: the alarm goes off, at %+v", put, batch, etcd)
				}
			}
			now = now.Add(nearInterval)
			for _, g := range gates {
				g.Looked(etcd)
			}
		}
		if used := float64(etcd.InUse) / float64(limit); used < 0.4 && batch == 60<<10 {
			t.Fatalf("only %.2f of the quota were given, in %d batches", used, put)
		}
		etcd.InUse = 1 << 20 // records were deleted, and history compacted
		for _, g := range gates {
			g.Looked(etcd)
			// Half of the free pages of a file of 16 MiB are not enough for the largest batch.
			small := limit == 16<<20 && batch == 500<<10
			if a := g.admit(batch, 0); !small && (a.err != nil || a.wait != 0) {
				t.Fatalf("with room again: %+v", a)
			}
		}
	})
}

// An append waits for a grant, is refused when none comes, and is let through while
// nobody can look.
func TestPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		full := Size{InUse: 99, File: 99, Quota: 100}
		var quotaErr *messages.QuotaError
		if err := g.Pass(t.Context(), 1); err != nil { // nobody looks
			t.Error(err)
		}
		g.Looked(full)
		if err := g.Pass(t.Context(), 1); !errors.As(err, &quotaErr) || !errors.Is(err, messages.ErrNoSpace) || quotaErr.Quota != 100 {
			t.Errorf("full: %v", err)
		}
		time.Sleep(time.Second) // a refusal rests on a new look
		done := make(chan error)
		go func() { done <- g.Pass(t.Context(), 1) }()
		synctest.Wait()
		<-g.Wanted()
		g.Looked(Size{InUse: 1 << 20, File: 1 << 20, Quota: 1 << 30})
		if err := <-done; err != nil {
			t.Errorf("with room: %v", err)
		}
		g.Looked(full)
		g.Blind()
		if err := g.Pass(t.Context(), 1); err != nil {
			t.Errorf("blind: %v", err)
		}
		tight := NewGate() // there is room, and less than is wanted
		tight.Looked(Size{InUse: 12<<20 - 4096, File: 12<<20 - 4096, Quota: 16 << 20})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tight.Pass(ctx, 500<<10); !errors.Is(err, context.Canceled) {
			t.Errorf("without a grant, after the end of its context: %v", err)
		}
		if err := tight.Pass(t.Context(), 500<<10); !errors.As(err, &quotaErr) {
			t.Errorf("without a grant: %v", err)
		}
	})
}

// Where commits take longer than a second, an append waits for what they take more, a second
// at most; it does not when they are fast again, nor longer than its context.
func TestSlowCommitsSpaceAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		pass := func(ctx context.Context) (time.Duration, error) {
			g.Looked(Size{InUse: 1 << 20, File: 1 << 20, Quota: 8 << 30})
			began := time.Now()
			err := g.Pass(ctx, 1<<10)
			return time.Since(began), err
		}
		for _, tt := range []struct{ takes, least, most time.Duration }{
			{10 * time.Millisecond, 0, 0},
			{1500 * time.Millisecond, 499 * time.Millisecond, 500 * time.Millisecond},
			{time.Minute, time.Second, time.Second},
			{10 * time.Millisecond, 0, 0},
		} {
			for range 200 { // the average follows
				g.Took(tt.takes)
			}
			if waited, err := pass(t.Context()); err != nil || waited < tt.least || waited > tt.most {
				t.Errorf("commits of %v: waited %v, %v, want %v", tt.takes, waited, err, tt.most)
			}
		}
		for range 200 {
			g.Took(time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if waited, err := pass(ctx); !errors.Is(err, context.DeadlineExceeded) || waited != 100*time.Millisecond {
			t.Errorf("waited %v for a context of 100ms: %v", waited, err)
		}
	})
}

// A quota that is not known limits nothing.
func TestRoom(t *testing.T) {
	for _, tc := range []struct {
		size Size
		some bool
	}{
		{Size{}, true}, {Size{InUse: 1 << 40, File: 1 << 40}, true},
		{Size{InUse: 1 << 30, File: 1 << 30, Quota: 2 << 30}, true},
		{Size{InUse: 1900 << 20, File: 1900 << 20, Quota: 2 << 30}, false},
		{Size{InUse: 100 << 20, File: 2040 << 20, Quota: 2 << 30}, true},   // nearly all is free pages
		{Size{InUse: 1200 << 20, File: 2040 << 20, Quota: 2 << 30}, false}, // too few of them
	} {
		if room := Room(tc.size); (room > 0) != tc.some {
			t.Errorf("%+v: room for %d", tc.size, room)
		}
	}
}
