package prefetch

// A reader's place in one batch of a claim.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// cursor is a reader's hold on a claim, for the records of one batch. One goroutine
// uses it.
type cursor struct {
	c      *Claim
	cancel context.CancelCauseFunc // of the handler; nil for loops
	label  string                  // of the handler's goroutine
	batch  *format.Batch
	rest   []byte
	offset int64 // of the next record
	out    int64 // what taking the next record finishes; -1 for nothing
	from   int64 // finished when the cursor began
	done   int64 // finished as this cursor knows it: a Seek makes it another
	mark   int64 // the next offset at which something is known of a record, or a later one
}

// next decodes the next record into rec, and finishes the one before it. It
// returns false when the batch is through, or the claim is wanted elsewhere; what
// does not decode is an error.
func (cur *cursor) next(rec *messages.Record) (bool, error) {
	cur.finish()
	for {
		if len(cur.rest) == 0 || cur.c.look.Load() || cur.c.Lease != cur.c.buffer.trusted.Load() {
			return false, nil
		}
		n, err := messages.ConsumeRecord(cur.rest, &rec.Payload)
		if err != nil {
			return false, err
		}
		if rec.UnixNano == 0 {
			rec.UnixNano = cur.batch.Time
		}
		cur.rest = cur.rest[n:]
		rec.Topic, rec.Partition, rec.Offset, rec.Fence = cur.c.buffer.cfg.Topic, cur.c.Partition, cur.offset, cur.c.Fence
		rec.Attempt, rec.Deaths = 1, 0
		if cur.offset == cur.mark {
			switch cur.known(rec) {
			case knownDone:
				cur.pass()
				continue
			case knownLater:
				return false, nil
			}
		}
		cur.c.buffer.bound(&rec.Payload)
		if !rec.Expired() {
			break
		}
		cur.lapse(rec)
	}
	cur.out = cur.offset
	if cur.offset++; cur.offset > cur.c.handed.Load() {
		cur.c.handed.Store(cur.offset)
	}
	return true, nil
}

// knowledge is what is known of a record that is next.
type knowledge uint8

const (
	knownTries knowledge = iota
	knownDone            // it is finished
	knownLater           // it is handed out after the next commit
)

// known fills in what became of the record so far.
func (cur *cursor) known(rec *messages.Record) knowledge {
	b, c := cur.c.buffer, cur.c
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ahead.IsDone(cur.offset) {
		cur.mark = b.mark(c, cur.offset+1)
		return knownDone
	}
	if b.limited(c, cur.offset) {
		return knownLater
	}
	cur.mark = b.mark(c, cur.offset+1)
	tried, _ := c.ahead.TriedAt(cur.offset)
	rec.Attempt, rec.Deaths = tried.Attempts+1, tried.Deaths
	return knownTries
}

// mark is the first offset from one on at which a cursor has to look.
func (b *Buffer) mark(c *Claim, from int64) int64 {
	mark := c.ahead.Mark(from)
	if b.working {
		mark = min(mark, max(c.limit, from))
	}
	return mark
}

// more decodes records behind those of batch until there are limit, and finishes
// none. What ends it is for next to return.
func (cur *cursor) more(batch []messages.Record, limit int) []messages.Record {
	for len(batch) < limit {
		var rec messages.Record
		last := cur.out
		cur.out = -1
		if ok, err := cur.next(&rec); !ok || err != nil {
			cur.out = cur.through(last)
			break
		}
		batch = append(batch, rec)
	}
	return batch
}

// finish counts the record handed out last, and those before it, as handled,
// unless somebody has moved the claim meanwhile.
func (cur *cursor) finish() {
	if cur.out >= 0 && cur.c.finished.CompareAndSwap(cur.done, cur.out+1) {
		cur.done = cur.out + 1
	}
	cur.out = -1
}

// skip goes to the first record that is not finished.
func (cur *cursor) skip() error {
	var rec messages.Payload
	for ; cur.offset < cur.from; cur.offset++ {
		n, err := messages.ConsumeRecord(cur.rest, &rec)
		if err != nil {
			return err
		}
		cur.rest = cur.rest[n:]
	}
	return nil
}

// spoiled names the record that does not decode.
func (cur *cursor) spoiled(err error) error {
	return fmt.Errorf("topic %q, partition %d, offset %d: %w", cur.c.buffer.cfg.Topic, cur.c.Partition, cur.offset, err)
}

// lapse passes over a record that has expired, or was erased.
func (cur *cursor) lapse(rec *messages.Record) {
	cur.pass()
	cur.c.buffer.lapse(cur.c, rec)
}

// pass passes over a record that nobody is to handle. It is finished at once when all
// before it are, else with the record before it.
func (cur *cursor) pass() {
	if cur.offset == cur.done {
		cur.out = cur.offset
		cur.finish()
	}
	cur.offset++
}

// through is what finishing the record at last finishes: also what has expired behind it.
// -1 is nothing.
func (cur *cursor) through(last int64) int64 {
	if last < 0 {
		return last
	}
	return cur.offset - 1
}

// lapse counts a record that has expired, and gives it to who is told of these. One that
// comes again, because a record before it was not handled, is not counted again.
func (b *Buffer) lapse(c *Claim, rec *messages.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.finished.Load() == moved || rec.Offset < c.lapsed {
		return
	}
	b.countLapsed(c, rec)
}

// bound has a record expire when the topic's TTL says so.
func (b *Buffer) bound(p *messages.Payload) {
	if b.cfg.TTL != nil {
		messages.ExpireBy(p, b.cfg.TTL())
	}
}

// countLapsed is lapse with mu held. Nobody is told of what was erased.
func (b *Buffer) countLapsed(c *Claim, rec *messages.Record) {
	c.lapsed = max(c.lapsed, rec.Offset+1)
	if messages.Erased(&rec.Payload) {
		return
	}
	b.counters.Expired++
	e := messages.RecordsExpired{Topic: rec.Topic, Group: b.cfg.Group, Partition: rec.Partition, Offset: rec.Offset, Count: 1}
	if b.cfg.Expired != nil {
		if !b.cfg.Expired(rec.Clone()) {
			e.Untold = 1
		}
	}
	b.emit(e)
}
