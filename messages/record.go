package messages

// The record codec: pb.Record written and read by hand, because a record is on
// the path of every message and the generated code allocates for each.

import (
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A batch is a run of records exactly as a protobuf message with
// `repeated Record records = 2` holds them: tag, length, record, again and
// again. Every field number here is below 16, so each tag is one byte.
const (
	tagRecord      = 2<<3 | byte(protowire.BytesType)
	tagKey         = 1<<3 | byte(protowire.BytesType)
	tagValue       = 2<<3 | byte(protowire.BytesType)
	tagHeader      = 3<<3 | byte(protowire.BytesType)
	tagTime        = 4<<3 | byte(protowire.Fixed64Type)
	tagExpires     = 5<<3 | byte(protowire.Fixed64Type)
	tagRequest     = 6<<3 | byte(protowire.Fixed64Type)
	tagID          = 7<<3 | byte(protowire.BytesType)
	tagDelay       = 8<<3 | byte(protowire.BytesType)
	tagTombstone   = 9<<3 | byte(protowire.VarintType)
	tagHeaderName  = 1<<3 | byte(protowire.BytesType)
	tagHeaderValue = 2<<3 | byte(protowire.BytesType)

	timeFieldSize    = 1 + 8
	requestFieldSize = 1 + 8
	tombstoneSize    = 1 + 1
	// oneByteVarint is the first length that no longer fits in one byte.
	oneByteVarint = 0x80
)

// RecordOverhead bounds what the encoding of a record adds to a payload of up to
// payload bytes, with MaxHeaders headers at most: RecordSize is no more than both
// together.
func RecordOverhead(payload int) int {
	const record, header = 64, 18 // tags, lengths and the times; tags and lengths
	return record + header*min(payload, MaxHeaders)
}

// RecordSize is how many bytes AppendRecord adds for m, tag and length
// included. It does not allocate.
func RecordSize(m *Message) int {
	return 1 + protowire.SizeBytes(bodySize(m))
}

// AppendRecord appends m to b as one record of a batch and returns the longer
// slice. It copies m's bytes and does not allocate when b has RecordSize(m)
// bytes to spare. Empty keys, values and absent times take no bytes. It does
// not judge m: see Message.Check.
func AppendRecord(b []byte, m *Message) []byte {
	if len(m.Key) == 0 && len(m.Headers) == 0 && m.Time.IsZero() && m.ExpiresAt.IsZero() && m.request == 0 && m.ID == "" && !m.Tombstone && m.DeliverAt.IsZero() {
		if n := len(m.Value); n != 0 && n+2 < oneByteVarint {
			b = append(b, tagRecord, byte(n+2), tagValue, byte(n))
			return append(b, m.Value...)
		}
	}
	b = append(b, tagRecord)
	b = appendLength(b, bodySize(m))
	b = appendBytes(b, tagKey, m.Key)
	b = appendBytes(b, tagValue, m.Value)
	if len(m.Headers) > 0 {
		b = appendHeaders(b, m.Headers)
	}
	if nano := unixNano(m.Time); nano != 0 {
		b = append(b, tagTime)
		b = protowire.AppendFixed64(b, uint64(nano))
	}
	if nano := unixNano(m.ExpiresAt); nano != 0 {
		b = append(b, tagExpires)
		b = protowire.AppendFixed64(b, uint64(nano))
	}
	if m.request != 0 {
		b = append(b, tagRequest)
		b = protowire.AppendFixed64(b, m.request)
	}
	b = appendDelay(appendID(b, m.ID), unixNano(m.DeliverAt))
	return appendTombstone(b, m.Tombstone)
}

// erasedAt is the expiry of a record that was deleted: the earliest there is, so that
// who does not know of it takes the record for expired. No message can have it.
const erasedAt = math.MinInt64

// ErasedSize is how many bytes AppendErased adds.
const ErasedSize = 2 + timeFieldSize

// AppendErased appends to b what is left of a record that was deleted.
func AppendErased(b []byte) []byte {
	at := int64(erasedAt)
	return protowire.AppendFixed64(append(b, tagRecord, timeFieldSize, tagExpires), uint64(at))
}

// ConsumeRecord decodes the record at the front of a batch into r and returns
// how many bytes it took. r's slices alias b, clipped so that appending to
// them does not write into b; nothing is allocated. Fields it does not know
// are skipped; of a repeated scalar the last one counts, as in any protobuf
// decoder. Header names are not checked to be UTF-8.
//
// Bytes that are no record return 0, a zero r and an error that wraps
// ErrCorrupt; b may be anything at all.
func ConsumeRecord(b []byte, r *Payload) (n int, err error) {
	// Nearly every record of a busy pipe is a short value and nothing else.
	if len(b) >= 4 && b[0] == tagRecord && b[2] == tagValue {
		size := int(b[3])
		if end := 4 + size; size+2 < oneByteVarint && int(b[1]) == size+2 && end <= len(b) {
			*r = Payload{Value: b[4:end:end]}
			return end, nil
		}
	}
	return consumeAnyRecord(b, r)
}

// RecordKey is the key of the record at the front of a batch that AppendRecord made; nil
// when it has none. It aliases b.
func RecordKey(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	body, n := protowire.ConsumeBytes(b[1:])
	if n < 0 || len(body) == 0 || body[0] != tagKey {
		return nil
	}
	key, n := protowire.ConsumeBytes(body[1:])
	if n < 0 {
		return nil
	}
	return key
}

// CountRecords walks a batch and returns how many records it holds. It checks
// that every record lies within b, and looks inside none of them. Anything
// else at the top level than a record is an error that wraps ErrCorrupt, with
// the number of records before it.
func CountRecords(b []byte) (n int, err error) {
	for at := 0; at < len(b); n++ {
		if b[at] != tagRecord {
			return n, corrupt("batch", "not a record", at)
		}
		if at+1 < len(b) && b[at+1] < oneByteVarint {
			at += 2 + int(b[at+1])
			if at > len(b) {
				return n, corrupt("batch", "a record is cut short", at)
			}
			continue
		}
		_, size := protowire.ConsumeBytes(b[at+1:])
		if size < 0 {
			return n, corrupt("batch", "a record is cut short", at)
		}
		at += 1 + size
	}
	return n, nil
}

func consumeAnyRecord(b []byte, r *Payload) (int, error) {
	*r = Payload{}
	if len(b) == 0 || b[0] != tagRecord {
		return 0, corrupt("record", "does not begin with a record", 0)
	}
	body, size := protowire.ConsumeBytes(b[1:])
	if size < 0 {
		return 0, corrupt("record", "cut short", 1)
	}
	if at, ok := parseRecord(body, r); !ok {
		*r = Payload{}
		return 0, corrupt("record", "a field does not decode", at)
	}
	return 1 + size, nil
}

// parseRecord fills r from the inside of a record; when it fails it says
// where.
func parseRecord(body []byte, r *Payload) (at int, ok bool) {
	first, last := -1, -1 // of the headers, the id, the delay and the tombstone
	for at < len(body) {
		f, n := nextField(body[at:])
		if n == 0 {
			return at, false
		}
		switch f.tag {
		case uint64(tagKey):
			r.Key = f.bytes
		case uint64(tagValue):
			r.Value = f.bytes
		case uint64(tagTime):
			nano, _ := protowire.ConsumeFixed64(f.bytes)
			r.UnixNano = int64(nano)
		case uint64(tagExpires):
			nano, _ := protowire.ConsumeFixed64(f.bytes)
			r.expires = int64(nano)
		case uint64(tagRequest):
			r.request, _ = protowire.ConsumeFixed64(f.bytes)
		case uint64(tagHeader):
			if _, ok := parseHeader(f.bytes); !ok {
				return at, false
			}
			if first < 0 {
				first = at
			}
			last = at + n
		case uint64(tagID), uint64(tagTombstone):
			if first < 0 {
				first = at
			}
			last = at + n
		case uint64(tagDelay):
			if !new(Delay).merge(f.bytes) {
				return at, false
			}
			if first < 0 {
				first = at
			}
			last = at + n
		}
		at += n
	}
	if first >= 0 {
		r.headers = body[first:last:last]
	}
	return at, true
}

// field is one field of a message: its tag with the wire type, and its
// contents without the length.
type field struct {
	tag   uint64
	bytes []byte
}

// nextField reads the field at the front of b and the bytes it took, 0 when it
// is malformed. A known number with another wire type has another tag, so it
// falls to the unknown ones, as in the generated decoder.
func nextField(b []byte) (field, int) {
	tag, n := uint64(b[0]), 1
	if b[0] >= oneByteVarint {
		tag, n = protowire.ConsumeVarint(b)
		if n < 0 {
			return field{}, 0
		}
	}
	num, typ := tag>>3, protowire.Type(tag&7)
	if num < uint64(protowire.MinValidNumber) || num > uint64(protowire.MaxValidNumber) {
		return field{}, 0
	}
	if typ == protowire.BytesType {
		v, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return field{}, 0
		}
		return field{tag: tag, bytes: slices.Clip(v)}, n + m
	}
	m := protowire.ConsumeFieldValue(protowire.Number(num), typ, b[n:])
	if m < 0 {
		return field{}, 0
	}
	return field{tag: tag, bytes: b[n : n+m : n+m]}, n + m
}

type header struct{ name, value []byte }

func parseHeader(b []byte) (h header, ok bool) {
	for len(b) > 0 {
		f, n := nextField(b)
		if n == 0 {
			return header{}, false
		}
		switch f.tag {
		case uint64(tagHeaderName):
			h.name = f.bytes
		case uint64(tagHeaderValue):
			h.value = f.bytes
		}
		b = b[n:]
	}
	return h, true
}

// nextHeader finds the next header in a span that was checked when it was
// decoded, and the bytes up to its end; 0 when there is none.
func nextHeader(span []byte) (header, int) {
	for at := 0; at < len(span); {
		f, n := nextField(span[at:])
		if n == 0 {
			break
		}
		at += n
		if f.tag == uint64(tagHeader) {
			h, _ := parseHeader(f.bytes)
			return h, at
		}
	}
	return header{}, 0
}

func bodySize(m *Message) int {
	size := bytesFieldSize(len(m.Key)) + bytesFieldSize(len(m.Value))
	if len(m.Headers) > 0 {
		size += headersSize(m.Headers)
	}
	if unixNano(m.Time) != 0 {
		size += timeFieldSize
	}
	if unixNano(m.ExpiresAt) != 0 {
		size += timeFieldSize
	}
	if m.request != 0 {
		size += requestFieldSize
	}
	if m.Tombstone {
		size += tombstoneSize
	}
	if unixNano(m.DeliverAt) != 0 {
		size += delayFieldSize
	}
	return size + bytesFieldSize(len(m.ID))
}

func headersSize(headers []Header) int {
	size := 0
	for i := range headers {
		size += 1 + protowire.SizeBytes(headerSize(&headers[i]))
	}
	return size
}

func headerSize(h *Header) int {
	return bytesFieldSize(len(h.Name)) + bytesFieldSize(len(h.Value))
}

// bytesFieldSize counts an empty field as none: proto3 leaves it out.
func bytesFieldSize(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

func appendHeaders(b []byte, headers []Header) []byte {
	for i := range headers {
		h := &headers[i]
		b = append(b, tagHeader)
		b = appendLength(b, headerSize(h))
		if len(h.Name) > 0 {
			b = append(b, tagHeaderName)
			b = appendLength(b, len(h.Name))
			b = append(b, h.Name...)
		}
		b = appendBytes(b, tagHeaderValue, h.Value)
	}
	return b
}

func appendBytes(b []byte, tag byte, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(b, tag)
	b = appendLength(b, len(v))
	return append(b, v...)
}

// appendID leaves out an empty id, as proto3 does.
func appendID(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	b = append(b, tagID)
	b = appendLength(b, len(id))
	return append(b, id...)
}

// idIn is the id in a span that was checked when it was decoded, or nil. It aliases
// the span. Of several the last one counts.
func idIn(span []byte) (id []byte) {
	for at := 0; at < len(span); {
		f, n := nextField(span[at:])
		if n == 0 {
			break
		}
		at += n
		if f.tag == uint64(tagID) {
			id = f.bytes
		}
	}
	return id
}

// appendTombstone leaves out false, as proto3 does.
func appendTombstone(b []byte, is bool) []byte {
	if !is {
		return b
	}
	return append(b, tagTombstone, 1)
}

// tombstoneIn reports whether a span that was checked when it was decoded says that the
// record is a tombstone. Of several fields the last one counts.
func tombstoneIn(span []byte) (is bool) {
	for at := 0; at < len(span); {
		f, n := nextField(span[at:])
		if n == 0 {
			break
		}
		at += n
		if f.tag == uint64(tagTombstone) {
			v, _ := protowire.ConsumeVarint(f.bytes)
			is = v != 0
		}
	}
	return is
}

func appendLength(b []byte, n int) []byte {
	if n < oneByteVarint {
		return append(b, byte(n))
	}
	return protowire.AppendVarint(b, uint64(n))
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func corrupt(what, why string, at int) error {
	return fmt.Errorf("%s: %s, at byte %d: %w", what, why, at, ErrCorrupt)
}
