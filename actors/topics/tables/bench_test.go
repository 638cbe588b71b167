package tables_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/tables"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
)

// bench is a topic over an etcd of its own.
func bench(b *testing.B, partitions int) (context.Context, *topics.Topic, *clientv3.Client) {
	b.Helper()
	ctx := b.Context()
	srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { srv.Close() })
	e, err := actors.Start(ctx, nil, actors.Config{Etcd: srv.Config(), Prefix: "/bench", Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Stop(context.Background()) })
	topic, err := e.CreateTopic(ctx, "stock", messages.TopicConfig{Partitions: partitions}, topics.ProducerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	client, err := discovery.NewClient(srv.Config())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	return ctx, topic, client
}

// fill puts n records of as many keys.
func fill(b *testing.B, topic *topics.Topic, n int) {
	b.Helper()
	for i := range n {
		m := messages.Message{Key: fmt.Appendf(nil, "key-%07d", i), Value: make([]byte, 100)}
		if err := topic.PutAsync(b.Context(), m, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := topic.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLatest takes turns with a read of one key from etcd, and reports the medians of both
// and their ratio.
func BenchmarkLatest(b *testing.B) {
	for _, partitions := range []int{1, 8, 16, 64} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			ctx, topic, client := bench(b, partitions)
			fill(b, topic, 10_000)
			key := []byte("key-0005000")
			if _, err := topic.Latest(ctx, key); err != nil {
				b.Fatal(err)
			}
			if _, err := client.Put(ctx, "/key", string(make([]byte, 100))); err != nil {
				b.Fatal(err)
			}
			var latest, gets []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := topic.Latest(ctx, key); err != nil {
					b.Fatal(err)
				}
				between := time.Now()
				if _, err := client.Get(ctx, "/key"); err != nil {
					b.Fatal(err)
				}
				latest, gets = append(latest, between.Sub(began)), append(gets, time.Since(between))
			}
			slices.Sort(latest)
			slices.Sort(gets)
			l, g := latest[len(latest)/2], gets[len(gets)/2]
			b.ReportMetric(float64(l.Microseconds()), "latest-p50-µs")
			b.ReportMetric(float64(g.Microseconds()), "get-p50-µs")
			b.ReportMetric(float64(l)/float64(g), "latest/get")
		})
	}
}

// BenchmarkLoad reads 200,000 records of as many keys.
func BenchmarkLoad(b *testing.B) {
	const records = 200_000
	ctx, topic, _ := bench(b, 4)
	fill(b, topic, records)
	b.ResetTimer()
	for b.Loop() {
		table, err := topic.Table(ctx, tables.Config{})
		if err != nil {
			b.Fatal(err)
		}
		if table.Len() != records {
			b.Fatalf("%d keys", table.Len())
		}
		table.Close()
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkTableGet looks one key of 200,000 up.
func BenchmarkTableGet(b *testing.B) {
	ctx, topic, _ := bench(b, 1)
	fill(b, topic, 200_000)
	table, err := topic.Table(ctx, tables.Config{})
	if err != nil {
		b.Fatal(err)
	}
	key := []byte("key-0005000")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if _, ok := table.Get(key); !ok {
			b.Fatal("lost")
		}
	}
}
