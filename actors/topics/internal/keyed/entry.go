package keyed

// One key's newest record.

import (
	"bytes"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Overhead is about what an entry takes besides its bytes: itself, its place in the map, and
// its place in the order of its partition.
const Overhead = 160

// Entry is the newest record of a key. It does not change, and is safe to read from any
// goroutine.
type Entry struct {
	key       string
	raw       []byte // the record as it is encoded, in memory of its own
	offset    int64
	time      int64 // of a record that has none of its own
	order     int64 // when its batch was put; it only grows within a partition
	partition int32
	dead      bool // a tombstone
}

// Key is what the record is about.
func (e *Entry) Key() string { return e.key }

// Record is the record, whose bytes are the entry's. ttl is the topic's.
func (e *Entry) Record(topic string, ttl time.Duration) messages.Record {
	r := messages.Record{Topic: topic, Partition: int(e.partition), Offset: e.offset, Attempt: 1}
	_, _ = messages.ConsumeRecord(e.raw, &r.Payload) // it was decoded before
	if r.UnixNano == 0 {
		r.UnixNano = e.time
	}
	messages.ExpireBy(&r.Payload, ttl)
	return r
}

// expires is when the record is not to be handed out any more, in nanoseconds since 1970
// UTC; 0 is never.
func (e *Entry) expires(ttl time.Duration) int64 {
	if at := e.Record("", ttl).ExpiresAt(); !at.IsZero() {
		return at.UnixNano()
	}
	return 0
}

// cost is about how many bytes of memory the entry takes. The key is there twice.
func (e *Entry) cost() int64 { return int64(Overhead + len(e.key) + len(e.raw)) }

// same reports whether both are the same record at the same place.
func (e *Entry) same(o *Entry) bool {
	return e == o || e.partition == o.partition && e.offset == o.offset && e.time == o.time && e.dead == o.dead && bytes.Equal(e.raw, o.raw)
}

// newer reports whether e counts, and not o, of the same key.
func (e *Entry) newer(o *Entry) bool {
	switch {
	case e.partition == o.partition:
		return e.offset > o.offset
	case e.order != o.order:
		return e.order > o.order
	}
	return e.partition > o.partition
}

// Change is what became of one key. Old is nil when it was not there, New when it is gone.
type Change struct {
	Key      string
	Old, New *Entry
}

// isTombstone reports whether the record says that its key is deleted.
func isTombstone(p *messages.Payload) bool { return p.Tombstone() }
