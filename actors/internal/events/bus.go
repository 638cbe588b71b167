package events

// Events on their way to whoever asked for them. Emitting never blocks: a slow
// subscriber misses events and is told how many.

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

const (
	// eventBuffer is how many events wait for one subscriber.
	eventBuffer = 1024
	// sumBuffer is how many of those may wait when a sum is told: the rest is for
	// events that are told once.
	sumBuffer = eventBuffer / 2
	// SumEvery is how often sums are told while there are any.
	SumEvery = 250 * time.Millisecond
	// sumsOpen bounds how many kinds of sums are told apart.
	sumsOpen = 256
)

// Bus hands every event to every subscriber. What can happen for each message is
// handed out when it happens first, and after that as a sum of what came
// meanwhile, each SumEvery, until nothing came.
type Bus struct {
	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	counts map[string]uint64
	closed bool

	sums map[messages.SumKey]messages.Event // what came since the last telling; nil for nothing
	due  []func()                           // are called at the next telling
	// Arm has TellSums called after SumEvery. It must not block: mu is held, and
	// so may be any lock of who emits.
	Arm   func()
	armed bool
}

type subscriber struct {
	ctx    context.Context // of who asked; nobody reads once it is over
	events chan messages.Event
	lost   int
}

// New makes a bus without subscribers.
func New() *Bus {
	return &Bus{
		subs: make(map[*subscriber]struct{}), counts: make(map[string]uint64), sums: make(map[messages.SumKey]messages.Event),
		Arm: func() {},
	}
}

// Emit counts e and offers it to every subscriber, or adds it to a sum. It never
// blocks and never calls anybody, so it may be used under any lock.
func (b *Bus) Emit(e messages.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[messages.EventName(e)]++
	if len(b.subs) == 0 {
		return
	}
	if key, ok := messages.SumKeyOf(e); !ok {
		b.hand(e, eventBuffer)
	} else if !b.gather(key, e) {
		b.hand(e, sumBuffer)
	}
}

// gather adds e to its sum. It is false when there is none: e is the first for a
// while and is told at once. mu is held.
func (b *Bus) gather(key messages.SumKey, e messages.Event) bool {
	before, open := b.sums[key]
	if !open && len(b.sums) >= sumsOpen {
		key = messages.SumKey{Name: key.Name}
		before, open = b.sums[key]
	}
	if !open {
		b.sums[key] = nil
		b.wind()
		return false
	}
	b.sums[key] = messages.Sum(before, e)
	return true
}

// wind makes sure that sums are told in a while. mu is held.
func (b *Bus) wind() {
	if !b.armed && !b.closed {
		b.armed = true
		b.Arm()
	}
}

// Later has f called at the next telling of sums, or never when there will be
// none: nobody would hear of it. f may emit; whoever calls later may hold what f
// locks.
func (b *Bus) Later(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.due = append(b.due, f)
	b.wind()
}

// TellSums hands out the sums. A sum of nothing is over.
func (b *Bus) TellSums() {
	b.mu.Lock()
	due := b.due
	b.due = nil
	b.mu.Unlock()
	for _, f := range due {
		f()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handSums()
	b.armed = false
	if len(b.sums) > 0 || len(b.due) > 0 {
		b.wind()
	}
}

// handSums is TellSums with mu held.
func (b *Bus) handSums() {
	for key, e := range b.sums {
		if e == nil {
			delete(b.sums, key)
			continue
		}
		b.sums[key] = nil
		b.hand(e, sumBuffer)
	}
}

// AwaitsSums reports whether TellSums is to be called.
func (b *Bus) AwaitsSums() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.armed
}

// hand offers e to every subscriber that has fewer than limit events waiting. mu
// is held.
func (b *Bus) hand(e messages.Event, limit int) {
	for s := range b.subs {
		if s.ctx.Err() != nil {
			delete(b.subs, s)
			continue
		}
		if len(s.events) >= limit {
			s.lost++
			continue
		}
		if s.lost > 0 {
			select {
			case s.events <- messages.EventsLost{Count: s.lost}:
				s.lost = 0
			default:
			}
		}
		select {
		case s.events <- e:
		default:
			s.lost++
		}
	}
}

func (b *Bus) subscribe(ctx context.Context) *subscriber {
	// Two are for EventsLost and the last event.
	s := &subscriber{ctx: ctx, events: make(chan messages.Event, eventBuffer+2)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(s.events)
		return s
	}
	b.subs[s] = struct{}{}
	return s
}

func (b *Bus) unsubscribe(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Close tells what sums there are, and ends every subscription after what is
// buffered with one last event, which none misses.
func (b *Bus) Close(last messages.Event) {
	b.TellSums()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.handSums()
	b.closed = true
	b.counts[messages.EventName(last)]++
	for s := range b.subs {
		if s.lost > 0 {
			s.events <- messages.EventsLost{Count: s.lost}
		}
		s.events <- last
		close(s.events)
		delete(b.subs, s)
	}
}

// Events yields what happens from this call on, until ctx ends or the bus closes.
func (b *Bus) Events(ctx context.Context) iter.Seq[messages.Event] {
	s := b.subscribe(ctx)
	return func(yield func(messages.Event) bool) {
		defer b.unsubscribe(s)
		for {
			select {
			case e, ok := <-s.events:
				if !ok || !yield(e) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// follow hands what comes to s to f until ctx ends, and then what had come by then.
func (b *Bus) follow(ctx context.Context, s *subscriber, f func(messages.Event)) {
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return
			}
			f(e)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case e, ok := <-s.events:
				if !ok {
					return
				}
				f(e)
			default:
				return
			}
		}
	}
}

// Count returns how often each event happened, by name.
func (b *Bus) Count() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]uint64, len(b.counts))
	for name, n := range b.counts {
		out[name] = n
	}
	return out
}
