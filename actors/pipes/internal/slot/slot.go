// What a slot holds and when it closes that.

package slot

import "sync"

// Slot holds a connection of one incarnation of an actor. Use Of. It is safe for concurrent
// use.
type Slot[C any] struct {
	end func(C)

	mu     sync.Mutex
	conn   C
	held   bool
	closed bool
}

// Of is an empty slot whose connection is closed by end, which must not block.
func Of[C any](end func(C)) *Slot[C] { return &Slot[C]{end: end} }

// Put takes conn in, or closes it when the slot was closed.
func (s *Slot[C]) Put(conn C) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.end(conn)
		return false
	}
	s.conn, s.held = conn, true
	return true
}

// Get returns the connection, also a closed one; the zero C when none was put.
func (s *Slot[C]) Get() C {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// Close closes the connection, and the one that is put later.
func (s *Slot[C]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.held {
		s.end(s.conn)
	}
}
