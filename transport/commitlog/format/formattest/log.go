package formattest

import (
	"fmt"
	"hash/fnv"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Log is a topic's records: batches of one to five records, made when they are
// asked for first and always the same. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	batches map[int][]*format.Batch
	padding []int
}

// NewLog is a log whose batches are padded by one of so many bytes.
func NewLog(padding ...int) *Log {
	return &Log{batches: make(map[int][]*format.Batch), padding: padding}
}

// Value is what the record at an offset of partition p has at its beginning;
// padding follows.
func Value(p int, offset int64) string { return fmt.Sprintf("%d/%d ", p, offset) }

// Time is that of the i-th batch of any partition.
func Time(i int) int64 { return 1000 + int64(i) }

// Batch is the i-th of partition p.
func (l *Log) Batch(p, i int) *format.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.batches[p]) <= i {
		n := len(l.batches[p])
		h := fnv.New32a()
		fmt.Fprint(h, p, n)
		var base int64
		if n > 0 {
			base = l.batches[p][n-1].End()
		}
		pick := int(h.Sum32())
		count := 1 + pick%5
		pad := strings.Repeat("x", l.padding[(pick/7)%len(l.padding)]/count)
		b := &format.Batch{Base: base, Count: count, Time: Time(n), Sequence: uint64(base)}
		for k := range count {
			b.Raw = messages.AppendRecord(b.Raw, &messages.Message{Value: []byte(Value(p, base+int64(k)) + pad)})
		}
		l.batches[p] = append(l.batches[p], b)
	}
	return l.batches[p][i]
}

// End is the offset after the first n batches of partition p.
func (l *Log) End(p, n int) int64 {
	if n == 0 {
		return 0
	}
	return l.Batch(p, n-1).End()
}

// Holding is the number of the batch that has an offset of partition p.
func (l *Log) Holding(p int, offset int64) int {
	for i := 0; ; i++ {
		if l.Batch(p, i).End() > offset {
			return i
		}
	}
}

// IsBase reports whether a batch of partition p begins at an offset.
func (l *Log) IsBase(p int, offset int64) bool {
	return l.Batch(p, l.Holding(p, offset)).Base == offset
}
