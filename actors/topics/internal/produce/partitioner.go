package produce

// Which partition of its topic a message goes to.

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	"github.com/penstock-io/penstock/messages"
)

// Partitioner chooses the partition of each message that is put without naming
// one. It says how, and may be given to any number of handles: what it remembers
// from message to message is each handle's own. ByKey, Sticky, RoundRobin,
// Random and Manual make one.
type Partitioner interface {
	// begin returns the choice of one handle; nil of a manual one.
	begin() picker
}

// picker chooses for one handle. It is safe for concurrent use, and the number
// of partitions may grow from one call to the next; it is at least 1. It sees
// the key only: a pointer to the message would put every message on the heap.
type picker interface {
	pick(key []byte, partitions int, t traffic) int
}

// traffic is what a picker may ask about a handle's partitions. Of one that the
// handle has not used yet it is zeros.
type traffic interface {
	// batches counts those of partition p that take no more records.
	batches(p int) uint64
	// queued is the bytes that partition p has taken and etcd has not.
	queued(p int) int64
}

// place is the partition of a message with an id in a topic that knows ids again: it
// follows from the message alone.
func place(m *messages.Message, partitions int) int {
	key := m.Key
	if len(key) == 0 {
		key = []byte(m.ID)
	}
	return int(murmur2(key)&0x7fffffff) % partitions
}

// PartitionOf is the partition that ByKey puts a message with that key into; without a key,
// one that follows from instead.
func PartitionOf(key []byte, instead string, partitions int) int {
	if len(key) == 0 {
		key = []byte(instead)
	}
	return int(murmur2(key)&0x7fffffff) % partitions
}

// ByKey puts messages of one key into one partition, as Kafka's Java client does:
// by murmur2 of the key over the number of partitions. So records of one key
// change their partition when the topic gets more of them. Messages without a
// key go where Sticky would put them.
func ByKey() Partitioner { return partitionBy(func() picker { return &byKey{} }) }

// Sticky stays with a partition until a batch of it is on its way, and then
// takes the one with the fewest bytes waiting. It makes the largest batches.
func Sticky() Partitioner { return partitionBy(func() picker { return &sticky{} }) }

// RoundRobin takes the partitions in turn.
func RoundRobin() Partitioner { return partitionBy(func() picker { return &roundRobin{} }) }

// Random takes any partition, each as likely as the others.
func Random() Partitioner { return partitionBy(func() picker { return random{} }) }

// Manual asks choose for each message, on the goroutine that puts it; choose
// must be safe for concurrent use and must not change the message. A number
// that is no partition of the topic fails the message with
// messages.ErrNoPartition.
func Manual(choose func(m *messages.Message, partitions int) int) Partitioner {
	return manual(choose)
}

// Chooses reports whether p has something to choose with: Manual(nil) has not.
func Chooses(p Partitioner) bool {
	m, ok := p.(manual)
	return !ok || m != nil
}

// AsksUser reports whether p calls a function of the user's.
func AsksUser(p Partitioner) bool {
	_, is := p.(manual)
	return is
}

type partitionBy func() picker

func (f partitionBy) begin() picker { return f() }

type byKey struct{ keyless sticky }

func (b *byKey) pick(key []byte, partitions int, t traffic) int {
	if len(key) == 0 {
		return b.keyless.pick(nil, partitions, t)
	}
	return int(murmur2(key)&0x7fffffff) % partitions
}

// sticky remembers the partition in use and how many of its batches were closed
// when that began.
type sticky struct {
	// current is the partition plus one in the low bits, which hold
	// messages.MaxPartitions, and the count above; 0 is none yet.
	current atomic.Uint64
}

const stickyPartitionBits = 16

func (s *sticky) pick(_ []byte, partitions int, t traffic) int {
	current := s.current.Load()
	p := int(current&(1<<stickyPartitionBits-1)) - 1
	if p >= 0 && p < partitions && t.batches(p)<<stickyPartitionBits == current>>stickyPartitionBits<<stickyPartitionBits {
		return p
	}
	if p < 0 {
		// Not the same for every process.
		p = rand.IntN(partitions)
	}
	next := fewestQueued(p+1, partitions, t)
	if !s.current.CompareAndSwap(current, t.batches(next)<<stickyPartitionBits|uint64(next+1)) {
		// Somebody else chose meanwhile: two batches at once would be smaller.
		if now := int(s.current.Load()&(1<<stickyPartitionBits-1)) - 1; now < partitions {
			return now
		}
	}
	return next
}

// fewestQueued is the partition with the fewest bytes waiting, and of those the
// first from the given one on, going round.
func fewestQueued(from, partitions int, t traffic) int {
	best := from % partitions
	fewest := t.queued(best)
	for i := 1; i < partitions && fewest > 0; i++ {
		p := (from + i) % partitions
		if queued := t.queued(p); queued < fewest {
			best, fewest = p, queued
		}
	}
	return best
}

type roundRobin struct{ turn atomic.Uint64 }

func (r *roundRobin) pick(_ []byte, partitions int, _ traffic) int {
	return int((r.turn.Add(1) - 1) % uint64(partitions))
}

type random struct{}

func (random) pick(_ []byte, partitions int, _ traffic) int {
	return rand.IntN(partitions)
}

// manual sees the whole message, so a producer asks it by itself.
type manual func(m *messages.Message, partitions int) int

func (manual) begin() picker { return nil }

// murmur2 is the hash of Kafka's clients: MurmurHash2 in 32 bits with their
// seed.
func murmur2(key []byte) uint32 {
	const (
		seed  = 0x9747b28c
		mix   = 0x5bd1e995
		shift = 24
	)
	h := seed ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * mix
		k ^= k >> shift
		h = h*mix ^ k*mix
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * mix
	}
	h = (h ^ h>>13) * mix
	return h ^ h>>15
}
