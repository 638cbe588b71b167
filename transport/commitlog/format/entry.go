package format

// What the index says of a batch.

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// InlineBytes is the largest body that stands in the index entry itself, where the
// watch of the index carries it to every reader.
//
// An entry is small all the same: etcd loads the values of a whole window of the
// index to find its last one, and a watch that falls behind gets every value since.
const InlineBytes = 1 << 10

// Entry is what the index says of one batch. It changes only when records are erased,
// and outlives the body of the batch by a minute or more, unless it has that in it.
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
	// Value is how it stands in etcd, up to the body if there is one: what stands behind that
	// changes when records are erased.
	Value string
	// Body is the batch as OpenBody takes it, or nil where it has a key of its own.
	// It is part of the bytes that the entry was decoded from.
	Body []byte
	// Expires is when the first record expires that does so by itself, in nanoseconds since
	// 1970 UTC; 0 is never, or not known: entries of before did not say.
	Expires int64
	// Edit tells the bodies apart that the batch has had: a random number since records
	// of it were erased, else 0.
	Edit uint64
}

// End is the offset after the last record.
func (e Entry) End() int64 { return e.Base + int64(e.Count) }

// ParseEntry reads an entry of the index of the topic with that id in a space of
// keys, and returns the partition p that it is of. ok is false when key or value
// is not that of an entry; both may be anything.
func ParseEntry(space keys.Space, id, key string, value []byte, modRevision int64) (p int, e Entry, ok bool) {
	rest, ok := space.CutIndexes(id, key)
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
// whether that is one. e keeps value where there is a body in it.
//
// It does by hand what the generated code would, which copies the body, and does
// not tell where it begins.
func (e *Entry) Decode(value []byte) bool {
	var v entryFields
	head := len(value)
	for at := 0; at < len(value); {
		num, typ, n := protowire.ConsumeTag(value[at:])
		if n < 0 || num > protowire.MaxValidNumber {
			return false
		}
		m := protowire.ConsumeFieldValue(num, typ, value[at+n:])
		if m < 0 {
			return false
		}
		field := value[at+n : at+n+m]
		switch typ {
		case protowire.VarintType:
			v.varint(num, field)
		case protowire.Fixed64Type:
			v.fixed(num, field)
		case protowire.BytesType:
			if num == entryBody {
				v.body, _ = protowire.ConsumeBytes(field)
				head = min(head, at)
			}
		}
		at += n + m
	}
	if v.count < 1 || v.count > messages.MaxBatchRecords || e.Base > math.MaxInt64-messages.MaxBatchRecords || v.bytes > math.MaxInt32 {
		return false
	}
	e.Count, e.Bytes = int(v.count), int(v.bytes)
	e.Raw, e.LogBytes = int(min(v.rawBytes, MaxRaw)), logBytes(v.logBytes)
	e.MinTime, e.MaxTime = v.minTime, v.maxTime
	e.Producer, e.Sequence = v.producer, v.sequence
	e.Value, e.Body, e.Edit, e.Expires = string(value[:head]), v.body, v.edit, v.expires
	return true
}

// The fields of pb.IndexEntry.
const (
	entryCount    = protowire.Number(1)
	entryBytes    = protowire.Number(2)
	entryMinTime  = protowire.Number(3)
	entryMaxTime  = protowire.Number(4)
	entryProducer = protowire.Number(5)
	entrySequence = protowire.Number(6)
	entryRawBytes = protowire.Number(7)
	entryLogBytes = protowire.Number(8)
	entryBody     = protowire.Number(9)
	entryEdit     = protowire.Number(10)
	entryExpires  = protowire.Number(11)
)

// entryFields is a pb.IndexEntry. Its body aliases what it was read from.
type entryFields struct {
	count, bytes, rawBytes       uint32
	logBytes, sequence, producer uint64
	minTime, maxTime, expires    int64
	edit                         uint64
	body                         []byte
}

func (v *entryFields) varint(num protowire.Number, field []byte) {
	n, _ := protowire.ConsumeVarint(field)
	switch num {
	case entryCount:
		v.count = uint32(n)
	case entryBytes:
		v.bytes = uint32(n)
	case entrySequence:
		v.sequence = n
	case entryRawBytes:
		v.rawBytes = uint32(n)
	case entryLogBytes:
		v.logBytes = n
	}
}

func (v *entryFields) fixed(num protowire.Number, field []byte) {
	n, _ := protowire.ConsumeFixed64(field)
	switch num {
	case entryMinTime:
		v.minTime = int64(n)
	case entryMaxTime:
		v.maxTime = int64(n)
	case entryProducer:
		v.producer = n
	case entryEdit:
		v.edit = n
	case entryExpires:
		v.expires = int64(n)
	}
}

// logBytes is a size as it was read, bounded so that it can grow without end: it
// is shown to people, and no reason to refuse a batch.
func logBytes(read uint64) int64 { return int64(min(read, 1<<62)) }

// EntryValue is the value of the index entry of s, but for a body and Expires. bytes is the size
// of its body in etcd, logBytes that of the log with it.
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

// withBody adds a body to the value of an index entry.
func withBody(entry, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(entry, entryBody, protowire.BytesType), body)
}

// withExpiry adds to the value of an index entry when the first record expires.
func withExpiry(entry []byte, expires int64) []byte {
	if expires == 0 {
		return entry
	}
	return protowire.AppendFixed64(protowire.AppendTag(entry, entryExpires, protowire.Fixed64Type), uint64(expires))
}

// Batch opens the body of e, which must have one. What it says is not trusted, as
// OpenBody's; an error wraps messages.ErrCorrupt. The batch keeps the body.
func (e *Entry) Batch() (*Batch, error) {
	b, err := OpenBody(e.Base, e.Body)
	if err == nil {
		err = e.Describes(b)
	}
	if err != nil {
		return nil, err
	}
	b.Producer, b.Sequence = e.Producer, e.Sequence
	return b, nil
}

// Describes returns why b is not the batch that e says, or nil. The error wraps
// messages.ErrCorrupt. Entries of before they told the size of the records have a Raw of 0;
// a batch of which records were erased has another size than its entry says.
func (e *Entry) Describes(b *Batch) error {
	switch {
	case b.Count != e.Count:
		return corruptBody("it has %d records, and its index entry says %d", b.Count, e.Count)
	case len(b.Raw) != e.Raw && (e.Raw != 0 || e.Body != nil) && !b.hasErased():
		return corruptBody("it has %d bytes of records, and its index entry says %d", len(b.Raw), e.Raw)
	}
	return nil
}

// IsOf reports whether both entries are of the same batch at the same place.
func (e Entry) IsOf(o Entry) bool {
	return e.Base == o.Base && e.Count == o.Count && e.Producer == o.Producer && e.Sequence == o.Sequence
}
