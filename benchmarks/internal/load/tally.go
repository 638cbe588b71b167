package load

import "fmt"

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
