package lending_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

// BenchmarkSharedGroup is how fast members handle records of one partition, which are in the
// log already.
func BenchmarkSharedGroup(b *testing.B) {
	for _, takes := range []time.Duration{0, time.Millisecond} {
		for _, members := range []int{1, 8} {
			b.Run(fmt.Sprintf("takes=%v/members=%d", takes, members), func(b *testing.B) { benchmarkShared(b, takes, members) })
		}
	}
}

func benchmarkShared(b *testing.B, takes time.Duration, members int) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	space := enginetest.NewSpace(b)
	open := func() *actors.Topic {
		topic, err := space.Begin(b).EnsureTopic(ctx, theTopic, messages.TopicConfig{}, actors.ProducerConfig{})
		if err != nil {
			b.Fatal(err)
		}
		return topic
	}
	topic := open()
	for left := b.N; left > 0; left -= 4096 {
		batch := make([]messages.Message, min(left, 4096))
		for i := range batch {
			batch[i].Value = make([]byte, 64)
		}
		if _, err := topic.PutBatch(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	over := make(chan struct{})
	var subs []*actors.Subscription
	for i := range members {
		sub, err := open().Subscribe(ctx, actors.SubscriptionConfig{Group: theGroup, ID: fmt.Sprint("member-", i), Shared: true})
		if err != nil {
			b.Fatal(err)
		}
		subs = append(subs, sub)
	}
	b.ResetTimer()
	var all sync.WaitGroup
	for _, sub := range subs {
		all.Go(func() {
			_ = sub.Consume(ctx, func(context.Context, messages.Record) error {
				time.Sleep(takes)
				if left.Add(-1) == 0 {
					close(over)
				}
				return nil
			})
		})
	}
	<-over
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	cancel()
	all.Wait()
}
