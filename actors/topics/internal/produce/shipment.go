package produce

// A batch on its way.

import (
	"sync/atomic"

	"github.com/penstock-io/penstock/actors/topics/internal/window"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// shipStage is how far a batch has come since it was taken to be sealed.
type shipStage uint8

const (
	shipTaken   shipStage = iota // never sent
	shipSealed                   // may have been sent
	shipWritten                  // etcd has it at base
	shipTelling                  // credit is back, waiters are being told
)

// shipment is a draft on its way. Once sealed it never changes: a restart
// resumes the very same.
type shipment struct {
	*draft
	stage    shipStage
	sequence uint64
	sealed   *format.Sealed // Run's alone
	base     int64
	err      error // why it was given up; then base means nothing
	spare    spare
	ids      []window.ID  // those of sealed, by their places in it; Run's alone
	delayed  int          // records that wait until they are due; Run's alone until it is decided
	firsts   []int64      // where the records are already: then there is nothing to append
	users    atomic.Int32 // who still reads the slots
}

// spare is what of a shipment may be used again once all are told.
type spare uint8

const (
	spareNothing spare = iota // Run may still use it
	spareAll
)

// refund gives back the credit of s, before anybody is told: a callback that
// puts the next record must find room. It returns the bytes. A producer's credit
// never asks for anything of an accumulator, so mu may be held.
func (s *shipment) refund() (bytes int64) {
	for i := 0; i < s.waiters; {
		from, room := s.slot(i).from, int64(0)
		for ; i < s.waiters && s.slot(i).from == from; i++ {
			now := s.slot(i)
			room += now.room(int(now.size))
			bytes += int64(now.size)
		}
		from.credit.give(room)
	}
	return bytes
}

// callbacks is how many slots from i on are callbacks of one producer.
func (s *shipment) callbacks(i int) (n int) {
	for from := s.slot(i).from; i+n < s.waiters; n++ {
		now := s.slot(i + n)
		if _, ok := now.to.(callback); !ok || now.from != from {
			break
		}
	}
	return n
}

// result is what became of a record, whose offset from the base is given.
func (s *shipment) result(partition int, offset int64) messages.PutResult {
	if s.firsts != nil {
		return messages.PutResult{Partition: partition, Offset: s.firsts[offset], Duplicate: true}
	}
	if s.err != nil {
		return messages.PutResult{Partition: partition, Offset: -1, Err: s.err}
	}
	return messages.PutResult{Partition: partition, Offset: s.base + offset}
}

// recycle notes that one reads the slots no more, and after the last one gives
// back what nobody else may read.
func (s *shipment) recycle() {
	if s.users.Add(-1) > 0 || s.spare == spareNothing {
		return
	}
	d := s.draft
	for i, slab := range d.slabs {
		clear(slab[:])
		slabPool.Put(slab)
		d.slabs[i] = nil
	}
	*d = draft{pieces: d.pieces[:0], slabs: d.slabs[:0]}
	s.draft = nil
	draftPool.Put(d)
}
