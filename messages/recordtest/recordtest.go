package recordtest

import (
	"encoding/binary"

	"github.com/penstock-io/penstock/messages"
)

// T is what *testing.T and *rapid.T share here.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Numbered is a message that can be told apart by id, of at least size payload
// bytes.
func Numbered(id uint64, size int) *messages.Message {
	v := make([]byte, max(8, size))
	binary.BigEndian.PutUint64(v, id)
	return &messages.Message{Value: v}
}

// Numbers reads the ids back from a run of records.
func Numbers(t T, records []byte) (ids []uint64) {
	t.Helper()
	for len(records) > 0 {
		var r messages.Payload
		n, err := messages.ConsumeRecord(records, &r)
		if err != nil {
			t.Fatalf("record %d of a batch: %v", len(ids), err)
		}
		ids = append(ids, Number(r.Value))
		records = records[n:]
	}
	return ids
}

// Number is the id in a Numbered message's value.
func Number(value []byte) uint64 { return binary.BigEndian.Uint64(value) }

// Records is the run of the Numbered messages with those ids, of 8 bytes each.
func Records(ids ...uint64) (records []byte) {
	for _, id := range ids {
		records = messages.AppendRecord(records, Numbered(id, 8))
	}
	return records
}
