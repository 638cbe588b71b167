package messages

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages/pb"
)

// The judge of every test here is the generated codec of pb/record.proto.

func TestAppendRecordWritesWhatProtobufWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msgs := rapid.SliceOfN(genMessage(), 0, 4).Draw(t, "messages")
		want := &pb.Batch{}
		var got []byte
		for i := range msgs {
			want.Records = append(want.Records, generatedRecord(&msgs[i]))
			before := len(got)
			got = AppendRecord(got, &msgs[i])
			if size := RecordSize(&msgs[i]); size != len(got)-before {
				t.Fatalf("RecordSize %d, AppendRecord added %d", size, len(got)-before)
			}
		}
		wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, wire) {
			t.Fatalf("wrote\n%x, protobuf\n%x", got, wire)
		}
		if n, err := CountRecords(got); n != len(msgs) || err != nil {
			t.Fatalf("CountRecords: %d, %v, want %d", n, err, len(msgs))
		}
	})
}

func TestConsumeRecordReadsWhatAppendRecordWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msgs := rapid.SliceOfN(genMessage(), 1, 4).Draw(t, "messages")
		var batch []byte
		for i := range msgs {
			batch = AppendRecord(batch, &msgs[i])
		}
		for i := range msgs {
			var r Payload
			n, err := ConsumeRecord(batch, &r)
			if err != nil || n != RecordSize(&msgs[i]) {
				t.Fatalf("record %d: took %d of %d: %v", i, n, RecordSize(&msgs[i]), err)
			}
			assertSameMessage(t, msgs[i], received(r))
			assertSameMessage(t, msgs[i], received(r.Clone()))
			direct := PayloadOf(&msgs[i])
			assertSameMessage(t, msgs[i], received(direct))
			if r.HeaderCount() != len(msgs[i].Headers) {
				t.Fatalf("HeaderCount %d, want %d", r.HeaderCount(), len(msgs[i].Headers))
			}
			for _, h := range msgs[i].Headers {
				first := slices.IndexFunc(msgs[i].Headers, func(o Header) bool { return o.Name == h.Name })
				v, ok := r.Header(h.Name)
				if !ok || !bytes.Equal(v, msgs[i].Headers[first].Value) {
					t.Fatalf("Header(%q) = %x, %v", h.Name, v, ok)
				}
			}
			batch = batch[n:]
		}
		if len(batch) != 0 {
			t.Fatalf("%d bytes over", len(batch))
		}
	})
}

// Records put together from fields in any order, repeated, unknown, of the
// wrong type and damaged: both codecs take or refuse the same, and read the
// same.
func TestConsumeRecordAgreesOnHostileRecords(t *testing.T) {
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		body := genHostile(2).Draw(t, "body")
		if checkAgainstGenerated(t, body) {
			accepted++
		} else {
			refused++
		}
	})
	if accepted == 0 || refused == 0 {
		t.Errorf("one-sided inputs: %d accepted, %d refused", accepted, refused)
	}
}

func TestConsumeRecordTable(t *testing.T) {
	long := bytes.Repeat([]byte("v"), 300)
	header := func(name, value string) []byte {
		var b []byte
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, name)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		return protowire.AppendString(b, value)
	}
	bytesField := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	tooBig := append(protowire.AppendVarint(nil, 1<<32), 0)
	interleaved := bytesField(nil, 3, header("a", "1"))
	interleaved = bytesField(interleaved, 1, []byte("k1"))
	interleaved = bytesField(interleaved, 3, header("b", "2"))
	interleaved = bytesField(interleaved, 1, []byte("k2"))
	interleaved = protowire.AppendVarint(protowire.AppendTag(interleaved, 15, protowire.VarintType), 7)
	interleaved = bytesField(interleaved, 3, append(header("x", "0"), header("a", "3")...))
	interleaved = bytesField(interleaved, 2, []byte("v"))
	tombstones := protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 0)
	tombstones = protowire.AppendVarint(protowire.AppendTag(bytesField(tombstones, 1, []byte("k")), 9, protowire.VarintType), 1)

	// A record of 2306 bytes: the second byte of its length is tagValue, and its
	// first field, number 16, begins where a short value has its length.
	lookalike := []byte{tagRecord, 0x82, tagValue, 0x80, 0x01, 7}
	lookalike = bytesField(lookalike, 2, bytes.Repeat([]byte("v"), 2300))

	tests := []struct {
		name    string
		in      []byte
		want    string // key|value|headers
		n       int
		corrupt bool
	}{
		{name: "empty input", corrupt: true},
		{name: "tag alone", in: []byte{tagRecord}, corrupt: true},
		{name: "empty record", in: []byte{tagRecord, 0}, want: "||", n: 2},
		{name: "empty value spelled out", in: []byte{tagRecord, 2, tagValue, 0}, want: "||", n: 4},
		{name: "another field", in: []byte{0x0a, 0}, corrupt: true},
		{name: "the right field, wrong type", in: []byte{0x10, 0}, corrupt: true},
		{name: "short value", in: []byte{tagRecord, 3, tagValue, 1, 'v', 'x'}, want: "|v|", n: 5},
		{name: "value longer than its record", in: []byte{tagRecord, 3, tagValue, 2, 'v', 'x'}, corrupt: true},
		{name: "value shorter than its record", in: []byte{tagRecord, 5, tagValue, 1, 'v', tagKey, 0}, want: "|v|", n: 7},
		{name: "value twice", in: []byte{tagRecord, 6, tagValue, 1, 'v', tagValue, 1, 'w'}, want: "|w|", n: 8},
		{name: "record cut short", in: []byte{tagRecord, 4, tagValue, 2, 'v'}, corrupt: true},
		{name: "long value", in: bytesField(nil, 2, bytesField(nil, 2, long)), want: "|" + string(long) + "|", n: 306},
		{name: "length of 2^63", in: []byte{tagRecord, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, corrupt: true},
		{name: "overlong length", in: []byte{tagRecord, 0x83, 0x00, tagValue, 1, 'v'}, want: "|v|", n: 6},
		{name: "looks like a short value", in: lookalike, want: "|" + strings.Repeat("v", 2300) + "|", n: 2309},
		{name: "field number 2^29", in: bytesField(nil, 2, tooBig), corrupt: true},
		{name: "field number 0", in: []byte{tagRecord, 2, 0, 0}, corrupt: true},
		{name: "end of a group never begun", in: []byte{tagRecord, 1, 0x4c}, corrupt: true},
		{name: "header that does not decode", in: bytesField(nil, 2, bytesField(nil, 3, []byte{0x0a, 9})), corrupt: true},
		{name: "tombstone twice", in: bytesField(nil, 2, tombstones), want: "k||deleted", n: len(tombstones) + 2},
		{name: "interleaved", in: bytesField(nil, 2, interleaved), want: "k2|v|a=1 b=2 a=3", n: len(interleaved) + 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Payload{Key: []byte("left over"), UnixNano: 1}
			n, err := ConsumeRecord(tt.in, &r)
			if tt.corrupt {
				if !errors.Is(err, ErrCorrupt) || n != 0 {
					t.Fatalf("took %d, %v", n, err)
				}
				if r.Key != nil || r.Value != nil || r.UnixNano != 0 || r.headers != nil {
					t.Fatalf("left %+v behind", r)
				}
				return
			}
			if err != nil || n != tt.n {
				t.Fatalf("took %d, %v, want %d", n, err, tt.n)
			}
			if got := spell(r); got != tt.want {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
			if got := spell(r.Clone()); got != tt.want {
				t.Fatalf("the clone is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCountRecords(t *testing.T) {
	two := AppendRecord(nil, &Message{Value: []byte("one")})
	two = AppendRecord(two, &Message{Value: bytes.Repeat([]byte("2"), 500)})
	tests := []struct {
		name    string
		in      []byte
		want    int
		corrupt bool
	}{
		{name: "none"},
		{name: "two", in: two, want: 2},
		{name: "insides are not looked at", in: []byte{tagRecord, 2, 0xff, 0xff}, want: 1},
		{name: "cut short", in: two[:len(two)-1], want: 1, corrupt: true},
		{name: "a length is missing", in: append(slices.Clone(two), tagRecord), want: 2, corrupt: true},
		{name: "a short one cut short", in: append(slices.Clone(two), tagRecord, 2, 0), want: 2, corrupt: true},
		{name: "another field between", in: append(slices.Clone(two), 0x08, 1), want: 2, corrupt: true},
		{name: "length beyond any memory", in: []byte{tagRecord, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, corrupt: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := CountRecords(tt.in)
			if n != tt.want || errors.Is(err, ErrCorrupt) != tt.corrupt || (err != nil) != tt.corrupt {
				t.Fatalf("%d, %v, want %d, corrupt %v", n, err, tt.want, tt.corrupt)
			}
		})
	}
}

func TestRecordAliasesItsBufferAndCloneDoesNot(t *testing.T) {
	m := Message{Key: []byte("key"), Value: []byte("value"), Headers: []Header{{Name: "h", Value: []byte("hv")}}}
	for _, m := range []Message{m, {Value: []byte("value")}} {
		buf := AppendRecord(nil, &m)
		buf = AppendRecord(buf, &m)
		whole := slices.Clone(buf)
		var r Payload
		if _, err := ConsumeRecord(buf, &r); err != nil {
			t.Fatal(err)
		}
		// Appending to what was handed out must not reach the neighbours.
		_ = append(r.Key, "XXXX"...)
		_ = append(r.Value, "XXXX"...)
		for _, v := range r.Headers() {
			_ = append(v, "XXXX"...)
		}
		if !bytes.Equal(buf, whole) {
			t.Fatal("an append wrote into the buffer")
		}
		own := r.Clone()
		_ = append(own.Key, "XXXX"...)
		clear(buf)
		if !bytes.Equal(r.Value, make([]byte, len(r.Value))) {
			t.Error("the record does not alias the buffer")
		}
		assertSameMessage(t, m, received(own))
	}
}

func TestRecordTime(t *testing.T) {
	when := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.FixedZone("", 3600))
	r := PayloadOf(&Message{Time: when})
	if got := r.Time(); !got.Equal(when) || got.Location() != time.UTC {
		t.Errorf("got %v, want %v in UTC", got, when)
	}
	r = PayloadOf(&Message{})
	if !r.Time().IsZero() || !r.Message().Time.IsZero() {
		t.Error("no time became one")
	}
	r = PayloadOf(&Message{Time: time.Unix(0, -5)})
	if !r.Time().Equal(time.Unix(0, -5)) {
		t.Errorf("before 1970: %v", r.Time())
	}
}

func TestMessageCheck(t *testing.T) {
	tests := []struct {
		name string
		m    Message
		bad  bool
	}{
		{name: "empty"},
		{name: "full", m: Message{Key: []byte{0xff}, Value: []byte{0xff}, Headers: []Header{{Name: "é", Value: []byte{0xff}}}, Time: time.Now()}},
		{name: "header name", m: Message{Headers: []Header{{Name: "ok"}, {Name: "\xff"}}}, bad: true},
		{name: "too early", m: Message{Time: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}, bad: true},
		{name: "too late", m: Message{Time: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, bad: true},
		{name: "expires too late", m: Message{ExpiresAt: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, bad: true},
		{name: "tombstone", m: Message{Key: []byte("k"), Tombstone: true}},
		{name: "tombstone without a key", m: Message{Tombstone: true}, bad: true},
		{name: "tombstone with a value", m: Message{Key: []byte("k"), Value: []byte("v"), Tombstone: true}, bad: true},
		{name: "first", m: Message{Time: time.Unix(0, math.MinInt64)}},
		{name: "last", m: Message{Time: time.Unix(0, math.MaxInt64)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.m.Check(); errors.Is(err, ErrInvalid) != tt.bad || (err != nil) != tt.bad {
				t.Fatalf("%v, want bad %v", err, tt.bad)
			}
		})
	}
}

func TestCodecDoesNotAllocate(t *testing.T) {
	for _, m := range benchMessages() {
		buf := make([]byte, 0, RecordSize(&m.Message))
		wire := AppendRecord(nil, &m.Message)
		var r Payload
		for what, f := range map[string]func(){
			"RecordSize":   func() { RecordSize(&m.Message) },
			"AppendRecord": func() { AppendRecord(buf, &m.Message) },
			"ConsumeRecord": func() {
				if _, err := ConsumeRecord(wire, &r); err != nil {
					t.Fatal(err)
				}
			},
			"CountRecords": func() {
				if _, err := CountRecords(wire); err != nil {
					t.Fatal(err)
				}
			},
			"Header":    func() { r.Header("absent") },
			"Tombstone": func() { r.Tombstone() },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s of %s allocates %v times", what, m.name, n)
			}
		}
	}
}

func FuzzConsumeRecord(f *testing.F) {
	for _, m := range benchMessages() {
		wire := AppendRecord(nil, &m.Message)
		_, n := protowire.ConsumeVarint(wire[1:])
		f.Add(wire[1+n:])
	}
	f.Add(append(protowire.AppendVarint(nil, 1<<32), 0))
	f.Add([]byte{tagTombstone, 0x80, 1, tagKey, 1, 'k', tagTombstone, 0})
	f.Add([]byte{tagHeader, 4, tagHeaderName, 2, 0xff, 0xfe, 0x4b, 0x4c})
	f.Fuzz(func(t *testing.T, in []byte) {
		// As it comes, and as the inside of a record.
		var r Payload
		if n, err := ConsumeRecord(in, &r); err == nil {
			if n <= 0 || n > len(in) {
				t.Fatalf("took %d of %d", n, len(in))
			}
			m := r.Message()
			again := AppendRecord(nil, &m)
			var r2 Payload
			if _, err := ConsumeRecord(again, &r2); err != nil {
				t.Fatal(err)
			}
			assertSameMessage(t, m, r2.Message())
		} else if !errors.Is(err, ErrCorrupt) || n != 0 {
			t.Fatalf("took %d, %v", n, err)
		}
		checkAgainstGenerated(t, in)
	})
}

func FuzzCountRecords(f *testing.F) {
	var batch []byte
	for _, m := range benchMessages() {
		batch = AppendRecord(batch, &m.Message)
	}
	f.Add(batch)
	f.Add(batch[:len(batch)-1])
	f.Add([]byte{tagRecord, 0x80, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := CountRecords(in)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		// The same bytes as a message whose field 2 is bytes, not records.
		judge := dynamicpb.NewMessage(looseBatch)
		judgeErr := proto.Unmarshal(in, judge)
		spans := judge.Get(looseBatch.Fields().ByNumber(2)).List()
		if err == nil && (judgeErr != nil || len(judge.GetUnknown()) != 0 || spans.Len() != n) {
			t.Fatalf("counted %d; protobuf has %d and %x, %v", n, spans.Len(), judge.GetUnknown(), judgeErr)
		}
		if err != nil && judgeErr == nil {
			// Only other fields, or a tag spelled at length, may be the reason.
			canonical, marshalErr := proto.Marshal(judge)
			if marshalErr == nil && len(judge.GetUnknown()) == 0 && bytes.Equal(canonical, in) {
				t.Fatalf("refused what protobuf would write: %v", err)
			}
		}
		seen := 0
		for rest := in; err == nil && len(rest) > 0; seen++ {
			var r Payload
			took, recErr := ConsumeRecord(rest, &r)
			if recErr != nil {
				// Count does not look inside, but it must agree on where a
				// record ends.
				_, size := protowire.ConsumeBytes(rest[1:])
				took = 1 + size
			}
			rest = rest[took:]
		}
		if err == nil && seen != n {
			t.Fatalf("counted %d, walked %d", n, seen)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for _, m := range benchMessages() {
		buf := make([]byte, 0, RecordSize(&m.Message))
		wire := AppendRecord(nil, &m.Message)
		b.Run("append/"+m.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(wire)))
			for b.Loop() {
				AppendRecord(buf, &m.Message)
			}
		})
		b.Run("size/"+m.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				RecordSize(&m.Message)
			}
		})
		b.Run("consume/"+m.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(wire)))
			var r Payload
			for b.Loop() {
				if _, err := ConsumeRecord(wire, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	var batch []byte
	for range 500 {
		batch = AppendRecord(batch, &Message{Value: make([]byte, 64)})
	}
	b.Run("count/500x64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(batch)))
		for b.Loop() {
			if n, err := CountRecords(batch); n != 500 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
}

type namedMessage struct {
	name string
	Message
}

func benchMessages() []namedMessage {
	return []namedMessage{
		{"value64", Message{Value: make([]byte, 64)}},
		{"value1k", Message{Value: make([]byte, 1024)}},
		{"empty", Message{}},
		{"key", Message{Key: []byte("customer-4711"), Value: make([]byte, 64)}},
		{"tombstone", Message{Key: []byte("customer-4711"), Tombstone: true}},
		{"full", Message{
			Key: []byte("customer-4711"), Value: make([]byte, 64), Time: time.Unix(1700000000, 5),
			Headers: []Header{{Name: "trace", Value: []byte("0123456789abcdef")}, {Name: "kind"}},
		}},
	}
}

// looseBatch is pb.Batch with records that are not looked into, and
// looseRecord is pb.Record with header names that may be any bytes: what this
// codec accepts, exactly.
var looseBatch, looseRecord = looseDescriptors()

func looseDescriptors() (batch, record protoreflect.MessageDescriptor) {
	file := protodesc.ToFileDescriptorProto(pb.File_penstock_record_proto)
	file.Name, file.Package = new("loose.proto"), new("loose")
	for _, m := range file.MessageType {
		for _, f := range m.Field {
			switch {
			case m.GetName() == "Header" && f.GetName() == "name",
				m.GetName() == "Record" && f.GetName() == "id",
				m.GetName() == "Batch" && f.GetName() == "records":
				f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum(), nil
			case f.TypeName != nil:
				f.TypeName = new(strings.Replace(f.GetTypeName(), ".penstock.", ".loose.", 1))
			}
		}
	}
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		panic(err)
	}
	return fd.Messages().ByName("Batch"), fd.Messages().ByName("Record")
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// checkAgainstGenerated decodes body, the inside of a record, with both codecs
// and says whether they accepted it.
func checkAgainstGenerated(t fataler, body []byte) bool {
	t.Helper()
	wire := protowire.AppendBytes([]byte{tagRecord}, body)
	var r Payload
	n, err := ConsumeRecord(wire, &r)

	loose := dynamicpb.NewMessage(looseRecord)
	looseErr := proto.Unmarshal(body, loose)
	if (err == nil) != (looseErr == nil) {
		t.Fatalf("%x: %v, protobuf %v", body, err, looseErr)
	}
	if err != nil {
		if strict := proto.Unmarshal(body, &pb.Record{}); strict == nil {
			t.Fatalf("%x: %v, the generated codec takes it", body, err)
		}
		return false
	}
	if n != len(wire) {
		t.Fatalf("%x: took %d of %d", body, n, len(wire))
	}
	fields := looseRecord.Fields()
	var want Message
	want.Key = loose.Get(fields.ByNumber(1)).Bytes()
	want.Value = loose.Get(fields.ByNumber(2)).Bytes()
	for i, list := 0, loose.Get(fields.ByNumber(3)).List(); i < list.Len(); i++ {
		h := list.Get(i).Message()
		hf := h.Descriptor().Fields()
		want.Headers = append(want.Headers, Header{
			Name:  string(h.Get(hf.ByNumber(1)).Bytes()),
			Value: h.Get(hf.ByNumber(2)).Bytes(),
		})
	}
	want.Time = Payload{UnixNano: loose.Get(fields.ByNumber(4)).Int()}.Time()
	want.ExpiresAt = timeOf(loose.Get(fields.ByNumber(5)).Int())
	want.ID = string(loose.Get(fields.ByNumber(7)).Bytes())
	want.Tombstone = loose.Get(fields.ByNumber(9)).Bool()
	delay := loose.Get(fields.ByNumber(8)).Message()
	inside := delay.Descriptor().Fields()
	want.DeliverAt = timeOf(delay.Get(inside.ByNumber(1)).Int())
	assertSameMessage(t, want, received(r))
	offset, delivered := r.PutOffset()
	if at := delay.Get(inside.ByNumber(2)).Uint(); delivered != delay.Has(inside.ByNumber(2)) || offset != int64(min(at, math.MaxInt64)) {
		t.Fatalf("put at %d, %v, and protobuf says %d", offset, delivered, at)
	}

	var strict pb.Record
	if proto.Unmarshal(body, &strict) == nil {
		assertSameMessage(t, messageOf(&strict), received(r))
	}
	return true
}

func messageOf(p *pb.Record) Message {
	m := Message{
		Key: p.Key, Value: p.Value, Time: Payload{UnixNano: p.TimeUnixNano}.Time(), ExpiresAt: timeOf(p.ExpiresUnixNano), ID: p.Id,
		Tombstone: p.Tombstone, DeliverAt: timeOf(p.Delay.GetDueUnixNano()),
	}
	for _, h := range p.Headers {
		m.Headers = append(m.Headers, Header{Name: h.Name, Value: h.Value})
	}
	return m
}

func generatedRecord(m *Message) *pb.Record {
	p := &pb.Record{Key: m.Key, Value: m.Value, Id: m.ID, Tombstone: m.Tombstone}
	for _, h := range m.Headers {
		p.Headers = append(p.Headers, &pb.Header{Name: h.Name, Value: h.Value})
	}
	if !m.Time.IsZero() {
		p.TimeUnixNano = m.Time.UnixNano()
	}
	if !m.ExpiresAt.IsZero() {
		p.ExpiresUnixNano = m.ExpiresAt.UnixNano()
	}
	if !m.DeliverAt.IsZero() && m.DeliverAt.UnixNano() != 0 {
		p.Delay = &pb.Delay{DueUnixNano: m.DeliverAt.UnixNano()}
	}
	return p
}

// received is what a record says, with its id and its delay.
func received(p Payload) Message {
	m := p.Message()
	m.ID, m.DeliverAt = p.ID(), p.DeliverAt()
	return m
}

func assertSameMessage(t fataler, want, got Message) {
	t.Helper()
	same := bytes.Equal(want.Key, got.Key) && bytes.Equal(want.Value, got.Value) && want.Time.Equal(got.Time) && want.ExpiresAt.Equal(got.ExpiresAt) && want.ID == got.ID && want.Tombstone == got.Tombstone && want.DeliverAt.Equal(got.DeliverAt) &&
		slices.EqualFunc(want.Headers, got.Headers, func(a, b Header) bool {
			return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
		})
	if !same {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func spell(r Payload) string {
	var headers []string
	for name, value := range r.Headers() {
		headers = append(headers, fmt.Sprintf("%s=%s", name, value))
	}
	if r.Tombstone() {
		headers = append(headers, "deleted")
	}
	return fmt.Sprintf("%s|%s|%s", r.Key, r.Value, strings.Join(headers, " "))
}

func genMessage() *rapid.Generator[Message] {
	// Lengths about 126 and 128 are where a length takes a second byte.
	payload := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 20),
		rapid.Map(rapid.IntRange(110, 140), func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }),
		rapid.Map(rapid.IntRange(16370, 16400), func(n int) []byte { return bytes.Repeat([]byte{'y'}, n) }),
	)
	return rapid.Custom(func(t *rapid.T) Message {
		m := Message{Value: payload.Draw(t, "value")}
		if rapid.Bool().Draw(t, "has key") {
			m.Key = payload.Draw(t, "key")
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			m.Headers = append(m.Headers, Header{
				Name:  rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b"}), rapid.String()).Draw(t, "name"),
				Value: payload.Draw(t, "header value"),
			})
		}
		if rapid.Bool().Draw(t, "has time") {
			m.Time = Payload{UnixNano: rapid.Int64().Draw(t, "nano")}.Time()
			m.ExpiresAt = timeOf(rapid.Int64().Draw(t, "expires"))
		}
		m.ID = rapid.OneOf(rapid.Just(""), rapid.StringN(1, 60, MaxIDBytes)).Draw(t, "id")
		m.Tombstone = rapid.Bool().Draw(t, "tombstone")
		if rapid.Bool().Draw(t, "is delayed") {
			m.DeliverAt = timeOf(rapid.Int64().Draw(t, "due"))
		}
		return m
	})
}

// genHostile makes the inside of a message: fields, mostly well formed, of
// known and unknown numbers, some holding messages themselves.
func genHostile(depth int) *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		var b []byte
		for range rapid.IntRange(0, 6).Draw(t, "fields") {
			num := rapid.OneOf(rapid.IntRange(1, 9), rapid.SampledFrom([]int{1000, 1 << 28, 1<<29 - 1})).Draw(t, "number")
			typ := rapid.OneOf(
				rapid.Just(protowire.BytesType),
				rapid.SampledFrom([]protowire.Type{protowire.VarintType, protowire.Fixed32Type, protowire.Fixed64Type, protowire.StartGroupType}),
			).Draw(t, "type")
			b = protowire.AppendTag(b, protowire.Number(num), typ)
			switch typ {
			case protowire.VarintType:
				b = protowire.AppendVarint(b, rapid.Uint64().Draw(t, "varint"))
			case protowire.Fixed32Type:
				b = protowire.AppendFixed32(b, rapid.Uint32().Draw(t, "fixed32"))
			case protowire.Fixed64Type:
				b = protowire.AppendFixed64(b, rapid.Uint64().Draw(t, "fixed64"))
			case protowire.StartGroupType:
				if depth > 0 {
					b = append(b, genHostile(depth-1).Draw(t, "group")...)
				}
				b = protowire.AppendTag(b, protowire.Number(num), protowire.EndGroupType)
			case protowire.BytesType:
				inside := rapid.SliceOfN(rapid.Byte(), 0, 6)
				if depth > 0 {
					inside = rapid.OneOf(genHostile(depth-1), inside)
				}
				b = protowire.AppendBytes(b, inside.Draw(t, "bytes"))
			}
		}
		if len(b) > 0 && rapid.IntRange(0, 3).Draw(t, "damage") == 0 {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "where")] = rapid.Byte().Draw(t, "with")
		}
		return b
	})
}

// What the encoding adds to a payload is within RecordOverhead.
func TestRecordOverheadBoundsTheEncoding(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, m *Message) {
		if size, most := RecordSize(m), PayloadSize(m)+RecordOverhead(PayloadSize(m)); size > most {
			t.Fatalf("%d bytes encoded, %d of payload: bounded by %d", size, PayloadSize(m), most)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := genMessage().Draw(t, "message")
		check(t, &m)
	})
	for _, m := range []Message{
		{}, {Time: time.Now()},
		{Headers: make([]Header, MaxHeaders)},
		{Key: make([]byte, 300), Value: make([]byte, 3<<20), Time: time.Now(), Headers: make([]Header, 100)},
		{Headers: slices.Repeat([]Header{{Name: "a"}}, MaxHeaders)},
		{Headers: slices.Repeat([]Header{{Name: strings.Repeat("a", 200), Value: make([]byte, 300)}}, MaxHeaders)},
	} {
		check(t, &m)
	}
}
