package format

// Packing and unpacking the records of a batch.

import (
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// pack returns how raw is packed, and raw packed behind headRoom bytes for the
// head.
func pack(raw []byte, c messages.Compression) (pb.Compression, []byte) {
	if len(raw) < smallest || c == messages.CompressNone || hopeless(raw) {
		return pb.Compression_NONE, store(raw)
	}
	// S2 writes nothing when there is too little room for the worst case.
	buf := spares.get(headRoom + s2.MaxEncodedLen(len(raw)))
	how, packed := pb.Compression_S2, buf[headRoom:]
	if c == messages.CompressZstd {
		how, packed = pb.Compression_ZSTD, zstdEncoder().EncodeAll(raw, packed[:0])
	} else {
		packed = s2.Encode(packed, raw)
	}
	switch {
	case len(packed) >= len(raw):
		spares.put(buf)
		return pb.Compression_NONE, store(raw)
	case cap(buf) > fair(len(raw)):
		stored := store(packed)
		spares.put(buf)
		return how, stored
	}
	return how, buf[:headRoom+len(packed)]
}

// store copies a batch's records, packed or not, behind headRoom bytes.
func store(records []byte) []byte {
	n := headRoom + len(records)
	var buf []byte
	if fullBuffer <= fair(n) {
		buf = spares.get(n)
	} else {
		buf = make([]byte, n)
	}
	copy(buf[headRoom:], records)
	return buf
}

// fair is the most memory that so many bytes may take: a batch may wait long.
func fair(n int) int { return n + n/8 }

// spares are buffers for full batches to be packed into: new memory for each
// would take longer than the packing.
var spares = freeBuffers{sync.Pool{New: func() any { return new([fullBuffer]byte) }}}

// freeBuffers keeps buffers that fit a full batch, as *[fullBuffer]byte.
type freeBuffers struct{ pool sync.Pool }

const (
	// fullBuffer is what a full batch takes, before and after packing.
	fullBuffer = headRoom + messages.MaxBatchBytes + 1<<10
	// leastSpare is the size below which a buffer of its own costs less.
	leastSpare = fullBuffer / 8
)

// get returns a buffer of size bytes, of any content.
func (f *freeBuffers) get(size int) []byte {
	if size < leastSpare || size > fullBuffer {
		return make([]byte, size)
	}
	return f.pool.Get().(*[fullBuffer]byte)[:size]
}

// put gives back a buffer that nobody uses any more.
func (f *freeBuffers) put(buf []byte) {
	if cap(buf) == fullBuffer {
		f.pool.Put((*[fullBuffer]byte)(buf[:fullBuffer]))
	}
}

const (
	// smallest is the size below which packing is not worth it.
	smallest = 64
	// samples of sampleSize are looked at before a large batch is packed.
	samples, sampleSize = 4, 4 << 10
)

// hopeless reports whether packing raw would not make it smaller, judged by a few
// samples of it: random bytes are copied, not packed and then copied.
func hopeless(raw []byte) bool {
	if len(raw) < 4*samples*sampleSize {
		return false
	}
	step := (len(raw) - sampleSize) / (samples - 1)
	for i := range samples {
		if s2.EstimateBlockSize(raw[i*step:][:sampleSize]) >= 0 {
			return false
		}
	}
	return true
}

// unpack returns the records as they were before pack, of which there must be
// size bytes; no more are allocated. It may alias packed.
func unpack(packed []byte, c pb.Compression, size int) ([]byte, error) {
	switch c {
	case pb.Compression_NONE:
		if len(packed) != size {
			return nil, corruptBody("it has %d bytes of records, and should have %d", len(packed), size)
		}
		return packed, nil
	case pb.Compression_S2:
		n, err := s2.DecodedLen(packed)
		if err != nil {
			return nil, corruptBody("its records do not unpack: %w", err)
		}
		if n != size {
			return nil, corruptBody("it unpacks to %d bytes of records, and should to %d", n, size)
		}
		raw, err := s2.Decode(make([]byte, size), packed)
		if err != nil {
			return nil, corruptBody("its records do not unpack: %w", err)
		}
		return raw, nil
	case pb.Compression_ZSTD:
		raw, err := zstdDecoder().DecodeAll(packed, make([]byte, 0, size))
		if err != nil {
			return nil, corruptBody("its records do not unpack: %w", err)
		}
		if len(raw) != size {
			return nil, corruptBody("it unpacks to %d bytes of records, and should to %d", len(raw), size)
		}
		return raw, nil
	default:
		return nil, corruptBody("its compression %d is not known", c)
	}
}

// The coders of Zstandard are for all goroutines, and have a pool inside.

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecoderMaxWindow(2<<20), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})
