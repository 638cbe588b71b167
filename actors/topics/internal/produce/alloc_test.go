package produce

// Putting allocates nothing.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// discard is a log that has everything at once.
func discard() (func(context.Context, *format.Sealed, bool) (int64, error), func(int64, *format.Sealed)) {
	var end int64
	return func(_ context.Context, s *format.Sealed, _ bool) (int64, error) {
		base := end
		end += int64(s.Count)
		return base, nil
	}, func(int64, *format.Sealed) {}
}

// discarding is a producer whose topic has everything at once, while run is on.
func discarding(partitions int) (p *Producer, run func() (stop func())) {
	f := newFakeTopic(partitions)
	info := new(atomic.Pointer[messages.TopicInfo])
	info.Store(&f.settings)
	run = func() (stop func()) {
		ctx, cancel := context.WithCancelCause(context.Background())
		var loops sync.WaitGroup
		for _, a := range f.accs {
			commit, committed := discard()
			loops.Go(func() { _ = a.Run(ctx, commit, committed) })
		}
		return func() { cancel(errStopped); loops.Wait() }
	}
	return f.producer(func(cfg *Config) {
		cfg.Partitions, cfg.Info = func() int { return info.Load().Config.Partitions }, info.Load
	}), run
}

func TestPutAsyncAllocatesNothing(t *testing.T) {
	p, run := discarding(4)
	m := messages.Message{Value: make([]byte, 64)}
	var told atomic.Int64
	const records = 50_000
	for name, done := range map[string]func(messages.PutResult){
		"with a callback": func(messages.PutResult) { told.Add(1) },
		"without":         nil,
	} {
		allocs := testing.AllocsPerRun(5, func() {
			for range records {
				if err := p.PutAsync(t.Context(), &m, done); err != nil {
					t.Fatal(err)
				}
			}
			defer run()()
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if each := allocs / records; each > 0.01 {
			t.Errorf("%s: %g allocations a record", name, each)
		}
	}
	if told.Load() != 6*records {
		t.Errorf("%d told of %d", told.Load(), 6*records)
	}
}

func BenchmarkPutAsync(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p, run := discarding(4)
			defer run()()
			m := messages.Message{Value: make([]byte, size)}
			for i := range m.Value {
				m.Value[i] = byte(rand.Uint32())
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.PutAsync(b.Context(), &m, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
