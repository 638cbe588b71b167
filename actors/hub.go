package actors

// Events on their way to whoever asked for them. Emitting never blocks: a slow
// subscriber misses events and is told how many.

import (
	"context"
	"iter"
	"sync"

	"github.com/penstock-io/penstock/messages"
)

// eventBuffer is how many events wait for one subscriber.
const eventBuffer = 1024

// hub hands every event to every subscriber.
type hub struct {
	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	counts map[string]uint64
	closed bool
}

type subscriber struct {
	ctx    context.Context // of who asked; nobody reads once it is over
	events chan messages.Event
	lost   int
}

func newHub() *hub {
	return &hub{subs: make(map[*subscriber]struct{}), counts: make(map[string]uint64)}
}

// emit counts e and offers it to every subscriber. It never blocks and never
// calls anybody, so it may be used under any lock.
func (h *hub) emit(e messages.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[e.Name()]++
	for s := range h.subs {
		if s.ctx.Err() != nil {
			delete(h.subs, s)
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

func (h *hub) subscribe(ctx context.Context) *subscriber {
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

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// close ends every subscription after what is buffered.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for s := range h.subs {
		close(s.events)
		delete(h.subs, s)
	}
}

// events yields what happens from this call on, until ctx ends or the hub closes.
func (h *hub) events(ctx context.Context) iter.Seq[messages.Event] {
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
func (h *hub) follow(ctx context.Context, s *subscriber, f func(messages.Event)) {
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

// count answers how often each event happened, by name.
func (h *hub) count() map[string]uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[string]uint64, len(h.counts))
	for name, n := range h.counts {
		out[name] = n
	}
	return out
}
