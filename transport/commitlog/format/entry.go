package format

// What the index says of a batch.

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Entry is what the index says of one batch. It never changes, and outlives the
// batch by a minute or more.
type Entry struct {
	// Base is the offset of the first record.
	Base int64
	// Count is how many records there are, Bytes the size of the batch in etcd,
	// Raw that of its records when unpacked.
	Count, Bytes, Raw int
	// LogBytes is the size in etcd of the batches up to this one and with it.
	// Only the difference of two means anything.
	LogBytes int64
	// MinTime and MaxTime are of the records, in nanoseconds since 1970 UTC.
	MinTime, MaxTime int64
	// Producer and Sequence say whose batch it is.
	Producer, Sequence uint64
	// ModRevision is when it was appended.
	ModRevision int64
	// Value is how it stands in etcd.
	Value string
}

// End is the offset after the last record.
func (e Entry) End() int64 { return e.Base + int64(e.Count) }

// ParseEntry reads an entry of the index of the topic with that id in a space of
// keys, and returns the partition p that it is of. ok is false when key or value
// is not that of an entry; both may be anything.
func ParseEntry(space keys.Space, id, key string, value []byte, modRevision int64) (p int, e Entry, ok bool) {
	rest, ok := strings.CutPrefix(key, space.Indexes(id))
	if !ok {
		return 0, Entry{}, false
	}
	number, base, ok := strings.Cut(rest, "/")
	if !ok || len(number) != partitionDigits || strings.Trim(number, "0123456789") != "" {
		return 0, Entry{}, false
	}
	p, err := strconv.Atoi(number)
	if err != nil || p >= messages.MaxPartitions {
		return 0, Entry{}, false
	}
	e.ModRevision = modRevision
	if e.Base, ok = keys.ParseOffset(base); !ok || !e.Decode(value) {
		return 0, Entry{}, false
	}
	return p, e, true
}

// partitionDigits is how many digits a partition's number has in keys.
const partitionDigits = 4

// Decode fills e, whose base is set, from the value of an index entry. It reports
// whether that is one.
func (e *Entry) Decode(value []byte) bool {
	var v pb.IndexEntry
	if proto.Unmarshal(value, &v) != nil {
		return false
	}
	if v.GetCount() < 1 || v.GetCount() > messages.MaxBatchRecords || e.Base > math.MaxInt64-messages.MaxBatchRecords || v.GetBytes() > math.MaxInt32 {
		return false
	}
	e.Count, e.Bytes = int(v.GetCount()), int(v.GetBytes())
	e.Raw, e.LogBytes = int(min(v.GetRawBytes(), MaxRaw)), logBytes(v.GetLogBytes())
	e.MinTime, e.MaxTime = v.GetMinTimeUnixNano(), v.GetMaxTimeUnixNano()
	e.Producer, e.Sequence = v.GetProducer(), v.GetSequence()
	e.Value = string(value)
	return true
}

// logBytes is a size as it was read, bounded so that it can grow without end: it
// is shown to people, and no reason to refuse a batch.
func logBytes(read uint64) int64 { return int64(min(read, 1<<62)) }

// EntryValue is the value of the index entry of s. bytes is the size of its body
// in etcd, logBytes that of the log with it.
func (s *Sealed) EntryValue(bytes int, logBytes int64) []byte {
	value, err := proto.Marshal(&pb.IndexEntry{
		Count: uint32(s.Count), Bytes: uint32(bytes), RawBytes: uint32(s.Raw), LogBytes: uint64(logBytes),
		MinTimeUnixNano: s.MinTime, MaxTimeUnixNano: s.MaxTime,
		Producer: s.Producer, Sequence: s.Sequence,
	})
	if err != nil {
		panic(err) // numbers always encode
	}
	return value
}

// IsOf reports whether both entries are of the same batch at the same place.
func (e Entry) IsOf(o Entry) bool {
	return e.Base == o.Base && e.Count == o.Count && e.Producer == o.Producer && e.Sequence == o.Sequence
}
