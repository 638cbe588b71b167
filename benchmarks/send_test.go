package benchmarks

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkSendLone is one message at a time, with a pause after each: from the call of Send
// until the member has it.
func BenchmarkSendLone(b *testing.B) {
	came := make(chan time.Time)
	dest := receivedBy(b, func(penstock.Delivery) { came <- time.Now() })
	body := make([]byte, 64)
	took := make([]time.Duration, 0, b.N)
	for range b.N {
		time.Sleep(300 * time.Microsecond)
		began := time.Now()
		if err := dest.Send(context.Background(), penstock.Message{Value: body}); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-came).Sub(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*9/10].Nanoseconds()), "p90-ns")
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

// BenchmarkSendContended has eight goroutines at one destination, whatever the number of
// processors: one operation is one message, sent alone or in batches of 64.
func BenchmarkSendContended(b *testing.B) {
	const senders, batch = 8, 64
	for name, send := range map[string]func(ctx context.Context, d *penstock.Destination, msgs []penstock.Message) error{
		"Send": func(ctx context.Context, d *penstock.Destination, msgs []penstock.Message) error {
			for _, m := range msgs {
				if err := d.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		},
		"SendBatch": func(ctx context.Context, d *penstock.Destination, msgs []penstock.Message) error {
			_, err := d.SendBatch(ctx, msgs)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			dest := received(b)
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var sending sync.WaitGroup
			b.ResetTimer()
			for range senders {
				sending.Go(func() {
					body := make([]byte, 64)
					msgs := slices.Repeat([]penstock.Message{{Value: body}}, batch)
					for {
						n := batch + min(0, left.Add(-batch))
						if n <= 0 {
							return
						}
						if err := send(context.Background(), dest, msgs[:n]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			sending.Wait()
			flush(b, dest)
		})
	}
}

// received is a destination whose one member takes what comes.
func received(b *testing.B) *penstock.Destination {
	b.Helper()
	return receivedBy(b, func(penstock.Delivery) {})
}

// receivedBy is a destination whose one member hands what comes to take.
func receivedBy(b *testing.B, take func(penstock.Delivery)) *penstock.Destination {
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
		for d, err := range member.Messages(reading) {
			if err == nil {
				take(d)
			}
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
