package lending

// How a record travels as a message.

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/penstock-io/penstock/messages"
)

// The first byte of a value. What follows are five numbers, of a record that was to be
// delivered later two more, and the record's value.
const format, formatDelayed = 1, 2

// mostPrefix bounds what stands before a record's value.
const mostPrefix = 1 + 7*binary.MaxVarintLen64

// appendValue appends the value of the message that a record travels as.
func appendValue(b []byte, r *messages.Record) []byte {
	delay := messages.DelayOf(&r.Payload)
	delayed := delay != (messages.Delay{})
	if delayed {
		b = append(b, formatDelayed)
	} else {
		b = append(b, format)
	}
	for _, n := range [...]int64{int64(r.Partition), r.Offset, r.Fence, int64(r.Attempt), int64(r.Deaths)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	if delayed {
		b = binary.AppendVarint(b, delay.Due)
		at := uint64(0)
		if delay.Delivered {
			at = uint64(delay.Offset) + 1
		}
		b = binary.AppendUvarint(b, at)
	}
	return append(b, r.Value...)
}

// recordOf is the record of a topic that travelled as p. The error wraps
// messages.ErrCorrupt.
func recordOf(topic string, p messages.Payload) (messages.Record, error) {
	r := messages.Record{Payload: p, Topic: topic}
	rest := p.Value
	if len(rest) == 0 || rest[0] != format && rest[0] != formatDelayed {
		return r, fmt.Errorf("a lent record of %d bytes in no form that is known: %w", len(rest), messages.ErrCorrupt)
	}
	delayed := rest[0] == formatDelayed
	rest = rest[1:]
	var numbers [5]int64
	for i := range numbers {
		n, size := binary.Uvarint(rest)
		if size <= 0 || int64(n) < 0 {
			return r, fmt.Errorf("a lent record whose number %d does not decode: %w", i+1, messages.ErrCorrupt)
		}
		numbers[i], rest = int64(n), rest[size:]
	}
	if delayed {
		due, n := binary.Varint(rest)
		at, m := binary.Uvarint(rest[max(n, 0):])
		if n <= 0 || m <= 0 || at > math.MaxInt64+1 {
			return r, fmt.Errorf("a lent record whose delay does not decode: %w", messages.ErrCorrupt)
		}
		d := messages.Delay{Due: due}
		if at > 0 {
			d.Delivered, d.Offset = true, int64(at-1)
		}
		r.Payload, rest = messages.WithDelay(p, d), rest[n+m:]
	}
	if numbers[0] >= messages.MaxPartitions {
		return r, fmt.Errorf("a lent record of partition %d: %w", numbers[0], messages.ErrCorrupt)
	}
	r.Partition, r.Offset, r.Fence, r.Attempt, r.Deaths = int(numbers[0]), numbers[1], numbers[2], int(numbers[3]), int(numbers[4])
	r.Value = rest
	return r, nil
}
