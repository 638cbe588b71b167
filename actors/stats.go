package actors

// What an engine has done so far, for metrics and the command line.

import (
	"cmp"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/sendq"
	"github.com/penstock-io/penstock/messages"
)

// statsBook knows the live data paths.
type statsBook struct {
	mu     sync.Mutex
	queues map[string]*sendq.Queue
	inlets map[*inlet]struct{}
	topics map[*topicPath]struct{}
	subs   map[*Subscription]struct{}
}

func (b *statsBook) addQueue(o *sendq.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues[o.Name()] = o
}

func (b *statsBook) removeQueue(o *sendq.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queues[o.Name()] == o {
		delete(b.queues, o.Name())
	}
}

func (b *statsBook) addInlet(in *inlet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inlets[in] = struct{}{}
}

func (b *statsBook) removeInlet(in *inlet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.inlets, in)
}

// Stats answers a snapshot. It takes each data path's lock for a moment.
func (e *Engine) Stats() messages.Stats {
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	s := messages.Stats{Registry: e.keeper.Stats(), Events: e.hub.count(), Topics: e.stats.topicStats(), Subscriptions: e.stats.subscriptionStats()}
	for _, o := range e.stats.queues {
		s.Pipes = append(s.Pipes, o.Stats()...)
	}
	for in := range e.stats.inlets {
		s.Members = append(s.Members, in.stats())
	}
	slices.SortFunc(s.Pipes, func(a, b messages.PipeStats) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Group, b.Group))
	})
	slices.SortFunc(s.Members, func(a, b messages.MemberStats) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Member, b.Member))
	})
	return s
}

// Stats is penstock.Destination.Stats.
func (d *Destination) Stats() []messages.PipeStats { return d.out.Stats() }

// Stats is penstock.Member.Stats.
func (m *Member) Stats() messages.MemberStats { return m.in.stats() }

func (in *inlet) stats() messages.MemberStats {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := messages.MemberStats{
		Destination: in.cfg.Destination, Group: in.cfg.Group, Member: in.cfg.ID,
		Delivered: in.gone, Links: len(in.intakes),
	}
	for _, k := range in.intakes {
		k.mu.Lock()
		s.Delivered += k.handed - k.returned
		s.Waiting += int(k.received - k.handed)
		k.mu.Unlock()
	}
	return s
}
