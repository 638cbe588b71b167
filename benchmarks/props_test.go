package benchmarks

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
)

// BenchmarkProps is what a message of 64 bytes costs among a user's own actors in one
// process: from an actor that publishes when it may, through a destination and a member,
// to an actor that acks it. A name says how many are published, and delivered, at once.
func BenchmarkProps(b *testing.B) {
	for _, published := range []int{1, 256} {
		for _, delivered := range []int{0, 256} {
			b.Run(fmt.Sprintf("%d-to-%d", published, max(1, delivered)), func(b *testing.B) {
				benchmarkProps(b, published, delivered)
			})
		}
	}
}

func benchmarkProps(b *testing.B, published, delivered int) {
	sys := actor.NewActorSystem(actor.WithLoggerFactory(quiet), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	b.Cleanup(sys.Shutdown)
	rt := start(b, penstock.ActorSystem(sys))
	var up, through sync.WaitGroup
	up.Add(2)
	through.Add(1)
	receiver := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &benchReceiver{left: b.N, over: &through} }))
	publisher := &benchPublisher{up: &up, children: []*actor.Props{
		penstock.DestinationProps(rt, "d"),
		penstock.MemberProps(rt, "d", "g", penstock.Receiver{To: receiver, Batch: delivered}),
	}}
	pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return publisher }))
	up.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	sys.Root.Send(pid, &begin{messages: b.N, batch: published})
	through.Wait()
	b.StopTimer()
	for _, pid := range []*actor.PID{pid, receiver} {
		if err := sys.Root.StopFuture(pid).Wait(); err != nil {
			b.Error(err)
		}
	}
}

// begin has a publisher publish so many messages, so many at a time.
type begin struct{ messages, batch int }

func quiet(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

// benchPublisher has 4096 messages waiting at most.
type benchPublisher struct {
	up       *sync.WaitGroup
	children []*actor.Props
	dest     *actor.PID
	left     int
	batch    []penstock.Message
}

func (p *benchPublisher) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		for i, props := range p.children {
			pid := ctx.Spawn(props)
			if i == 0 {
				p.dest = pid
			}
		}
	case *penstock.Registered, *penstock.Joined:
		p.up.Done()
	case *begin:
		p.left = m.messages
		body := make([]byte, 64)
		for range m.batch {
			p.batch = append(p.batch, penstock.Message{Value: body})
		}
		for range 4096 / m.batch {
			p.publish(ctx)
		}
	case *penstock.Published:
		if m.Err != nil {
			panic(m.Err)
		}
		p.publish(ctx)
	}
}

func (p *benchPublisher) publish(ctx actor.Context) {
	if n := min(p.left, len(p.batch)); n > 0 {
		p.left -= n
		ctx.Request(p.dest, &penstock.Publish{Messages: p.batch[:n]})
	}
}

// benchReceiver acks.
type benchReceiver struct {
	left int
	over *sync.WaitGroup
}

func (r *benchReceiver) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *penstock.Delivery:
		m.Ack()
		r.acked(1)
	case *penstock.Deliveries:
		for i := range m.Deliveries {
			m.Deliveries[i].Ack()
		}
		r.acked(len(m.Deliveries))
	}
}

func (r *benchReceiver) acked(n int) {
	if r.left -= n; r.left == 0 {
		r.over.Done()
	}
}

// household spawns children, sixteen at once as each does calls, and hears of their beginning.
type household struct {
	children []*actor.Props // still to be spawned
	up       *sync.WaitGroup
}

func (h *household) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		for range 16 {
			h.next(ctx)
		}
	case *penstock.Registered, *penstock.Joined:
		h.up.Done()
		h.next(ctx)
	}
}

func (h *household) next(ctx actor.Context) {
	if len(h.children) > 0 {
		props := h.children[0]
		h.children = h.children[1:]
		ctx.Spawn(props)
	}
}

// An idle destination or member that is a user's child, over one that is a handle. The
// etcd of the same process grows meanwhile, so the best of a few rounds counts.
func TestIdleChildren(t *testing.T) {
	skipUnlessMeasurable(t)
	const rounds, n, limit = 3, 500, 9 << 9 // 4 KiB, and what is not the child's
	sys := actor.NewActorSystem(actor.WithLoggerFactory(quiet), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	t.Cleanup(sys.Shutdown)
	rt := start(t, penstock.ActorSystem(sys))
	receiver := sys.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
	t.Cleanup(func() { _ = sys.Root.StopFuture(receiver).Wait() })
	for what, k := range map[string]struct {
		handle func(context.Context, string) error
		child  func(string) *actor.Props
	}{
		"destination": {
			func(ctx context.Context, name string) error { _, err := rt.Register(ctx, name); return err },
			func(name string) *actor.Props { return penstock.DestinationProps(rt, name) },
		},
		"member": {
			func(ctx context.Context, name string) error { _, err := rt.Join(ctx, name, "g"); return err },
			func(name string) *actor.Props {
				return penstock.MemberProps(rt, name, "g", penstock.Receiver{To: receiver})
			},
		},
	} {
		children := func(from, n int) {
			var up sync.WaitGroup
			up.Add(n)
			h := &household{up: &up}
			for i := range n {
				h.children = append(h.children, k.child(fmt.Sprintf("%s-child-%d", what, from+i)))
			}
			pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return h }))
			t.Cleanup(func() { _ = sys.Root.StopFuture(pid).Wait() })
			up.Wait()
		}
		each(t, 16, func(ctx context.Context, i int) error { return k.handle(ctx, fmt.Sprintf("%s-first-%d", what, i)) })
		children(rounds*n, 16)
		least := int64(math.MaxInt64)
		for round := range rounds {
			before := settled()
			each(t, n, func(ctx context.Context, i int) error { return k.handle(ctx, fmt.Sprintf("%s-%d", what, round*n+i)) })
			handles := settled()
			children(round*n, n)
			got, over := settled().minus(handles).per(n), handles.minus(before).per(n)
			t.Logf("an idle %s: %v as a handle, %v as a child", what, over, got)
			least = min(least, got.heap-over.heap)
		}
		if least > limit {
			t.Errorf("an idle %s takes %.1f KiB of heap more as a child than as a handle, and may take %.1f KiB", what, float64(least)/1024, limit/1024.0)
		}
	}
}
