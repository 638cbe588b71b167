package commitlog

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// One partition, what its index says of a batch, and what can be wrong with it.

// Partition is one partition of a topic. It holds no state and is safe for
// concurrent use.
type Partition struct {
	log   *Log
	topic messages.TopicInfo
	p     int
}

// Partition is the partition p of t. It does not talk to etcd; that there is
// such a partition shows with the first request.
func (l *Log) Partition(t messages.TopicInfo, p int) *Partition {
	return &Partition{log: l, topic: t, p: p}
}

// String names the partition for errors: "orders"/3.
func (p *Partition) String() string { return fmt.Sprintf("%q/%d", p.topic.Name, p.p) }

func (p *Partition) startKey() string { return p.log.space.LogStart(p.topic.ID, p.p) }
func (p *Partition) indexKey(base int64) string {
	return p.log.space.IndexEntry(p.topic.ID, p.p, base)
}
func (p *Partition) bodyKey(base int64) string { return p.log.space.Body(p.topic.ID, p.p, base) }

// gone is the error of a partition whose topic was deleted.
func (p *Partition) gone(op string) error {
	return fmt.Errorf("%s %s: %w", op, p, messages.ErrTopicDeleted)
}

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
	// Producer and Sequence tell whose batch it is.
	Producer, Sequence uint64
	// ModRevision is when it was appended.
	ModRevision int64
	// value is how it stands in etcd.
	value string
}

// End is the offset after the last record.
func (e Entry) End() int64 { return e.Base + int64(e.Count) }

// ParseEntry reads an entry of the index of the topic with that id, and says
// which partition it is of. Keys and values that are none answer false; both may
// be anything at all.
func (l *Log) ParseEntry(id string, key string, value []byte, modRevision int64) (p int, e Entry, ok bool) {
	rest, ok := strings.CutPrefix(key, l.space.Indexes(id))
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
	if e.Base, ok = keys.ParseOffset(base); !ok || !e.decode(value) {
		return 0, Entry{}, false
	}
	return p, e, true
}

// partitionDigits is how many digits a partition's number has in keys.
const partitionDigits = 4

// decode fills e, whose base is known, from an entry's value.
func (e *Entry) decode(value []byte) bool {
	var v pb.IndexEntry
	if proto.Unmarshal(value, &v) != nil {
		return false
	}
	if v.GetCount() < 1 || v.GetCount() > messages.MaxBatchRecords || e.Base > math.MaxInt64-messages.MaxBatchRecords || v.GetBytes() > math.MaxInt32 {
		return false
	}
	e.Count, e.Bytes = int(v.GetCount()), int(v.GetBytes())
	e.Raw, e.LogBytes = int(min(v.GetRawBytes(), maxRaw)), logBytes(v.GetLogBytes())
	e.MinTime, e.MaxTime = v.GetMinTimeUnixNano(), v.GetMaxTimeUnixNano()
	e.Producer, e.Sequence = v.GetProducer(), v.GetSequence()
	e.value = string(value)
	return true
}

// logBytes is a size as it was read, bounded so that it can grow for ever: sizes
// are told to people, and no reason to refuse a batch.
func logBytes(read uint64) int64 { return int64(min(read, 1<<62)) }

// entry is the value of the index entry of s, whose body has that size and makes
// the log that large.
func (s *Sealed) entry(bytes int, logBytes int64) []byte {
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

// CorruptError says that a partition's bytes in etcd do not make sense. It wraps
// messages.ErrCorrupt.
type CorruptError struct {
	Topic     string
	Partition int
	// Base is the offset of the batch that is damaged or missing.
	Base int64
	// Why says what is wrong with it.
	Why string
}

// Error says where and why.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("topic %q, partition %d, batch at %d: %s: %v", e.Topic, e.Partition, e.Base, e.Why, messages.ErrCorrupt)
}

// Unwrap is messages.ErrCorrupt.
func (e *CorruptError) Unwrap() error { return messages.ErrCorrupt }

func (p *Partition) corrupt(base int64, format string, args ...any) *CorruptError {
	return &CorruptError{Topic: p.topic.Name, Partition: p.p, Base: base, Why: fmt.Sprintf(format, args...)}
}

// TrimmedError says that what was asked for is no longer there: the partition
// begins later now.
type TrimmedError struct {
	// Start is the first offset that can be read.
	Start int64
}

// Error says where the partition begins.
func (e *TrimmedError) Error() string {
	return fmt.Sprintf("trimmed: the partition begins at offset %d", e.Start)
}
