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
// meanwhile, each sumEvery, until nothing came.
type Bus struct {
	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	counts map[string]uint64
	closed bool

	sums map[messages.SumKey]messages.Event // what came since the last telling; nil for nothing
	due  []func()                           // are called at the next telling
	// Arm has tellSums called after sumEvery. It must not block: mu is held, and
	// so may be any lock of who emits.
	Arm   func()
	armed bool
}

type subscriber struct {
	ctx    context.Context // of who asked; nobody reads once it is over
	events chan messages.Event
	lost   int
}

func New() *Bus {
	return &Bus{
		subs: make(map[*subscriber]struct{}), counts: make(map[string]uint64), sums: make(map[messages.SumKey]messages.Event),
		Arm: func() {},
	}
}

// Emit counts e and offers it to every subscriber, or adds it to a sum. It never
// blocks and never calls anybody, so it may be used under any lock.
func (h *Bus) Emit(e messages.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[messages.EventName(e)]++
	if len(h.subs) == 0 {
		return
	}
	if key, ok := messages.SumKeyOf(e); !ok {
		h.hand(e, eventBuffer)
	} else if !h.gather(key, e) {
		h.hand(e, sumBuffer)
	}
}

// gather adds e to its sum. It is false when there is none: e is the first for a
// while and is told at once. mu is held.
func (h *Bus) gather(key messages.SumKey, e messages.Event) bool {
	before, open := h.sums[key]
	if !open && len(h.sums) >= sumsOpen {
		key = messages.SumKey{Name: key.Name}
		before, open = h.sums[key]
	}
	if !open {
		h.sums[key] = nil
		h.wind()
		return false
	}
	h.sums[key] = messages.Sum(before, e)
	return true
}

// wind makes sure that sums are told in a while. mu is held.
func (h *Bus) wind() {
	if !h.armed && !h.closed {
		h.armed = true
		h.Arm()
	}
}

// Later has f called at the next telling of sums, or never when there will be
// none: nobody would hear of it. f may emit; whoever calls later may hold what f
// locks.
func (h *Bus) Later(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.due = append(h.due, f)
	h.wind()
}

// TellSums hands out the sums. A sum of nothing is over.
func (h *Bus) TellSums() {
	h.mu.Lock()
	due := h.due
	h.due = nil
	h.mu.Unlock()
	for _, f := range due {
		f()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handSums()
	h.armed = false
	if len(h.sums) > 0 || len(h.due) > 0 {
		h.wind()
	}
}

// handSums is tellSums with mu held.
func (h *Bus) handSums() {
	for key, e := range h.sums {
		if e == nil {
			delete(h.sums, key)
			continue
		}
		h.sums[key] = nil
		h.hand(e, sumBuffer)
	}
}

// AwaitsSums reports whether tellSums is to be called.
func (h *Bus) AwaitsSums() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.armed
}

// hand offers e to every subscriber that has fewer than limit events waiting. mu
// is held.
func (h *Bus) hand(e messages.Event, limit int) {
	for s := range h.subs {
		if s.ctx.Err() != nil {
			delete(h.subs, s)
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

func (h *Bus) subscribe(ctx context.Context) *subscriber {
	s := &subscriber{ctx: ctx, events: make(chan messages.Event, eventBuffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(s.events)
		return s
	}
	h.subs[s] = struct{}{}
	return s
}

func (h *Bus) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// Close tells what sums there are and ends every subscription after what is
// buffered.
func (h *Bus) Close() {
	h.TellSums()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.handSums()
	h.closed = true
	for s := range h.subs {
		close(s.events)
		delete(h.subs, s)
	}
}

// Events yields what happens from this call on, until ctx ends or the hub closes.
func (h *Bus) Events(ctx context.Context) iter.Seq[messages.Event] {
	s := h.subscribe(ctx)
	return func(yield func(messages.Event) bool) {
		defer h.unsubscribe(s)
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
func (h *Bus) follow(ctx context.Context, s *subscriber, f func(messages.Event)) {
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

// Count answers how often each event happened, by name.
func (h *Bus) Count() map[string]uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[string]uint64, len(h.counts))
	for name, n := range h.counts {
		out[name] = n
	}
	return out
}
