package archive

// Blocks: the frame around everything in a file.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/penstock-io/penstock/messages"
)

// magic is how a file begins, up to its version.
const (
	magic   = "penstock topic archive "
	version = 1
)

// kind is what a block has.
type kind byte

const (
	kindHeader  kind = 'H'
	kindRecords kind = 'R'
	kindEnd     kind = 'E'
)

const (
	// blockBytes is how large the contents of a block of records get before they are
	// written.
	blockBytes = 256 << 10
	// maxRaw is how large the contents of a block can be: what is in a block that is not
	// full, and the largest record.
	maxRaw = blockBytes + messages.MaxRecordBytes + 4<<10
	// maxPacked bounds the same when packed, of what packing makes larger.
	maxPacked = maxRaw + maxRaw/128 + 1<<10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// packer packs one block after the other.
type packer struct {
	enc *zstd.Encoder
	out []byte
}

func newPacker() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	return &packer{enc: enc}, nil
}

// block is the bytes of a block, valid until the next call.
func (p *packer) block(k kind, raw []byte) []byte {
	packed := p.enc.EncodeAll(raw, nil)
	b := append(p.out[:0], byte(k))
	b = binary.AppendUvarint(b, uint64(len(raw)))
	b = binary.AppendUvarint(b, uint64(len(packed)))
	b = append(b, packed...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	p.out = b
	return b
}

// unpacker reads one block after the other.
type unpacker struct {
	in  *bufio.Reader
	at  int64 // in the file, of the next block
	dec *zstd.Decoder
	buf []byte // a block as it stands in the file
}

func newUnpacker(in io.Reader) (*unpacker, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxRaw))
	if err != nil {
		return nil, err
	}
	return &unpacker{in: bufio.NewReaderSize(in, 64<<10), dec: dec}, nil
}

func (u *unpacker) corrupt(format string, args ...any) error {
	return fmt.Errorf("archive, at byte %d: "+format+": %w", append(append([]any{u.at}, args...), messages.ErrCorrupt)...)
}

// cut is the error of a file that ends in the middle.
func (u *unpacker) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return u.corrupt("the file is cut short")
	}
	return fmt.Errorf("archive, at byte %d: %w", u.at, err)
}

// begin reads the line before the blocks.
func (u *unpacker) begin() error {
	line, err := u.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return u.corrupt("it is no archive of a topic")
	case err != nil:
		return u.cut(err)
	}
	var v int
	if n, err := fmt.Sscanf(string(line[:min(len(line), 64)]), magic+"%d\n", &v); n != 1 || err != nil {
		return u.corrupt("it is no archive of a topic")
	}
	if v != version {
		return fmt.Errorf("archive of version %d, and this program reads version %d: %w", v, version, messages.ErrInvalid)
	}
	u.at = int64(len(line))
	return nil
}

// next reads a block. raw is the caller's. io.EOF is the end of the file where a block
// would begin.
func (u *unpacker) next() (k kind, raw []byte, err error) {
	b, err := u.in.ReadByte()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, u.cut(err)
	}
	head := []byte{b}
	rawSize, head, err := u.uvarint(head)
	if err != nil {
		return 0, nil, err
	}
	size, head, err := u.uvarint(head)
	if err != nil {
		return 0, nil, err
	}
	if rawSize > maxRaw || size > maxPacked {
		return 0, nil, u.corrupt("a block of %d bytes, %d packed, is larger than any", rawSize, size)
	}
	if need := int(size) + 4; cap(u.buf) < need {
		u.buf = make([]byte, need)
	}
	buf := u.buf[:size+4]
	if _, err := io.ReadFull(u.in, buf); err != nil {
		return 0, nil, u.cut(err)
	}
	packed := buf[:size]
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, packed)
	if want := binary.LittleEndian.Uint32(buf[size:]); sum != want {
		return 0, nil, u.corrupt("its checksum is %08x, and should be %08x", sum, want)
	}
	raw, err = u.dec.DecodeAll(packed, make([]byte, 0, rawSize))
	if err != nil || uint64(len(raw)) != rawSize {
		return 0, nil, u.corrupt("a block does not unpack to its %d bytes: %v", rawSize, err)
	}
	u.at += int64(len(head)) + int64(size) + 4
	return kind(b), raw, nil
}

func (u *unpacker) uvarint(head []byte) (v uint64, more []byte, err error) {
	for i := range binary.MaxVarintLen32 {
		b, err := u.in.ReadByte()
		if err != nil {
			return 0, nil, u.cut(err)
		}
		head = append(head, b)
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, head, nil
		}
	}
	return 0, nil, u.corrupt("a size does not decode")
}
