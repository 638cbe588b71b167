package sendq

import (
	"context"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// BenchmarkOrder is the sender's part of a message to one of eight members, in each mode.
func BenchmarkOrder(b *testing.B) {
	for _, mode := range []messages.Mode{messages.AtLeastOnce, messages.KeyAffinity, messages.Failover} {
		b.Run(string(mode), func(b *testing.B) {
			q := New("orders", Config{MaxMessageSize: 1 << 20, Queue: messages.QueueLimits{Messages: 1 << 16, Bytes: 64 << 20}}, func(messages.Event) {}, func(func()) {})
			g := q.Backlog("billing", messages.GroupSettings{Mode: mode, Policy: messages.QueueBlock})
			var links []*Link
			for i := range 8 {
				l := NewLink(fmt.Sprint("member-", i), 1, 4096)
				q.Attach(g, l)
				_ = q.Ack(g, l, &frame.Ack{CreditMessages: 4096, CreditBytes: 1 << 40})
				links = append(links, l)
			}
			keys := make([][]byte, 10_000)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "key-%d", i)
			}
			value := make([]byte, 64)
			ctx := context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				m := messages.Message{Key: keys[i%len(keys)], Value: value}
				if err := q.Send(ctx, &m); err != nil {
					b.Fatal(err)
				}
				if i%8192 != 8191 && i != b.N-1 {
					continue
				}
				for again := true; again; {
					again = false
					for _, l := range links {
						for {
							batch, ok := q.Next(g, l)
							if !ok {
								break
							}
							again = true
							last := batch.First + uint64(batch.Count) - 1
							_ = q.Ack(g, l, &frame.Ack{Cumulative: last, CreditMessages: last + 4096, CreditBytes: 1 << 40})
						}
					}
				}
			}
		})
	}
}
