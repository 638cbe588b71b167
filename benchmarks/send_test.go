package benchmarks

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/penstock-io/penstock"
)

// BenchmarkSend is what a message costs its sender and, in the same process, a
// member that acks it: time is the slower side's, allocations are both's.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			dest := received(b)
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := dest.Send(context.Background(), penstock.Message{Value: body}); err != nil {
					b.Fatal(err)
				}
			}
			flush(b, dest)
		})
	}
}

// BenchmarkSendParallel has many goroutines at one destination.
func BenchmarkSendParallel(b *testing.B) {
	dest := received(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		body := make([]byte, 64)
		for pb.Next() {
			if err := dest.Send(context.Background(), penstock.Message{Value: body}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	flush(b, dest)
}

// received is a destination whose one member takes what comes.
func received(b *testing.B) *penstock.Destination {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	rt := start(b)
	dest, err := rt.Register(ctx, "d")
	if err != nil {
		b.Fatal(err)
	}
	member, err := rt.Join(ctx, "d", "g")
	if err != nil {
		b.Fatal(err)
	}
	reading, stop := context.WithCancel(context.Background())
	var reader sync.WaitGroup
	reader.Go(func() {
		for range member.Messages(reading) {
		}
	})
	b.Cleanup(func() {
		stop()
		reader.Wait()
	})
	return dest
}

func flush(b *testing.B, dest *penstock.Destination) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := dest.Flush(ctx); err != nil {
		b.Fatal(err)
	}
}
