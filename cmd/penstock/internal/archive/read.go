package archive

// Reading a file, and finding out how much of one is good.

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"github.com/penstock-io/penstock/messages"
)

// Reader reads a file. One goroutine uses it.
type Reader struct {
	u      *unpacker
	header Header
	// partition and next are where the records are that come next, at the earliest.
	partition int
	next      int64
	records   int64
	over      bool
}

// NewReader reads the beginning of a file.
func NewReader(in io.Reader) (*Reader, error) {
	u, err := newUnpacker(in)
	if err != nil {
		return nil, err
	}
	if err := u.begin(); err != nil {
		return nil, err
	}
	k, raw, err := u.next()
	if errors.Is(err, io.EOF) {
		err = u.cut(err)
	}
	if err != nil {
		return nil, err
	}
	r := &Reader{u: u}
	if k != kindHeader {
		return nil, u.corrupt("it does not begin with a header")
	}
	if err := json.Unmarshal(raw, &r.header); err != nil {
		return nil, u.corrupt("its header does not decode: %v", err)
	}
	if err := r.header.check(); err != nil {
		return nil, u.corrupt("its header does not make sense: %v", err)
	}
	return r, nil
}

// Header says what the file is of.
func (r *Reader) Header() Header { return r.header }

// Records is how many records were read.
func (r *Reader) Records() int64 { return r.records }

// At is where the next block begins, in bytes.
func (r *Reader) At() int64 { return r.u.at }

// Next hands the records of the next block to each, in their order. Their bytes may be
// kept. It returns io.EOF behind the last block, and each's error.
func (r *Reader) Next(each func(partition int, offset int64, p messages.Payload) error) error {
	if r.over {
		return io.EOF
	}
	k, raw, err := r.u.next()
	if errors.Is(err, io.EOF) {
		return r.u.cut(err)
	}
	if err != nil {
		return err
	}
	switch k {
	case kindRecords:
		return r.block(raw, each)
	case kindEnd:
		var e end
		if err := json.Unmarshal(raw, &e); err != nil || e.Records != r.records {
			return r.u.corrupt("its end says %d records, and there are %d: %v", e.Records, r.records, err)
		}
		if _, err := r.u.in.ReadByte(); !errors.Is(err, io.EOF) {
			return r.u.corrupt("there is something behind its end")
		}
		r.over = true
		return io.EOF
	}
	return r.u.corrupt("a block of the unknown kind %q", byte(k))
}

func (r *Reader) block(raw []byte, each func(partition int, offset int64, p messages.Payload) error) error {
	var head [3]uint64
	for i := range head {
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			return r.u.corrupt("a block of records does not decode")
		}
		head[i], raw = v, raw[n:]
	}
	if head[0] >= uint64(len(r.header.Partitions)) || head[0] < uint64(r.partition) {
		return r.u.corrupt("records of partition %d, behind those of %d", head[0], r.partition)
	}
	p := int(head[0])
	within := r.header.Partitions[p]
	if p != r.partition {
		r.partition, r.next = p, 0
	}
	offset := head[1]
	if offset < uint64(max(r.next, within.Start)) || offset > uint64(within.End) {
		return r.u.corrupt("partition %d: offset %d is not where it should be", p, offset)
	}
	for i := range head[2] {
		gap, n := binary.Uvarint(raw)
		if n <= 0 || gap > uint64(within.End) || i == 0 && gap != 0 {
			return r.u.corrupt("partition %d, behind offset %d: a record does not decode", p, offset)
		}
		offset += gap
		if offset >= uint64(within.End) {
			return r.u.corrupt("partition %d: offset %d is beyond its end", p, offset)
		}
		raw = raw[n:]
		var rec messages.Payload
		size, err := messages.ConsumeRecord(raw, &rec)
		if err != nil {
			return r.u.corrupt("partition %d, offset %d: %v", p, offset, err)
		}
		raw = raw[size:]
		r.next, r.records = int64(offset)+1, r.records+1
		if err := each(p, int64(offset), rec); err != nil {
			return err
		}
		offset++
	}
	if len(raw) > 0 {
		return r.u.corrupt("partition %d: there are %d bytes behind the records of a block", p, len(raw))
	}
	return nil
}

// State is how far a file is.
type State struct {
	Header Header
	// Size is the bytes of its whole blocks: what lies behind is to be cut off.
	Size int64
	// Records are in these; the next one is of Partition, not before Offset.
	Records   int64
	Partition int
	Offset    int64
	// Whole reports whether the file has its end.
	Whole bool
}

// Scan reads a file as far as it is good. The error is that of a file whose header is not.
func Scan(in io.Reader) (State, error) {
	r, err := NewReader(in)
	if err != nil {
		return State{}, err
	}
	s := State{Header: r.header, Size: r.u.at}
	for {
		err := r.Next(func(int, int64, messages.Payload) error { return nil })
		if errors.Is(err, io.EOF) {
			s.Whole, s.Size = true, r.u.at
			return s, nil
		}
		if errors.Is(err, messages.ErrCorrupt) {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		s.Size, s.Records, s.Partition, s.Offset = r.u.at, r.records, r.partition, r.next
	}
}
