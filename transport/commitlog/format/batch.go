package format

// The batch codec: pb.Body written and read by hand, because a body has half a
// megabyte and the generated code would copy it. The records come last, so that
// a batch is put at another base by rewriting the few bytes before them.

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// The tags of pb.Body.
const (
	tagBase        = 1<<3 | byte(protowire.VarintType)
	tagCount       = 2<<3 | byte(protowire.VarintType)
	tagCompression = 3<<3 | byte(protowire.VarintType)
	tagRawBytes    = 4<<3 | byte(protowire.VarintType)
	tagTime        = 5<<3 | byte(protowire.Fixed64Type)
	tagCRC         = 6<<3 | byte(protowire.Fixed32Type)
	tagRecords     = 7<<3 | byte(protowire.BytesType)
)

const (
	// headRoom holds the largest head there is: three varints of up to 5
	// bytes, one of 10, two fixed fields, a length, and seven tags.
	headRoom = 64
	// MaxRaw is how many bytes the records of a batch may have, unpacked: a full batch, and one
	// more record of the largest size.
	MaxRaw = messages.MaxRecordBytes + messages.MaxBatchBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sealed is a batch that is ready to be appended: packed, and with an identity
// by which it is recognised in the log. It remembers where it was sent, so that
// whoever appends it again, after a failure or a restart, resolves that first. Its
// fields are read only, but for Way; one goroutine at a time appends it.
type Sealed struct {
	// Raw is how many bytes the records take, unpacked; Count is how many
	// there are.
	Raw, Count int
	// Time is that of records that have none of their own, in nanoseconds
	// since 1970 UTC.
	Time int64
	// MinTime and MaxTime are of the records, in nanoseconds since 1970 UTC.
	MinTime, MaxTime int64
	// Expires is when the first record expires that does so by itself, in nanoseconds since
	// 1970 UTC; 0 is never. Whoever has sealed the batch sets it, before it is sent.
	Expires int64
	// Producer and Sequence are the batch's identity.
	Producer, Sequence uint64

	compression pb.Compression
	// buf is headRoom bytes, and the packed records; nil after Free.
	buf    []byte
	packed int
	// crc is of the packed records only.
	crc uint32
	// Way is where the batch is on its way into the log.
	Way Way
	// Only, unless nil, is the one end of the partition that the batch may be put
	// behind: whoever sealed it knows what is in the log up to there.
	Only *LogEnd
	// users are the batches that have the records from buf itself.
	users int
	// later are records that have a place in the batch and are delivered later, of so many
	// bytes.
	later      []Later
	laterBytes int
}

// Seal makes a batch of count records, encoded one after the other in raw as
// messages.AppendRecord does, of which the oldest and newest have the given
// times; now is the time of those that have none. It packs them with c, or not
// at all when that would not make them smaller. Producer and sequence must be
// given to no other batch of the partition.
//
// raw stays the caller's: the batch has only what it packed, in no more memory
// than raw takes, or little. Check returns what is wrong with
// it (no records, too many, too large).
func Seal(raw []byte, count int, minTime, maxTime, now int64, c messages.Compression, producer, sequence uint64) *Sealed {
	s := &Sealed{
		Raw: len(raw), Count: count, Time: now, MinTime: minTime, MaxTime: maxTime,
		Producer: producer, Sequence: sequence,
	}
	s.compression, s.buf = pack(raw, c)
	s.packed = len(s.buf) - headRoom
	s.crc = crc32.Checksum(s.buf[headRoom:], castagnoli)
	return s
}

// Bytes is the size of the batch's body in etcd, more or less a few bytes that
// depend on its base, and of what of it is delivered later.
func (s *Sealed) Bytes() int { return s.packed + headRoom/2 + s.laterBytes }

// Batch is s as a reader would get it from base, before Free. The error, which
// wraps messages.ErrCorrupt, can only come of bytes that changed in memory.
func (s *Sealed) Batch(base int64) (*Batch, error) {
	raw, err := unpack(s.buf[headRoom:], s.compression, s.Raw)
	if s.compression == pb.Compression_NONE {
		s.users++
	}
	return &Batch{Base: base, Count: s.Count, Time: s.Time, Raw: raw, Producer: s.Producer, Sequence: s.Sequence}, err
}

// Records are those of s as Seal got them, in memory of their own. The error is
// that of Batch.
func (s *Sealed) Records() ([]byte, error) {
	raw, err := unpack(s.buf[headRoom:], s.compression, s.Raw)
	if err == nil && len(s.later) > 0 {
		return s.withLater(raw)
	}
	if s.compression == pb.Compression_NONE {
		raw = bytes.Clone(raw)
	}
	return raw, err
}

// Free gives back the buffer that s was packed into. It may be called once Append
// has returned a base: no attempt is under way then, and s is not used any more.
// Batches that Batch returned stay as they are.
func (s *Sealed) Free() {
	if s.users == 0 {
		spares.put(s.buf)
	}
	s.buf = nil
	for _, l := range s.later {
		l.one.Free()
	}
}

// Entry is what distinguishes s from every other batch, when it stands at base:
// the rest of it is left out.
func (s *Sealed) Entry(base int64) Entry {
	return Entry{Base: base, Count: s.Count, Producer: s.Producer, Sequence: s.Sequence}
}

// Check returns why s cannot be appended at all, or nil. The error wraps
// messages.ErrInvalid.
func (s *Sealed) Check() error {
	switch {
	case s.Count < 1 || s.Count > messages.MaxBatchRecords:
		return fmt.Errorf("%w: a batch of %d records: there must be between 1 and %d", messages.ErrInvalid, s.Count, messages.MaxBatchRecords)
	case s.Raw > MaxRaw:
		return fmt.Errorf("%w: a batch of %d bytes: there must be at most %d", messages.ErrInvalid, s.Raw, MaxRaw)
	}
	return nil
}

// Body is the batch as it stands in etcd at base. It is valid until the next
// call, which rewrites the head.
func (s *Sealed) Body(base int64) []byte {
	var room [headRoom]byte
	head := room[:0]
	head = appendUint(head, tagBase, uint64(base))
	head = appendUint(head, tagCount, uint64(s.Count))
	head = appendUint(head, tagCompression, uint64(s.compression))
	head = appendUint(head, tagRawBytes, uint64(s.Raw))
	if s.Time != 0 {
		head = append(head, tagTime)
		head = protowire.AppendFixed64(head, uint64(s.Time))
	}
	crc := crc32.Update(s.crc, castagnoli, head)
	head = append(head, tagCRC)
	head = protowire.AppendFixed32(head, crc)
	head = append(head, tagRecords)
	head = protowire.AppendVarint(head, uint64(s.packed))
	from := headRoom - len(head)
	copy(s.buf[from:], head)
	return s.buf[from:]
}

// appendUint leaves out zero, as proto3 does.
func appendUint(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, tag), v)
}

// Batch is one batch as it was read: verified, unpacked.
type Batch struct {
	// Base is the offset of its first record.
	Base int64
	// Count is how many records it has.
	Count int
	// Time is that of records that have none of their own, in nanoseconds
	// since 1970 UTC.
	Time int64
	// Raw is the run of records; messages.ConsumeRecord reads it. It is shared
	// with other readers: not to be changed.
	Raw []byte
	// Producer and Sequence say whose batch it is, as its entry does; OpenBody leaves
	// them out.
	Producer, Sequence uint64
}

// End is the offset after the last record.
func (b *Batch) End() int64 { return b.Base + int64(b.Count) }

// Entry is what distinguishes b from every other batch: the rest of it is left out.
func (b *Batch) Entry() Entry {
	return Entry{Base: b.Base, Count: b.Count, Producer: b.Producer, Sequence: b.Sequence}
}

// OpenBody reads what stands in etcd as the batch at base. body may be anything:
// sizes are checked before anything is allocated, then the checksum, and
// that the records are as many as it says. The batch may alias body. An error
// wraps messages.ErrCorrupt and says what is wrong.
func OpenBody(base int64, body []byte) (*Batch, error) {
	h, err := parseBody(body)
	if err != nil {
		return nil, err
	}
	switch {
	case h.base != uint64(base):
		return nil, corruptBody("it is the batch of offset %d", h.base)
	case h.count < 1 || h.count > messages.MaxBatchRecords:
		return nil, corruptBody("it says that it has %d records", h.count)
	case h.rawBytes > MaxRaw:
		return nil, corruptBody("it says that it has %d bytes of records", h.rawBytes)
	}
	crc := crc32.Update(crc32.Checksum(h.packed, castagnoli), castagnoli, h.sealed)
	if crc != h.crc {
		return nil, corruptBody("its checksum is %08x, and should be %08x", crc, h.crc)
	}
	raw, err := unpack(h.packed, h.compression, int(h.rawBytes))
	if err != nil {
		return nil, err
	}
	n, err := messages.CountRecords(raw)
	if err != nil {
		return nil, err
	}
	if uint64(n) != h.count {
		return nil, corruptBody("it has %d records, and should have %d", n, h.count)
	}
	return &Batch{Base: base, Count: n, Time: h.time, Raw: raw}, nil
}

func corruptBody(format string, args ...any) error {
	return fmt.Errorf("batch: "+format+": %w", append(args, messages.ErrCorrupt)...)
}

// body is a batch taken apart. Its slices alias what it was read from.
type body struct {
	base, count, rawBytes uint64
	compression           pb.Compression
	time                  int64
	crc                   uint32
	sealed                []byte // what the checksum covers beside the records
	packed                []byte
}

// parseBody takes a body apart: what the checksum covers, the checksum, the
// records, and nothing after them. Fields it does not know are skipped, but only
// where the checksum covers them.
func parseBody(b []byte) (body, error) {
	var h body
	at := 0
	for at < len(b) && b[at] != tagCRC {
		num, typ, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return body{}, corruptBody("its head does not decode, at byte %d", at)
		}
		m := protowire.ConsumeFieldValue(num, typ, b[at+n:])
		if m < 0 {
			return body{}, corruptBody("its head does not decode, at byte %d", at)
		}
		value := b[at+n : at+n+m]
		switch num<<3 | protowire.Number(typ) {
		case protowire.Number(tagBase):
			h.base, _ = protowire.ConsumeVarint(value)
		case protowire.Number(tagCount):
			h.count, _ = protowire.ConsumeVarint(value)
		case protowire.Number(tagCompression):
			c, _ := protowire.ConsumeVarint(value)
			h.compression = pb.Compression(c)
		case protowire.Number(tagRawBytes):
			h.rawBytes, _ = protowire.ConsumeVarint(value)
		case protowire.Number(tagTime):
			t, _ := protowire.ConsumeFixed64(value)
			h.time = int64(t)
		}
		at += n + m
	}
	h.sealed = b[:at]
	rest := b[at:]
	if len(rest) < 5 {
		return body{}, corruptBody("it has no checksum")
	}
	h.crc, _ = protowire.ConsumeFixed32(rest[1:])
	rest = rest[5:]
	if len(rest) == 0 || rest[0] != tagRecords {
		return body{}, corruptBody("it has no records")
	}
	packed, n := protowire.ConsumeBytes(rest[1:])
	if n < 0 {
		return body{}, corruptBody("its records are cut short")
	}
	if 1+n != len(rest) {
		return body{}, corruptBody("there are %d bytes after its records", len(rest)-1-n)
	}
	h.packed = packed
	return h, nil
}
