package actors

// publisher publishes what it has permission for:
//
//	Started ──▶ Registered ──▶ begin ──▶ Published… ──▶ the end is reached and all are accepted: Flush ──▶ Flushed
//
// At full speed each reply is followed by the next Publish; at a rate a message due
// wakes the publisher, too, and it publishes all that are due by then.

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
	"github.com/penstock-io/penstock/supervisor"
)

// begin has a publisher begin, at a time since the start, and end at another.
type begin struct{ at, end time.Duration }

// due says that a message is due.
type due struct{}

// wave is the messages of one Publish. They belong to the destination until its reply.
type wave struct {
	messages []penstock.Message
	meant    []time.Duration
}

type publisher struct {
	*stage
	id    uint64
	child *actor.Props
	pid   *actor.PID
	root  *actor.RootContext
	dest  *actor.PID

	begin begin
	every time.Duration // between two messages; 0 at full speed
	seq   uint64
	out   []*wave // published, the oldest first
	free  []*wave
	ended bool

	sent     atomic.Uint64
	accepted *results.Histogram
	over     chan struct{} // closed when all is acked
}

// waiting bounds what one publisher has published and is not accepted, in bytes.
const waiting = 8 << 20

func newPublisher(s *stage, id uint64, child *actor.Props) *publisher {
	p := &publisher{stage: s, id: id, child: child, accepted: results.NewHistogram(), over: make(chan struct{})}
	if s.Rate > 0 {
		p.every = time.Duration(float64(time.Second) * float64(s.Senders) / s.Rate)
	}
	waves := max(1, min(mostAtOnce, waiting/s.Size)/s.Publish)
	for range waves {
		w := &wave{messages: make([]penstock.Message, s.Publish), meant: make([]time.Duration, s.Publish)}
		for i := range w.messages {
			w.messages[i].Value = make([]byte, s.Size)
		}
		p.free = append(p.free, w)
	}
	return p
}

func (p *publisher) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		p.dest = ctx.Spawn(p.child)
	case *penstock.Registered:
		p.up.Done()
	case *begin:
		p.begin = *m
		p.publish(ctx)
	case *due:
		p.publish(ctx)
	case *penstock.Published:
		p.published(ctx, m)
	case *penstock.Flushed:
		p.flushed(m)
	case *supervisor.Failed:
		p.fail(m.Err)
	}
}

// publish publishes what there is permission for.
func (p *publisher) publish(ctx actor.Context) {
	for len(p.free) > 0 && !p.ended && p.begin.end > 0 {
		w := p.free[len(p.free)-1]
		n := p.fill(w)
		if n == 0 {
			break
		}
		p.free = p.free[:len(p.free)-1]
		p.out = append(p.out, w)
		ctx.Request(p.dest, &penstock.Publish{Messages: w.messages[:n]})
	}
	if p.ended && len(p.out) == 0 && p.begin.end > 0 {
		p.begin.end = 0
		ctx.Request(p.dest, &penstock.Flush{})
	}
}

// fill makes the messages that are due, and returns how many there are.
func (p *publisher) fill(w *wave) (n int) {
	now := time.Since(p.start)
	for n < len(w.messages) {
		meant := now
		if p.every > 0 {
			meant = p.begin.at + time.Duration(p.seq)*p.every
		}
		if meant >= p.begin.end {
			p.ended = true
			break
		}
		if meant > now {
			break
		}
		p.payload.Write(w.messages[n].Value, journal.Stamp{Sender: p.id, Seq: p.seq, Meant: meant})
		w.meant[n] = meant
		p.seq++
		n++
	}
	return n
}

func (p *publisher) published(ctx actor.Context, m *penstock.Published) {
	w := p.out[0]
	p.out, p.free = p.out[1:], append(p.free, w)
	p.sent.Add(uint64(m.Accepted))
	if m.Err != nil {
		p.fail(fmt.Errorf("publish: %w", m.Err))
		p.ended = true
		return
	}
	if p.every > 0 {
		now := time.Since(p.start)
		for _, meant := range w.meant[:m.Accepted] {
			if int64(meant) >= p.counts.Load() {
				p.accepted.Note(now - meant)
			}
		}
	}
	p.publish(ctx)
}

func (p *publisher) flushed(m *penstock.Flushed) {
	if m.Err != nil {
		p.fail(fmt.Errorf("flush: %w", m.Err))
		return
	}
	close(p.over)
}
