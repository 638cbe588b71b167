package supervisor

// A bounded queue between goroutines outside and an actor.

import (
	"context"
	"fmt"
	"sync"
)

// Inbox is a bounded queue in front of an actor, in place of a bounded mailbox.
// Senders wait for room and obey a context. The actor is woken once for each
// burst by the bell, not once for each value, and takes the values in batches.
//
// An inbox outlives the incarnations of its reader: what was taken but not
// confirmed when the reader crashed is taken again by the next one. So the
// reader calls Take in Started as well as when the bell rang, and Confirm after
// the work, not before.
//
// Values are handed on in the order in which senders got room. All methods are
// safe for concurrent use, but Take and Confirm are for one reader.
type Inbox[T any] struct {
	room chan struct{} // a token for each value queued or taken
	shut chan struct{}

	mu     sync.Mutex
	bell   func()
	asleep bool // the reader found nothing; the next value rings
	closed bool
	ring   []T // values not taken yet: size of them, from head on
	head   int
	size   int
	taken  []T // not confirmed yet
	batch  []T // what taken is a part of; used again for the next
}

// NewInbox returns an empty inbox for at most limit values, taken but not
// confirmed ones included. bell is called, outside of any lock and on the
// sender's goroutine, when a value arrives that the reader does not know about;
// it must not block: typically it sends the reader a message. It may be nil and
// set later with SetBell. NewInbox panics when limit is not positive.
func NewInbox[T any](limit int, bell func()) *Inbox[T] {
	if limit <= 0 {
		panic(fmt.Errorf("supervisor: NewInbox: limit %d is not positive", limit))
	}
	return &Inbox[T]{
		room:   make(chan struct{}, limit),
		shut:   make(chan struct{}),
		bell:   bell,
		asleep: true,
	}
}

// SetBell replaces the bell, for readers whose PID is not known when the inbox
// is made. It rings at once when there are values.
func (b *Inbox[T]) SetBell(bell func()) {
	b.mu.Lock()
	b.bell = bell
	waiting := b.size+len(b.taken) > 0 && !b.closed
	b.asleep = !waiting
	b.mu.Unlock()
	if waiting && bell != nil {
		bell()
	}
}

// Send waits for room and queues v. It returns ErrInboxClosed when the inbox is
// or gets closed, and the cause of ctx when that ends first; then v was not
// queued.
func (b *Inbox[T]) Send(ctx context.Context, v T) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case b.room <- struct{}{}:
	default:
		select {
		case b.room <- struct{}{}:
		case <-b.shut:
			return ErrInboxClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if !b.push(v) {
		return ErrInboxClosed
	}
	return nil
}

// TrySend queues v if there is room, and reports whether it did. It does not wait.
func (b *Inbox[T]) TrySend(v T) bool {
	select {
	case b.room <- struct{}{}:
		return b.push(v)
	default:
		return false
	}
}

// push queues v, for which there is room, unless the inbox is closed.
func (b *Inbox[T]) push(v T) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		<-b.room
		return false
	}
	if b.size == len(b.ring) {
		b.grow()
	}
	b.ring[(b.head+b.size)%len(b.ring)] = v
	b.size++
	bell := b.bell
	wake := b.asleep
	b.asleep = false
	b.mu.Unlock()
	if wake && bell != nil {
		bell()
	}
	return true
}

func (b *Inbox[T]) grow() {
	ring := make([]T, min(max(2*len(b.ring), 16), cap(b.room)))
	n := copy(ring, b.ring[b.head:])
	copy(ring[n:], b.ring[:b.head])
	b.ring, b.head = ring, 0
}

// Take returns up to most values, at least one if there are any, oldest first,
// and leaves them in the inbox until Confirm. While some are unconfirmed it
// returns those, and nothing new: after a crash that is what the last
// incarnation had taken. When it returns none, the next value rings the bell.
//
// The slice is the inbox's own, and good until Confirm or Close.
func (b *Inbox[T]) Take(most int) []T {
	most = max(most, 1) // answering none of some would leave the bell silent
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.taken) == 0 {
		b.batch = b.batch[:0]
		for range min(most, b.size) {
			var none T
			b.batch = append(b.batch, b.ring[b.head])
			b.ring[b.head] = none
			b.head = (b.head + 1) % len(b.ring)
			b.size--
		}
		b.taken = b.batch
	}
	if len(b.taken) == 0 {
		b.asleep = true
	}
	return b.taken[:min(most, len(b.taken))]
}

// Confirm says that the first n values of what Take returned are done with, and
// makes room for as many. More than there are counts as all.
func (b *Inbox[T]) Confirm(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.taken))
	clear(b.taken[:n])
	b.taken = b.taken[n:]
	for range n {
		<-b.room
	}
}

// Close ends the inbox and returns what was left in it, taken but unconfirmed
// values first. Waiting and later senders get ErrInboxClosed. A second Close
// returns nothing.
func (b *Inbox[T]) Close() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	close(b.shut)
	left := append([]T(nil), b.taken...)
	for i := range b.size {
		left = append(left, b.ring[(b.head+i)%len(b.ring)])
	}
	b.taken, b.batch, b.ring, b.head, b.size = nil, nil, nil, 0, 0
	for range left {
		<-b.room
	}
	return left
}

// Len is how many values are in the inbox, unconfirmed ones included.
func (b *Inbox[T]) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size + len(b.taken)
}
