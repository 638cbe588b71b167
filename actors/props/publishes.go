package props

// What waits to be accepted by a destination or producer, in order and within bounds.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
)

// Bounds of what waits in a destination's actor for room in its queue, and in a
// producer's for room in its buffer. One Publish or Put may exceed them when nothing
// else waits.
const (
	MaxWaiting      = 16_384
	MaxWaitingBytes = 16 << 20
)

// publishes outlives the incarnations of the actor. It is safe for concurrent use.
type publishes struct {
	mu       sync.Mutex
	waiting  []*publish
	messages int // what waits costs of MaxWaiting: an entry without messages is one, too
	bytes    int
	closed   error         // why nothing is taken any more
	bell     chan struct{} // holds one ring
	turn     chan struct{} // holds one: that nobody accepts

	// over, of who accepts, ends the waiting for more; nil does not.
	over <-chan struct{}
}

// publish is one entry: messages to accept, or a mark that says what is asked for once
// everything before it is accepted.
type publish struct {
	asker *actor.PID // may be nil
	msgs  []messages.Message
	bytes int
	cost  int          // of MaxWaiting
	next  atomic.Int64 // of msgs: the first that is not accepted
	mark  any          // *messages.Flush, for one; nil for messages
	put   *put         // for a producer's messages: what becomes of them
	// settling is what becomes of messages that somebody wants to hear of; nil for none.
	settling *settling
}

// accepted is how many of the messages are, from the first.
func (p *publish) accepted() int { return int(p.next.Load()) }

func newPublishes() *publishes {
	q := &publishes{bell: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	q.leave()
	return q
}

// enter waits until nobody else accepts, or ctx ends: false. What an incarnation has left
// behind in code of the user's still has the first entry in hand; it is to leave.
func (q *publishes) enter(ctx context.Context) bool {
	select {
	case <-q.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

func (q *publishes) leave() { q.turn <- struct{}{} }

// add queues an entry. It does not block: what exceeds the bounds is
// messages.ErrGroupFull.
func (q *publishes) add(p *publish) error {
	for i := range p.msgs {
		p.bytes += messages.PayloadSize(&p.msgs[i])
	}
	p.cost = max(1, len(p.msgs))
	last := false // to refuse it would help nobody
	switch p.mark.(type) {
	case *messages.Unregister, *messages.CloseProducer:
		last = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed != nil:
		return q.closed
	case !last && q.messages > 0 && (q.messages+p.cost > MaxWaiting || q.bytes+p.bytes > MaxWaitingBytes):
		return fmt.Errorf("%d messages of %d bytes wait to be accepted: %w", q.messages, q.bytes, messages.ErrGroupFull)
	}
	q.waiting = append(q.waiting, p)
	q.messages += p.cost
	q.bytes += p.bytes
	q.ring()
	return nil
}

// size is how many messages wait to be accepted, and their bytes.
func (q *publishes) size() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages, q.bytes
}

// first waits for an entry, which stays the first until done, or until over or ctx ends: nil.
func (q *publishes) first(ctx context.Context) *publish {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			p := q.waiting[0]
			q.mu.Unlock()
			return p
		}
		q.mu.Unlock()
		select {
		case <-q.bell:
		case <-q.over:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// passed waits until the first entry is another one than p, or until over or ctx ends: false.
func (q *publishes) passed(ctx context.Context, p *publish) bool {
	for {
		q.mu.Lock()
		passed := len(q.waiting) == 0 || q.waiting[0] != p
		q.mu.Unlock()
		if passed {
			return true
		}
		select {
		case <-q.bell:
		case <-q.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// done removes the first entry.
func (q *publishes) done(p *publish) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 || q.waiting[0] != p {
		return // closed meanwhile
	}
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	q.messages -= p.cost
	q.bytes -= p.bytes
	q.ring()
}

// ring wakes who waits. mu is held.
func (q *publishes) ring() {
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

// close takes nothing more, and returns what waited.
func (q *publishes) close(why error) []*publish {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.waiting
	if q.closed == nil {
		q.closed = why
	}
	q.waiting, q.messages, q.bytes = nil, 0, 0
	q.ring()
	return left
}

// marks are those whose work is under way. They outlive the incarnations of the actor,
// which alone uses them.
type marks struct{ under []*publish }

// MaxFlushes is how many Flush or FlushPuts of one actor are under way at once.
const MaxFlushes = 256

// full returns messages.ErrBusy when there is no room for another one.
func (m *marks) full() error {
	if len(m.under) < MaxFlushes {
		return nil
	}
	return fmt.Errorf("%d flushes are under way; wait for their replies: %w", len(m.under), messages.ErrBusy)
}

// through notes that what a mark asked for is done.
func (m *marks) through(p *publish) {
	m.under = slices.DeleteFunc(m.under, func(x *publish) bool { return x == p })
}
