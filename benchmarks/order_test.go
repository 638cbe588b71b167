package benchmarks

// What an order costs end to end: messages of 100 bytes with 10,000 keys to eight members.

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

const (
	orderMembers = 8
	orderKeys    = 10_000
	orderSize    = 100
)

// orderedGroup is a destination whose group of a mode has eight members that take what comes.
type orderedGroup struct {
	dest *penstock.Destination
	keys [][]byte
	sent int
}

// newOrderedGroup has all members in a runtime of their own, and the sender in another.
func newOrderedGroup(b *testing.B, mode penstock.Mode) *orderedGroup {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	dest, err := start(b).Register(ctx, string(mode))
	if err != nil {
		b.Fatal(err)
	}
	there := start(b)
	reading, stop := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for range orderMembers {
		member, err := there.Join(ctx, string(mode), "g", penstock.InMode(mode))
		if err != nil {
			b.Fatal(err)
		}
		readers.Go(func() {
			for _, err := range member.Messages(reading) {
				if err != nil && reading.Err() == nil {
					b.Error(err)
				}
			}
		})
	}
	b.Cleanup(func() {
		stop()
		readers.Wait()
	})
	g := &orderedGroup{dest: dest, keys: make([][]byte, orderKeys)}
	for i := range g.keys {
		g.keys[i] = fmt.Appendf(nil, "key-%d", i)
	}
	return g
}

// send sends n messages, key by key, and waits until all are handled. It returns how long that
// took, and the processor time of sender and members.
func (g *orderedGroup) send(b *testing.B, n int) (wall, cpu time.Duration) {
	b.Helper()
	body := make([]byte, orderSize)
	began, used := time.Now(), load.CPU()
	for range n {
		if err := g.dest.Send(context.Background(), penstock.Message{Key: g.keys[g.sent%len(g.keys)], Value: body}); err != nil {
			b.Fatal(err)
		}
		g.sent++
	}
	flush(b, g.dest)
	return time.Since(began), load.CPU() - used
}

// BenchmarkOrder is a message of each mode, end to end: wall clock, and the processor time of
// both ends.
func BenchmarkOrder(b *testing.B) {
	for _, mode := range []penstock.Mode{penstock.AtLeastOnce, penstock.KeyAffinity, penstock.Failover} {
		b.Run(string(mode), func(b *testing.B) {
			g := newOrderedGroup(b, mode)
			g.send(b, 4*orderKeys) // windows grow
			b.ResetTimer()
			_, cpu := g.send(b, b.N)
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkOrderRatio is how fast a group that is KeyAffinity is, as a part of how fast an
// unordered one is: by wall clock, and by processor time. Both take turns, so that what else the
// machine does meets both.
func BenchmarkOrderRatio(b *testing.B) {
	const turn = 50_000
	plain, keyed := newOrderedGroup(b, penstock.AtLeastOnce), newOrderedGroup(b, penstock.KeyAffinity)
	plain.send(b, turn)
	keyed.send(b, turn)
	var wall, cpu [2]time.Duration
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		for i, g := range []*orderedGroup{plain, keyed} {
			w, c := g.send(b, min(left, turn))
			wall[i] += w
			cpu[i] += c
		}
	}
	b.ReportMetric(wall[0].Seconds()/wall[1].Seconds(), "wall-ratio")
	b.ReportMetric(cpu[0].Seconds()/cpu[1].Seconds(), "cpu-ratio")
}
