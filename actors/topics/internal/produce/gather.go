package produce

// Records that are appended by a transaction, beside the batches of the accumulator.

import (
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Gathered are records for one partition that are appended together, as one batch. Its
// zero value has none. One goroutine at a time uses it.
type Gathered struct {
	raw              []byte
	count, timed     int
	later            int // that are delivered later
	minTime, maxTime int64
	expires          int64 // when the first record does by itself; 0 is never
}

// Add copies a message behind those added before.
func (g *Gathered) Add(m *messages.Message) {
	g.raw = messages.AppendRecord(g.raw, m)
	g.count++
	g.expires = format.Sooner(g.expires, m.ExpiresAt)
	if !m.DeliverAt.IsZero() {
		g.later++
	}
	if m.Time.IsZero() {
		return
	}
	nano := m.Time.UnixNano()
	if g.timed++; g.timed == 1 {
		g.minTime, g.maxTime = nano, nano
	}
	g.minTime, g.maxTime = min(g.minTime, nano), max(g.maxTime, nano)
}

// Len is how many records there are, Bytes their encoded size.
func (g *Gathered) Len() int { return g.count }

// Bytes is the encoded size of the records.
func (g *Gathered) Bytes() int { return len(g.raw) }

// Seal makes the batch, of an identity that no other batch of the partition has. The error
// wraps messages.ErrCorrupt: the records changed in memory.
func (g *Gathered) Seal(c messages.Compression, producer, sequence uint64) (*format.Sealed, error) {
	now := time.Now().UnixNano()
	oldest, newest := span(g.count, g.timed, g.minTime, g.maxTime, now)
	if g.later > 0 {
		return format.SealLater(g.raw, g.count, oldest, newest, now, c, producer, sequence)
	}
	s := format.Seal(g.raw, g.count, oldest, newest, now, c, producer, sequence)
	s.Expires = g.expires
	return s, nil
}

// span is the oldest and newest time of records, of which those that have none are of
// now.
func span(count, timed int, oldest, newest, now int64) (minTime, maxTime int64) {
	switch timed {
	case 0:
		return now, now
	case count:
		return oldest, newest
	}
	return min(oldest, now), max(newest, now)
}

// Place is where a producer wants a message to be put: a partition and its accumulator,
// with the size of the record there. It returns why the message cannot be put at all.
func (p *Producer) Place(m *messages.Message) (part int, a *Accumulator, size int, err error) {
	if part, err = p.choose(m); err != nil {
		return part, nil, 0, err
	}
	if a, size, err = p.admit(part, m); err != nil {
		return part, nil, 0, err
	}
	if err := p.ending.Why(); err != nil {
		return part, nil, 0, p.wrap(part, err)
	}
	if err := p.closed.Why(); err != nil {
		return part, nil, 0, p.wrap(part, err)
	}
	return part, a, size, nil
}

// Enter counts records that a transaction is to append here: who flushes waits for
// Leave, which is called with what it returns. It returns why nothing is taken any more.
func (a *Accumulator) Enter(g *Gathered) (id uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase != accOpen {
		return 0, a.wrap(a.cause)
	}
	a.entered++
	a.beside = append(a.beside, a.entered)
	a.stats.Records += uint64(g.count)
	a.stats.Bytes += uint64(len(g.raw))
	a.stats.Queued += int64(len(g.raw))
	return a.entered, nil
}

// Leave notes what became of the records of a transaction: nil is that they are in the
// log.
func (a *Accumulator) Leave(id uint64, g *Gathered, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.beside = slices.DeleteFunc(a.beside, func(x uint64) bool { return x == id })
	a.stats.Queued -= int64(len(g.raw))
	if err != nil {
		a.stats.Failed += uint64(g.count)
	} else {
		a.stats.Appends++
		a.stats.Committed += uint64(g.count)
		a.stats.Delayed += uint64(g.later)
		a.stats.Appended = time.Now()
	}
	a.move()
}
