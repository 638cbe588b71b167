package produce

// Who waits for a record, and how they are told.

import (
	"context"

	"github.com/penstock-io/penstock/messages"
)

// sink is told what became of a record, in the order of the offsets. It must not
// block. A callback, which may, is told by its producer.
type sink interface {
	result(index int, r messages.PutResult)
}

// slot is who waits for a record, or for some in a row that nobody but Flush
// asks for.
type slot struct {
	from  *Producer // gets its credit back
	to    sink      // or nil
	index int32     // the sink's number for the record
	count int32     // records, 1 with a sink
	size  int32     // their encoded bytes
}

// waitBytes is what it takes to remember who waits for a record.
const waitBytes = 48

// room is what records of size bytes take of their producer's buffer: never more
// than all of it, unless they are larger themselves.
func (s *slot) room(size int) int64 {
	room := int64(size)
	if s.to != nil {
		room = max(room, min(room+waitBytes, s.from.credit.size))
	}
	return room
}

// tell tells those who wait for what is decided. One goroutine does so at a
// time; what is decided meanwhile is left to it.
func (a *Accumulator) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.telling {
		return
	}
	a.telling = true
	for len(a.decided) > 0 {
		a.tellOne(a.decided[0])
		n := copy(a.decided, a.decided[1:])
		a.decided[n] = nil
		a.decided = a.decided[:n]
	}
	a.telling = false
}

// tellOne is called with mu held and gives it up for as long as it tells others.
func (a *Accumulator) tellOne(s *shipment) {
	s.stage = shipTelling
	a.stats.Queued -= s.refund()
	a.mu.Unlock()
	s.users.Store(1)
	a.tellSlots(s)
	a.mu.Lock()
	a.told += uint64(s.count)
	a.move()
	s.recycle()
}

// move wakes those who flush. mu is held.
func (a *Accumulator) move() {
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

// tellSlots tells everybody, and hands callbacks over to those who call them.
func (a *Accumulator) tellSlots(s *shipment) {
	offset := int64(0)
	for i := 0; i < s.waiters; {
		now := s.slot(i)
		if _, ok := now.to.(callback); ok {
			n := s.callbacks(i)
			now.from.calls.add(toCall{acc: a, ship: s, next: i, to: i + n, offset: offset})
			i += n
			offset += int64(n)
			continue
		}
		if now.to != nil {
			now.to.result(int(now.index), s.result(a.partition, offset))
		} else if s.err != nil {
			now.from.unheard(s.err, int(now.count))
		}
		i++
		offset += int64(now.count)
	}
}

// Flushed waits until the waiters of the first n records were told, and their
// callbacks are their producers' to call, and until the transactions under way are over;
// or until ctx ends, whose cause it returns.
func (a *Accumulator) Flushed(ctx context.Context, n uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	entered := a.entered
	for left := func() bool { return a.told < n || len(a.beside) > 0 && a.beside[0] <= entered }; left(); {
		if a.moved == nil {
			a.moved = make(chan struct{})
		}
		moved := a.moved
		a.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		a.mu.Lock()
		if err != nil && left() {
			return err
		}
	}
	return nil
}
