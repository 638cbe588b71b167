package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// What may be spent while nothing happens, and at most while everything is
// stuck.

// measurable is false in builds whose memory and time say nothing.
var measurable = true

func skipUnlessMeasurable(t *testing.T) {
	t.Helper()
	if !measurable || testing.Short() {
		t.Skip("not under the race detector, not in -short")
	}
}

// patience bounds each wait for something that is sure to happen.
const patience = 3 * time.Minute

// memory is what the garbage collector leaves.
type memory struct{ heap, stacks int64 }

func (m memory) minus(o memory) memory { return memory{m.heap - o.heap, m.stacks - o.stacks} }

func (m memory) per(n int) memory { return memory{m.heap / int64(n), m.stacks / int64(n)} }

func (m memory) String() string {
	return fmt.Sprintf("%.1f KiB of heap, %.1f KiB of stacks", float64(m.heap)/1024, float64(m.stacks)/1024)
}

// settled collects garbage until pools are empty too and what is left stays
// the same.
func settled() memory {
	var s runtime.MemStats
	for low := ^uint64(0); ; low = s.HeapAlloc {
		runtime.GC()
		runtime.GC() // a pool keeps its contents through one collection
		runtime.ReadMemStats(&s)
		if s.HeapAlloc+low/1000 >= low {
			return memory{int64(s.HeapAlloc), int64(s.StackInuse)}
		}
	}
}

// start begins a runtime of this test's namespace.
func start(t testing.TB, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts = append(opts, penstock.EtcdConfig(etcd), penstock.Prefix("/"+t.Name()), penstock.Listen("tcp://127.0.0.1:0"))
	rt, err := penstock.Start(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := rt.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return rt
}

// giveUp stops a runtime whose messages nobody will ever ack.
func giveUp(t testing.TB, rt *penstock.Runtime) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var abandoned *penstock.AbandonedError
	if err := rt.Stop(ctx); !errors.As(err, &abandoned) {
		t.Errorf("stop with a stuck group: got %v, want an AbandonedError", err)
	}
}

// each calls do for 0..n-1, several at once, and ends the test at an error.
func each(t testing.TB, n int, do func(ctx context.Context, i int) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	next := 0
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// until waits for a fact that only a snapshot tells.
func until(t testing.TB, what string, fact func() bool) {
	t.Helper()
	late := time.After(patience)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !fact() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// An idle destination with one group that nobody is in: its keys, its watch of
// groups, its queue, and the actors of destination and pipe.
func TestIdleDestination(t *testing.T) {
	skipUnlessMeasurable(t)
	const n, limit = 1000, 40 << 10
	rt := start(t)
	open := func(ctx context.Context, i int) error {
		name := fmt.Sprintf("d%d", i)
		if _, err := rt.Register(ctx, name); err != nil {
			return err
		}
		m, err := rt.Join(ctx, name, "g", penstock.KeepFor(penstock.Forever))
		if err != nil {
			return err
		}
		return m.Leave(ctx)
	}
	each(t, 16, func(ctx context.Context, i int) error { return open(ctx, n+i) }) // what is shared is there
	before := settled()
	each(t, n, open)
	got := settled().minus(before).per(n)
	t.Logf("%d destinations with a group each: %v each", n, got)
	if got.heap > limit {
		t.Errorf("an idle destination takes %v, the limit is %d KiB of heap", got, limit>>10)
	}
}

// An idle link: both halves are in this process, so a sender's process and a
// member's process share what is measured. It includes the link's part of the
// senders that are added for it, a destination and a pipe for many links.
func TestIdleLink(t *testing.T) {
	skipUnlessMeasurable(t)
	const members, senders, limit = 143, 8, 24 << 10
	rt := start(t)
	each(t, members, func(ctx context.Context, i int) error {
		_, err := rt.Join(ctx, "d", "g")
		return err
	})
	linked := func(n int) func() bool {
		return func() bool {
			got := 0
			for _, m := range rt.Engine().Stats().Members {
				got += m.Links
			}
			return got == n
		}
	}
	var others []*penstock.Runtime
	for range senders {
		others = append(others, start(t))
	}
	register := func(ctx context.Context, i int) error {
		_, err := others[i].Register(ctx, "d")
		return err
	}
	each(t, 1, register)
	until(t, "the first sender's links", linked(members))
	before := settled()
	each(t, senders-1, func(ctx context.Context, i int) error { return register(ctx, i+1) })
	until(t, "all links", linked(members*senders))
	const n = members * (senders - 1)
	got := settled().minus(before).per(n)
	t.Logf("%d links, both halves: %v each", n, got)
	if got.heap > limit {
		t.Errorf("an idle link takes %v with both halves, the limit is %d KiB of heap", got, limit>>10)
	}
}

// A hundred links, with both halves' beats and all.
func TestIdleCPU(t *testing.T) {
	skipUnlessMeasurable(t)
	if load.CPU() == 0 {
		t.Skip("this system does not tell")
	}
	const members, watched = 100, 3 * time.Second
	rt := start(t)
	each(t, 1, func(ctx context.Context, _ int) error {
		_, err := rt.Register(ctx, "d")
		return err
	})
	each(t, members, func(ctx context.Context, _ int) error {
		_, err := rt.Join(ctx, "d", "g")
		return err
	})
	settled()
	used := load.CPU()
	<-time.After(watched)
	used = load.CPU() - used
	t.Logf("%d idle links: %s of CPU in %s, %.2f%% of a core", members, used, watched, 100*used.Seconds()/watched.Seconds())
	if limit := watched / 20; used > limit {
		t.Errorf("%d idle links used %s of CPU in %s, the limit is %s", members, used, watched, limit)
	}
}

// A member that takes everything it gets and acks nothing: the group fills up
// to its bound and holds no more than that, plus what the member's window keeps
// of the same messages on its side.
func TestStuckGroup(t *testing.T) {
	skipUnlessMeasurable(t)
	const queue, window, slack = 8 << 20, 1 << 20, 1 << 20
	for _, size := range []int{256, 1 << 10, 16 << 10, 31 << 10, 256 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rt := start(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			dest, err := rt.Register(ctx, "d", penstock.MaxQueue(1<<20, queue))
			if err != nil {
				t.Fatal(err)
			}
			member, err := rt.Join(ctx, "d", "g", penstock.OnFull(penstock.QueueError),
				penstock.Window(1<<20), penstock.WindowBytes(window), penstock.AckWait(-1))
			if err != nil {
				t.Fatal(err)
			}
			reading, stop := context.WithCancel(t.Context())
			var reader sync.WaitGroup
			defer reader.Wait()
			defer stop()
			reader.Go(func() {
				for range member.Messages(reading, penstock.ManualAck()) {
				}
			})
			before := settled()
			body := make([]byte, size)
			sent := 0
			for err = nil; err == nil; sent++ {
				err = dest.Send(ctx, penstock.Message{Value: body})
			}
			if !errors.Is(err, penstock.ErrGroupFull) {
				t.Fatal(err)
			}
			until(t, "the member's window to fill", func() bool {
				return member.Stats().Delivered >= uint64(window/(size+64)) && member.Stats().Waiting == 0
			})
			got := settled().minus(before)
			row := dest.Stats()[0]
			t.Logf("%d messages of %d bytes, %d bytes pending: %v", sent, size, row.PendingBytes, got)
			// A ninth of the limit is for what chunks may waste.
			if full := queue / 9 * 8; row.PendingBytes > full || row.PendingBytes < full-2*(size+64) {
				t.Errorf("%d bytes are pending, the group is full at %d", row.PendingBytes, full)
			}
			giveUp(t, rt)
			if got.heap > queue+window+slack {
				t.Errorf("the heap grew by %d KiB; %d are queued and %d in the window", got.heap>>10, queue>>10, window>>10)
			}
		})
	}
}
