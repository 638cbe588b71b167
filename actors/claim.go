package actors

// One owned partition, between the consumer that fills it and whoever reads. It
// outlives the incarnations of the consumer's actor. Its shelf's lock guards it.

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// claim is the ownership of a partition and the place in it.
//
//	open ──release──▶ draining ──nobody has it in hand, released──▶ over
//	  └───lost────────────┴─────────────────────────────────────────▲
type claim struct {
	shelf *shelf
	p     int
	// fence, lease and memberRevision identify it in etcd.
	fence, lease, memberRevision int64

	// finished: everything before it is. The one turn there is at a time moves
	// it without the lock; a Seek takes it away from that turn with moved, and
	// the place is in sought until the turn is given back. Read it with at.
	finished atomic.Int64
	sought   int64
	// lowest is the first offset at which a turn began, and handed the one after
	// the last that was handed out, 0 for none: what may be committed by name.
	lowest int64
	handed atomic.Int64
	// look asks that turn to look at the claim under the lock before it goes on.
	look atomic.Bool

	phase     claimPhase
	queue     []*format.Batch // queue[0] holds finished, or begins there
	bytes     int             // of queue
	boundary  int64           // the base of a batch at or before finished, or -1
	turn      *turn           // who has it in hand
	rests     bool            // its first record failed and waits
	ready     bool            // it is in the shelf's line
	failures  int             // of the record at finished
	asked     int64           // what Commit wants written; -1 for nothing
	committed int64           // what etcd has; -1 for nothing
	known     int64           // its ModRevision, 0 for nothing
	elsewhere bool            // a Seek moved it since etcd was written to last
	seeks     uint64          // how often it was moved
	wantedOut time.Time       // when it was asked back

	// tell reaches the consumer's actor. It does not block.
	tell func(any)
}

// moved is what finished is while a turn is in hand from before a Seek.
const moved = -1

type claimPhase string

const (
	claimOpen     claimPhase = "open"
	claimDraining claimPhase = "draining"
	claimOver     claimPhase = "over"
)

// What a claim tells its consumer.
type (
	// roomMade: there may be room for what it wants to fetch.
	roomMade struct{}
	// claimIdle: nobody has the claim in hand, and nobody will.
	claimIdle struct{}
	// claimRests: its first record waits for another attempt.
	claimRests struct{ failures int }
)

// at is the first offset that is not finished.
func (c *claim) at() int64 {
	if at := c.finished.Load(); at != moved {
		return at
	}
	return c.sought
}

// wanted is the first offset that has not come yet.
func (c *claim) wanted() int64 {
	if n := len(c.queue); n > 0 {
		return c.queue[n-1].End()
	}
	return c.at()
}

// begins is the base of a batch at or before an offset that is finished, or -1.
func (c *claim) begins(offset int64) int64 {
	for _, b := range c.queue {
		switch {
		case b.Base <= offset && offset < b.End():
			return b.Base
		case offset == b.End():
			return offset
		}
	}
	switch {
	case c.boundary >= 0 && c.boundary <= offset && offset < c.boundary+messages.MaxBatchRecords:
		return c.boundary
	}
	return -1
}

// drop empties the queue: what was in it is to be fetched again.
func (c *claim) drop() {
	c.shelf.bytes -= c.bytes
	c.queue, c.bytes = nil, 0
}

// turn is a reader's hold on a claim, for the records of one batch.
type turn struct {
	c       *claim
	cancel  context.CancelCauseFunc // of the handler; nil for loops
	batch   *format.Batch
	rest    []byte
	offset  int64 // of the next record
	out     int64 // what taking the next record finishes; -1 for nothing
	from    int64 // finished when the turn began
	done    int64 // finished as this turn knows it: a Seek makes it another
	attempt int   // of the first record
}

// next decodes the next record, and finishes the one before it. It answers
// false when the batch is through, or the claim is wanted elsewhere; what does
// not decode is an error.
func (t *turn) next(rec *messages.Record) (bool, error) {
	t.finish()
	if len(t.rest) == 0 || t.c.look.Load() || t.c.lease != t.c.shelf.standing.Load() {
		return false, nil
	}
	n, err := messages.ConsumeRecord(t.rest, &rec.Payload)
	if err != nil {
		return false, err
	}
	if rec.UnixNano == 0 {
		rec.UnixNano = t.batch.Time
	}
	t.rest = t.rest[n:]
	rec.Topic, rec.Partition, rec.Offset, rec.Fence = t.c.shelf.cfg.Topic, t.c.p, t.offset, t.c.fence
	rec.Attempt = 1
	if t.offset == t.from {
		rec.Attempt = t.attempt
	}
	t.out = t.offset
	if t.offset++; t.offset > t.c.handed.Load() {
		t.c.handed.Store(t.offset)
	}
	return true, nil
}

// finish counts the record handed out last, and those before it, as handled,
// unless somebody has moved the claim meanwhile.
func (t *turn) finish() {
	if t.out >= 0 && t.c.finished.CompareAndSwap(t.done, t.out+1) {
		t.done = t.out + 1
	}
	t.out = -1
}

// skip goes to the first record that is not finished.
func (t *turn) skip() error {
	var rec messages.Payload
	for ; t.offset < t.from; t.offset++ {
		n, err := messages.ConsumeRecord(t.rest, &rec)
		if err != nil {
			return err
		}
		t.rest = t.rest[n:]
	}
	return nil
}
