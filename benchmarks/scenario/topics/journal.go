package topics

import (
	"math/bits"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// What became of the records of a scenario: who put which, what came.

// An id is a producer's number and, below it, the record's, from 0.
const seqBits = 40

func id(producer int, seq uint64) uint64 { return uint64(producer)<<seqBits | seq }

func parts(id uint64) (producer int, seq uint64) {
	return int(id >> seqBits), id & (1<<seqBits - 1)
}

// journal is what one member of a group got of one producer.
type journal struct {
	seen       []uint64 // a bit for each record
	least      []uint64 // by partition: the first that may come next
	repeated   uint64
	disordered uint64
}

func newJournal(partitions int) *journal { return &journal{least: make([]uint64, partitions)} }

// note enters one record.
func (j *journal) note(partition int, seq uint64) {
	at, bit := int(seq/64), uint64(1)<<(seq%64)
	for at >= len(j.seen) {
		j.seen = append(j.seen, 0)
	}
	switch {
	case j.seen[at]&bit != 0:
		j.repeated++
	case seq < j.least[partition]:
		j.disordered++
	}
	j.seen[at] |= bit
	j.least[partition] = max(j.least[partition], seq+1)
}

// judge compares what a group's members got of one producer with the records
// 0..put-1 that it put.
func judge(members []*journal, put uint64) results.Check {
	v := results.Check{Sent: put}
	var all []uint64
	for _, j := range members {
		v.Duplicates += j.repeated
		v.Disordered += j.disordered
		for at, word := range j.seen {
			if at >= len(all) {
				all = append(all, 0)
			}
			v.Duplicates += uint64(bits.OnesCount64(all[at] & word))
			all[at] |= word
		}
	}
	came := uint64(0)
	for _, word := range all {
		came += uint64(bits.OnesCount64(word))
	}
	// Nobody can get a record that was not put: its content would not fit.
	v.Lost = put - min(put, came)
	return v
}
