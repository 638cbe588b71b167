package lending

// How a record travels as a message.

import (
	"encoding/binary"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

// format is the first byte of a value. What follows are five numbers, and the record's value.
const format = 1

// mostPrefix bounds what stands before a record's value.
const mostPrefix = 1 + 5*binary.MaxVarintLen64

// appendValue appends the value of the message that a record travels as.
func appendValue(b []byte, r *messages.Record) []byte {
	b = append(b, format)
	for _, n := range [...]int64{int64(r.Partition), r.Offset, r.Fence, int64(r.Attempt), int64(r.Deaths)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return append(b, r.Value...)
}

// recordOf is the record of a topic that travelled as p. The error wraps
// messages.ErrCorrupt.
func recordOf(topic string, p messages.Payload) (messages.Record, error) {
	r := messages.Record{Payload: p, Topic: topic}
	rest := p.Value
	if len(rest) == 0 || rest[0] != format {
		return r, fmt.Errorf("a lent record of %d bytes in no form that is known: %w", len(rest), messages.ErrCorrupt)
	}
	rest = rest[1:]
	var numbers [5]int64
	for i := range numbers {
		n, size := binary.Uvarint(rest)
		if size <= 0 || int64(n) < 0 {
			return r, fmt.Errorf("a lent record whose number %d does not decode: %w", i+1, messages.ErrCorrupt)
		}
		numbers[i], rest = int64(n), rest[size:]
	}
	if numbers[0] >= messages.MaxPartitions {
		return r, fmt.Errorf("a lent record of partition %d: %w", numbers[0], messages.ErrCorrupt)
	}
	r.Partition, r.Offset, r.Fence, r.Attempt, r.Deaths = int(numbers[0]), numbers[1], numbers[2], int(numbers[3]), int(numbers[4])
	r.Value = rest
	return r, nil
}
