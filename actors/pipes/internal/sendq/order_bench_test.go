package sendq

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// orderTurn is how many messages are accepted before any is sent, orderTurnsWindow how many a
// member may have out.
const (
	orderTurn        = 8192
	orderTurnsWindow = 4096
)

// orderBench is the sender's part of messages of 64 bytes with 10,000 keys, to eight members.
type orderBench struct {
	q     *Queue
	g     *Backlog
	links []*Link
	keys  [][]byte
	value []byte
	sent  int
}

func newOrderBench(mode messages.Mode) *orderBench {
	o := &orderBench{keys: make([][]byte, 10_000), value: make([]byte, 64)}
	o.q = New("orders", Config{MaxMessageSize: 1 << 20, Queue: messages.QueueLimits{Messages: 1 << 16, Bytes: 64 << 20}}, func(messages.Event) {}, func(func()) {})
	o.g = o.q.Backlog("billing", messages.GroupSettings{Mode: mode, Policy: messages.QueueBlock})
	for i := range 8 {
		l := NewLink(fmt.Sprint("member-", i), 1, orderTurnsWindow)
		o.q.Attach(o.g, l)
		_ = o.q.Ack(o.g, l, &frame.Ack{CreditMessages: orderTurnsWindow, CreditBytes: 1 << 40})
		o.links = append(o.links, l)
	}
	for i := range o.keys {
		o.keys[i] = fmt.Appendf(nil, "key-%d", i)
	}
	return o
}

// turn sends n messages and has the members settle them.
func (o *orderBench) turn(b *testing.B, n int) {
	for range n {
		m := messages.Message{Key: o.keys[o.sent%len(o.keys)], Value: o.value}
		if err := o.q.Send(context.Background(), &m); err != nil {
			b.Fatal(err)
		}
		o.sent++
	}
	for again := true; again; {
		again = false
		for _, l := range o.links {
			for {
				batch, ok := o.q.Next(o.g, l)
				if !ok {
					break
				}
				again = true
				last := batch.First + uint64(batch.Count) - 1
				_ = o.q.Ack(o.g, l, &frame.Ack{Cumulative: last, CreditMessages: last + orderTurnsWindow, CreditBytes: 1 << 40})
			}
		}
	}
}

// BenchmarkOrder is the sender's part of a message, in each mode.
func BenchmarkOrder(b *testing.B) {
	for _, mode := range []messages.Mode{messages.AtLeastOnce, messages.KeyAffinity, messages.Failover} {
		b.Run(string(mode), func(b *testing.B) {
			o := newOrderBench(mode)
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= orderTurn {
				o.turn(b, min(left, orderTurn))
			}
		})
	}
}

// BenchmarkOrderRatio is how fast a group that is KeyAffinity is, as a part of how fast an
// unordered one is. Both take turns, and their fast turns are compared, those of which one in
// twenty is faster: what else the machine does makes turns slower, long ones more often. One
// operation is a message of each.
func BenchmarkOrderRatio(b *testing.B) {
	both := []*orderBench{newOrderBench(messages.AtLeastOnce), newOrderBench(messages.KeyAffinity)}
	var took [2][]time.Duration
	b.ResetTimer()
	for left := b.N; left > 0; left -= orderTurn {
		for i, o := range both {
			began := time.Now()
			o.turn(b, orderTurn)
			took[i] = append(took[i], time.Since(began))
		}
	}
	var fast [2]float64
	for i := range took {
		slices.Sort(took[i])
		fast[i] = float64(took[i][len(took[i])/20].Nanoseconds()) / orderTurn
	}
	b.ReportMetric(fast[0], "unordered-ns")
	b.ReportMetric(fast[1], "keyed-ns")
	b.ReportMetric(fast[0]/fast[1], "ratio")
}
