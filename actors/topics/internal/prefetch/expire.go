package prefetch

// Records whose ExpiresAt has passed: a reader passes over them.

import "github.com/penstock-io/penstock/messages"

// lapse passes over a record that has expired.
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

// countLapsed is lapse with mu held.
func (b *Buffer) countLapsed(c *Claim, rec *messages.Record) {
	c.lapsed = max(c.lapsed, rec.Offset+1)
	b.counters.Expired++
	e := messages.RecordsExpired{Topic: rec.Topic, Group: b.cfg.Group, Partition: rec.Partition, Offset: rec.Offset, Count: 1}
	if b.cfg.Expired != nil {
		if !b.cfg.Expired(rec.Clone()) {
			e.Untold = 1
		}
	}
	b.emit(e)
}
