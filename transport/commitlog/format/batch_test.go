package format

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// records encodes values as a run of records.
func records(values ...string) []byte {
	var raw []byte
	for _, v := range values {
		raw = messages.AppendRecord(raw, &messages.Message{Value: []byte(v)})
	}
	return raw
}

// noise is a run of n records of random bytes.
func noise(n, size int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	value := make([]byte, size)
	var raw []byte
	for range n {
		r.Read(value)
		raw = messages.AppendRecord(raw, &messages.Message{Value: value})
	}
	return raw
}

var choices = []messages.Compression{messages.CompressS2, messages.CompressZstd, messages.CompressNone}

func TestBatchIsReadAsItWasSealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.StringN(0, 40, -1), 1, 50).Draw(t, "values")
		if rapid.Bool().Draw(t, "long") {
			values = append(values, strings.Repeat(values[0]+"x", 500))
		}
		c := rapid.SampledFrom(choices).Draw(t, "compression")
		now := rapid.Int64().Draw(t, "now")
		raw := records(values...)
		s := Seal(raw, len(values), 1, 2, now, c, 3, 4)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		// Put elsewhere again and again, as a batch that loses races is.
		for _, base := range rapid.SliceOfN(rapid.Int64Range(0, math.MaxInt64/2), 1, 4).Draw(t, "bases") {
			body := bytes.Clone(s.Body(base))
			if d := len(body) - s.Bytes(); d < -headRoom/2 || d > headRoom/2 {
				t.Fatalf("Bytes is %d, the body has %d", s.Bytes(), len(body))
			}
			b, err := OpenBody(base, body)
			if err != nil {
				t.Fatal(err)
			}
			if b.Base != base || b.Count != len(values) || b.Time != now || !bytes.Equal(b.Raw, raw) || b.End() != base+int64(len(values)) {
				t.Fatalf("sealed %q at %d (%d), opened %+v", raw, base, now, b)
			}
			if _, err := OpenBody(base+1, body); !errors.Is(err, messages.ErrCorrupt) {
				t.Fatalf("the batch of another base: %v", err)
			}
			sameAsGenerated(t, s, base, body)
		}
	})
}

// sameAsGenerated holds body against the generated code.
func sameAsGenerated(t *rapid.T, s *Sealed, base int64, body []byte) {
	var v pb.Body
	if err := proto.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	if v.GetBase() != uint64(base) || v.GetCount() != uint32(s.Count) || v.GetTimeUnixNano() != s.Time ||
		v.GetCompression() != s.compression || v.GetRawBytes() != uint32(s.Raw) || !bytes.Equal(v.GetRecords(), s.buf[headRoom:]) {
		t.Fatalf("generated code reads %v", &v)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	if v.GetCrc() != 0 && !bytes.Equal(again, body) {
		t.Fatalf("generated code writes %x, we %x", again, body)
	}
	head := &pb.Body{Base: v.Base, Count: v.Count, Compression: v.Compression, RawBytes: v.RawBytes, TimeUnixNano: v.TimeUnixNano}
	fields, err := proto.MarshalOptions{Deterministic: true}.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	if crc := crc32.Checksum(append(bytes.Clone(v.GetRecords()), fields...), castagnoli); crc != v.GetCrc() {
		t.Fatalf("checksum %08x, as defined %08x", v.GetCrc(), crc)
	}
}

func TestBatchIsPackedWhenThatHelps(t *testing.T) {
	text := records(strings.Repeat("all work and no play ", 5000))
	random := noise(400, 1000)
	for _, test := range []struct {
		name string
		raw  []byte
		c    messages.Compression
		want pb.Compression
	}{
		{"text s2", text, messages.CompressS2, pb.Compression_S2},
		{"text zstd", text, messages.CompressZstd, pb.Compression_ZSTD},
		{"text none", text, messages.CompressNone, pb.Compression_NONE},
		{"short", records("aaaaaaaaaaaaa"), messages.CompressZstd, pb.Compression_NONE},
		{"random s2", random, messages.CompressS2, pb.Compression_NONE},
		{"random zstd", random, messages.CompressZstd, pb.Compression_NONE},
		{"short random s2", random[:2003], messages.CompressS2, pb.Compression_NONE},
		{"short random zstd", random[:2003], messages.CompressZstd, pb.Compression_NONE},
		// What is looked at of it first must not be what does not pack.
		{"half random", append(bytes.Clone(random), text...), messages.CompressS2, pb.Compression_S2},
		{"empty choice", text, "", pb.Compression_S2},
	} {
		s := Seal(test.raw, 1, 0, 0, 0, test.c, 0, 0)
		if s.compression != test.want {
			t.Errorf("%s: packed with %v, want %v", test.name, s.compression, test.want)
		}
		if packed := len(s.buf) - headRoom; packed > len(test.raw) {
			t.Errorf("%s: %d bytes were packed to %d", test.name, len(test.raw), packed)
		}
	}
}

// A sealed batch may wait long: it takes no more memory than its records did,
// and leaves those alone. What readers got of it outlives it.
func TestSealedTakesWhatItsRecordsDid(t *testing.T) {
	text := records(strings.Repeat("all work and no play ", messages.MaxBatchBytes/20))
	for _, size := range []int{0, 1, 100, 5000, 60 << 10, 80 << 10, 300 << 10, 450 << 10, messages.MaxBatchBytes} {
		for _, raw := range [][]byte{noise(1, messages.MaxBatchBytes)[:size], text[:size]} {
			for _, c := range choices {
				s := Seal(raw, 1, 0, 0, 0, c, 0, 0)
				if most := fair(size + 2*headRoom); cap(s.buf) > most {
					t.Errorf("%s: %d bytes are kept in %d, want at most %d", c, size, cap(s.buf), most)
				}
				b, err := s.Batch(0)
				if err != nil {
					t.Fatal(err)
				}
				s.Free()
				again := Seal(make([]byte, size), 1, 0, 0, 0, messages.CompressNone, 0, 0)
				if !bytes.Equal(b.Raw, raw) {
					t.Errorf("%s: a batch of %d bytes was written over", c, size)
				}
				again.Free()
			}
		}
	}
}

func TestSealRefusesWhatReadersWould(t *testing.T) {
	for name, s := range map[string]*Sealed{
		"empty":    Seal(nil, 0, 0, 0, 0, messages.CompressS2, 0, 0),
		"many":     Seal(nil, messages.MaxBatchRecords+1, 0, 0, 0, messages.CompressS2, 0, 0),
		"negative": Seal(nil, -1, 0, 0, 0, messages.CompressS2, 0, 0),
		"large":    Seal(make([]byte, MaxRaw+1), 1, 0, 0, 0, messages.CompressS2, 0, 0),
	} {
		if err := s.Check(); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	largest := Seal(make([]byte, MaxRaw), messages.MaxBatchRecords, 0, 0, 0, messages.CompressS2, 0, 0)
	if err := largest.Check(); err != nil {
		t.Error(err)
	}
}

// The head is written into the room before the records, whatever is in it.
func TestLargestHeadHasRoom(t *testing.T) {
	raw := noise(1, 10)
	s := Seal(raw, messages.MaxBatchRecords, 0, 0, -1, messages.CompressNone, 0, 0)
	s.buf, s.packed, s.compression = make([]byte, headRoom+MaxRaw), MaxRaw, pb.Compression_ZSTD
	s.Raw = MaxRaw
	before := bytes.Clone(s.buf[headRoom:])
	body := s.Body(math.MaxInt64)
	if head := len(body) - MaxRaw; head > headRoom-8 || !bytes.Equal(before, s.buf[headRoom:]) {
		t.Errorf("a head of %d bytes", head)
	}
}

// forge is a body with a right checksum, so that what is behind it is reached.
func forge(v *pb.Body) []byte {
	fields, _ := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.Body{
		Base: v.Base, Count: v.Count, Compression: v.Compression, RawBytes: v.RawBytes, TimeUnixNano: v.TimeUnixNano,
	})
	crc := crc32.Update(crc32.Checksum(v.Records, castagnoli), castagnoli, fields)
	b := protowire.AppendFixed32(append(fields, tagCRC), crc)
	return protowire.AppendBytes(append(b, tagRecords), v.Records)
}

func TestDamagedBatchesAreRefused(t *testing.T) {
	raw := records("one", "two")
	packedText := func(c messages.Compression) []byte {
		_, buf := pack(records(strings.Repeat("text", 1000)), c)
		return buf[headRoom:]
	}
	bomb := packedText(messages.CompressZstd)
	good := forge(&pb.Body{Base: 7, Count: 2, RawBytes: uint32(len(raw)), Records: raw})
	if _, err := OpenBody(7, good); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, says string
		body       []byte
	}{
		{"nothing", "no checksum", nil},
		{"of another base", "batch of offset 8", forge(&pb.Body{Base: 8, Count: 2, RawBytes: uint32(len(raw)), Records: raw})},
		{"no count", "has 0 records", forge(&pb.Body{Base: 7, RawBytes: uint32(len(raw)), Records: raw})},
		{"a count too large", "has 16385 records", forge(&pb.Body{Base: 7, Count: messages.MaxBatchRecords + 1, RawBytes: uint32(len(raw)), Records: raw})},
		{"a wrong count", "has 2 records, and should have 3", forge(&pb.Body{Base: 7, Count: 3, RawBytes: uint32(len(raw)), Records: raw})},
		{"huge claims", "4294967295 bytes of records", forge(&pb.Body{Base: 7, Count: 2, RawBytes: math.MaxUint32, Records: raw})},
		{"a wrong size", "should have 3", forge(&pb.Body{Base: 7, Count: 2, RawBytes: 3, Records: raw})},
		{"unknown compression", "compression 9", forge(&pb.Body{Base: 7, Count: 2, RawBytes: 3, Compression: 9, Records: raw})},
		{"no S2", "do not unpack", forge(&pb.Body{Base: 7, Count: 2, RawBytes: 3, Compression: pb.Compression_S2, Records: []byte{3, 0xff, 0xff}})},
		{"S2 of another size", "should to 3", forge(&pb.Body{Base: 7, Count: 1, RawBytes: 3, Compression: pb.Compression_S2, Records: packedText(messages.CompressS2)})},
		{"S2 of a huge size", "do not unpack", forge(&pb.Body{Base: 7, Count: 1, RawBytes: 3, Compression: pb.Compression_S2, Records: bytes.Repeat([]byte{0xff}, 20)})},
		{"no zstd", "do not unpack", forge(&pb.Body{Base: 7, Count: 2, RawBytes: 3, Compression: pb.Compression_ZSTD, Records: raw})},
		{"zstd of a larger size", "do not unpack", forge(&pb.Body{Base: 7, Count: 1, RawBytes: 3, Compression: pb.Compression_ZSTD, Records: bomb})},
		{"zstd of a smaller size", "should to 9999", forge(&pb.Body{Base: 7, Count: 1, RawBytes: 9999, Compression: pb.Compression_ZSTD, Records: bomb})},
		{"no records inside", "not a record", forge(&pb.Body{Base: 7, Count: 1, RawBytes: 3, Records: []byte("abc")})},
		{"bytes at the end", "after its records", append(bytes.Clone(good), 0)},
		{"cut short", "cut short", good[:len(good)-1]},
		{"head only", "no records", good[:len(good)-len(raw)-2]},
		{"head damaged", "does not decode", append([]byte{0xff}, good...)},
	} {
		_, err := OpenBody(7, test.body)
		if !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want it to say %q", test.name, err, test.says)
		}
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := OpenBody(7, bad); !errors.Is(err, messages.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
}

// A field that comes later in the format's life does not hide the rest.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	raw := records("one")
	fields, _ := proto.Marshal(&pb.Body{Base: 7, Count: 1, RawBytes: uint32(len(raw))})
	fields = protowire.AppendBytes(protowire.AppendTag(fields, 100, protowire.BytesType), []byte("new"))
	crc := crc32.Update(crc32.Checksum(raw, castagnoli), castagnoli, fields)
	b := protowire.AppendFixed32(append(fields, tagCRC), crc)
	b = protowire.AppendBytes(append(b, tagRecords), raw)
	if got, err := OpenBody(7, b); err != nil || !bytes.Equal(got.Raw, raw) {
		t.Error(got, err)
	}
}

func FuzzOpenBody(f *testing.F) {
	raw := records("one", "two")
	f.Add(int64(7), forge(&pb.Body{Base: 7, Count: 2, RawBytes: uint32(len(raw)), Records: raw}))
	for _, c := range choices {
		s := Seal(records(strings.Repeat("text", 100)), 1, 1, 1, time.Now().UnixNano(), c, 1, 1)
		f.Add(int64(3), bytes.Clone(s.Body(3)))
	}
	f.Fuzz(func(t *testing.T, base int64, body []byte) {
		b, err := OpenBody(base, body)
		if err == nil {
			if n, err := messages.CountRecords(b.Raw); n != b.Count || err != nil || b.Base != base || len(b.Raw) > MaxRaw {
				t.Fatalf("%+v: %d records, %v", b, n, err)
			}
		} else if !errors.Is(err, messages.ErrCorrupt) {
			t.Fatal(err)
		}
		// Past the checksum too.
		h, err := parseBody(body)
		if err != nil {
			return
		}
		if raw, err := unpack(h.packed, h.compression, int(min(h.rawBytes, MaxRaw))); err == nil && len(raw) > MaxRaw {
			t.Fatal(len(raw))
		} else if err != nil && !errors.Is(err, messages.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for name, raw := range map[string][]byte{"random": noise(500, 1020), "text": records(strings.Repeat("all work and no play ", 25000))} {
		for _, c := range choices {
			b.Run(name+"/"+string(c), func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					Seal(raw, 500, 0, 0, 0, c, 1, 1).Free()
				}
			})
		}
	}
}

func BenchmarkOpenBody(b *testing.B) {
	raw := noise(8000, 62)
	s := Seal(raw, 8000, 0, 0, 0, messages.CompressS2, 1, 1)
	body := s.Body(1)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := OpenBody(1, body); err != nil {
			b.Fatal(err)
		}
	}
}
