package load

import (
	"context"
	"fmt"
	"time"
)

// Logs: records that are put, kept, and consumed by a group that remembers how
// far it came.

// Log is such a log, with its server, in this process or behind a pipe to
// another. One call at a time.
type Log interface {
	// Put empties the log, puts count records of size bytes and returns when
	// all are acknowledged. It counts from the first put.
	Put(ctx context.Context, size int, count uint64) (Timing, error)
	// Consume reads what the last Put put, as a group that is new, and
	// returns when the log remembers that all of it is done. It counts from
	// the joining.
	Consume(ctx context.Context) (Timing, error)
	// Close ends the server and forgets the records.
	Close() error
}

// Timing is how long so many records took.
type Timing struct {
	Count   uint64  `json:"count"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_s"` // processor time of client and server
}

// Rate is records per second.
func (t Timing) Rate() float64 { return float64(t.Count) / t.Seconds }

// Cost is nanoseconds of processor time for each record.
func (t Timing) Cost() float64 { return t.CPU * 1e9 / float64(t.Count) }

// Timed measures do, which deals with count records.
func Timed(count uint64, do func() error) (Timing, error) {
	used, began := CPU(), time.Now()
	err := do()
	return Timing{Count: count, Seconds: time.Since(began).Seconds(), CPU: (CPU() - used).Seconds()}, err
}

// Tally checks what a group gets of a log: every record once, whole, and those
// of one partition in the order they were put in. It is used by one goroutine
// at a time.
type Tally struct {
	size  int
	seen  []uint64 // a bit for each record
	least []uint64 // by partition: the first that may come next
	count uint64
	left  uint64
}

// NewTally expects records 0..count-1 of size bytes in so many partitions.
func NewTally(size int, count uint64, partitions int) *Tally {
	return &Tally{size: size, seen: make([]uint64, (count+63)/64), least: make([]uint64, partitions), count: count, left: count}
}

// Left is how many have not come.
func (t *Tally) Left() uint64 { return t.left }

// Take enters one record, or says what is wrong with it. It keeps nothing of
// it.
func (t *Tally) Take(partition int, record []byte) error {
	if len(record) != t.size {
		return fmt.Errorf("a record has %d bytes, %d were put", len(record), t.size)
	}
	i, _, err := Read(record)
	switch {
	case err != nil:
		return err
	case partition < 0 || partition >= len(t.least):
		return fmt.Errorf("record %d came from partition %d of %d", i, partition, len(t.least))
	case i >= t.count:
		return fmt.Errorf("record %d was not put", i)
	case t.seen[i/64]&(1<<(i%64)) != 0:
		return fmt.Errorf("record %d came twice", i)
	case i < t.least[partition]:
		return fmt.Errorf("record %d of partition %d came behind record %d", i, partition, t.least[partition]-1)
	}
	t.seen[i/64] |= 1 << (i % 64)
	t.least[partition] = i + 1
	t.left--
	return nil
}
