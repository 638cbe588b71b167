package frame

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// What the hand-written codec writes, the generated one reads, and the other
// way round.

func genRecords(t *rapid.T) []byte {
	var b []byte
	for range rapid.IntRange(1, 5).Draw(t, "records") {
		b = messages.AppendRecord(b, &messages.Message{
			Key:   rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "key"),
			Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
		})
	}
	return b
}

func decodeFrame(b []byte, f *Frame) error {
	kind, inner, err := Open(b)
	if err != nil {
		return err
	}
	_, err = f.Decode(kind, inner)
	return err
}

func sameData(t interface{ Fatalf(string, ...any) }, got *Data, want *pb.Data) {
	if got.First != want.GetFirst() || got.Redelivered != want.GetRedelivered() || got.Deaths != want.GetDeaths() || !slices.Equal(got.Attempts, want.GetAttempts()) {
		t.Fatalf("%d %v %v, want %d %v %v", got.First, got.Attempts, got.Redelivered, want.GetFirst(), want.GetAttempts(), want.GetRedelivered())
	}
	if got.Count != len(want.GetRecords()) {
		t.Fatalf("%d records, want %d", got.Count, len(want.GetRecords()))
	}
	var again pb.Data
	if err := proto.Unmarshal(got.Records, &again); err != nil {
		t.Fatalf("records: %v", err)
	}
	for i, r := range again.GetRecords() {
		if !proto.Equal(r, want.GetRecords()[i]) {
			t.Fatalf("record %d is %v, want %v", i, r, want.GetRecords()[i])
		}
	}
}

func TestDataRoundTrips(t *testing.T) {
	var reused Frame
	rapid.Check(t, func(t *rapid.T) {
		records := genRecords(t)
		n, err := messages.CountRecords(records)
		if err != nil {
			t.Fatal(err)
		}
		first := rapid.Uint64Range(1, math.MaxUint64-10).Draw(t, "first")
		again := rapid.Bool().Draw(t, "redelivered")
		var attempts []uint32
		if rapid.Bool().Draw(t, "with attempts") {
			attempts = rapid.SliceOfN(rapid.Uint32(), n, n).Draw(t, "attempts")
		}
		deaths := rapid.SampledFrom([]uint32{0, 1, 127, 128, math.MaxUint32}).Draw(t, "deaths")
		b := AppendDataHeader(nil, first, attempts, again, deaths, len(records))
		b = append(b, records...)

		var theirs pb.Frame
		if err := proto.Unmarshal(b, &theirs); err != nil {
			t.Fatalf("the generated codec: %v", err)
		}
		if err := decodeFrame(b, &reused); err != nil {
			t.Fatal(err)
		}
		if reused.Kind != KindData || !bytes.Equal(reused.Data.Records, records) {
			t.Fatalf("%s with other records", reused.Kind)
		}
		if &reused.Data.Records[0] != &b[len(b)-len(records)] {
			t.Fatalf("the records were copied")
		}
		sameData(t, &reused.Data, theirs.GetData())

		// Generated code puts attempts and redelivered behind the records.
		foreign, err := proto.Marshal(&theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := decodeFrame(foreign, &reused); err != nil {
			t.Fatalf("a foreign encoder's: %v", err)
		}
		sameData(t, &reused.Data, theirs.GetData())
	})
}

func TestAckRoundTrips(t *testing.T) {
	var reused Frame
	rapid.Check(t, func(t *rapid.T) {
		a := Ack{
			Cumulative:     rapid.Uint64Range(0, 1<<40).Draw(t, "cumulative"),
			CreditMessages: rapid.Uint64().Draw(t, "credit"),
			CreditBytes:    rapid.Uint64().Draw(t, "credit bytes"),
		}
		at := a.Cumulative
		for range rapid.IntRange(0, 20).Draw(t, "ranges") {
			from := at + rapid.Uint64Range(1, 300).Draw(t, "gap")
			at = from + rapid.Uint64Range(0, 300).Draw(t, "length")
			a.Ranges = append(a.Ranges, Range{from, at})
		}
		at = 0
		for range rapid.IntRange(0, 5).Draw(t, "renewed") {
			from := at + rapid.Uint64Range(1, 300).Draw(t, "gap")
			at = from + rapid.Uint64Range(0, 300).Draw(t, "length")
			a.Renewed = append(a.Renewed, Range{from, at})
		}
		a.Withdraw = rapid.Bool().Draw(t, "withdraw")
		a.AckWait = rapid.SampledFrom([]time.Duration{0, -1, 100 * time.Millisecond, 30 * time.Second, 1000 * time.Hour}).Draw(t, "ack wait")
		b := AppendAck(nil, &a)
		var theirs pb.Frame
		if err := proto.Unmarshal(b, &theirs); err != nil {
			t.Fatal(err)
		}
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(&theirs)
		if err != nil || !bytes.Equal(canonical, b) {
			t.Fatalf("the generated codec writes %x, we %x (%v)", canonical, b, err)
		}
		if err := decodeFrame(b, &reused); err != nil {
			t.Fatal(err)
		}
		got := reused.Ack
		if got.Cumulative != a.Cumulative || got.CreditMessages != a.CreditMessages || got.CreditBytes != a.CreditBytes || !slices.Equal(got.Ranges, a.Ranges) ||
			got.Withdraw != a.Withdraw || !slices.Equal(got.Renewed, a.Renewed) || Millis(got.AckWait) != Millis(a.AckWait) {
			t.Fatalf("%+v, want %+v", got, a)
		}
	})
}

func TestMalformedFrames(t *testing.T) {
	record := messages.AppendRecord(nil, &messages.Message{Value: []byte("v")})
	data := func(head string, records ...[]byte) []byte {
		inner := append([]byte(head), bytes.Join(records, nil)...)
		return protowire.AppendBytes([]byte{tagData}, inner)
	}
	ack := func(a Ack) []byte { return AppendAck(nil, &a) }
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"empty":                   {nil, messages.ErrCorrupt},
		"a tag only":              {[]byte{tagData}, messages.ErrCorrupt},
		"unknown kind":            {[]byte{11<<3 | 2, 0}, messages.ErrCorrupt},
		"two kinds":               {append(data("\x08\x01", record), AppendPing(nil)...), messages.ErrCorrupt},
		"one kind twice":          {append(AppendPing(nil), AppendPing(nil)...), messages.ErrCorrupt},
		"length beyond the end":   {[]byte{tagData, 100, 0}, messages.ErrCorrupt},
		"length beyond an int":    {[]byte{tagData, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, messages.ErrCorrupt},
		"data without records":    {data("\x08\x01"), messages.ErrCorrupt},
		"data without sequence":   {data("", record), messages.ErrCorrupt},
		"sequence that overflows": {data("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", record), messages.ErrCorrupt},
		"one attempt for two":     {data("\x08\x01\x1a\x01\x01", record, record), messages.ErrCorrupt},
		"record cut short":        {data("\x08\x01", record, record[:2]), messages.ErrCorrupt},
		"bad attempts":            {data("\x08\x01\x1a\x01\xff", record), messages.ErrCorrupt},
		"tag longer than needed":  {data("\x88\x00\x01", record), messages.ErrCorrupt},
		"range backwards":         {ack(Ack{Ranges: []Range{{5, 4}}}), messages.ErrCorrupt},
		"range below cumulative":  {ack(Ack{Cumulative: 9, Ranges: []Range{{9, 10}}}), messages.ErrCorrupt},
		"ranges overlap":          {ack(Ack{Ranges: []Range{{2, 5}, {5, 6}}}), messages.ErrCorrupt},
		"renewed backwards":       {ack(Ack{Renewed: []Range{{5, 4}}}), messages.ErrCorrupt},
		"renewed overlap":         {ack(Ack{Renewed: []Range{{2, 5}, {5, 6}}}), messages.ErrCorrupt},
		"range cut short":         {[]byte{tagAck, 3, tagRanges, 5, 8}, messages.ErrCorrupt},
		"nack that is no message": {[]byte{byte(KindNack)<<3 | 2, 1, 0xff}, messages.ErrCorrupt},
		"hello":                   {[]byte{byte(KindHello)<<3 | 2, 0}, ErrProtocol},
	} {
		var f Frame
		if err := decodeFrame(c.frame, &f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	record := messages.AppendRecord(nil, &messages.Message{Value: []byte("v")})
	unknown := protowire.AppendBytes(protowire.AppendTag(nil, 900, protowire.BytesType), []byte("later"))
	inner := slices.Concat([]byte{tagFirst, 3}, unknown, record)
	b := slices.Concat(unknown, protowire.AppendBytes([]byte{tagData}, inner), unknown)
	var f Frame
	if err := decodeFrame(b, &f); err != nil || f.Data.First != 3 || f.Data.Count != 1 {
		t.Errorf("%+v, %v", f.Data, err)
	}
	ack := AppendAck(nil, &Ack{Cumulative: 4})
	inner = slices.Concat(unknown, ack[2:])
	if err := decodeFrame(protowire.AppendBytes([]byte{tagAck}, inner), &f); err != nil || f.Ack.Cumulative != 4 {
		t.Errorf("%+v, %v", f.Ack, err)
	}
}

func sameReply(t interface{ Fatalf(string, ...any) }, got *Reply, want *pb.Reply) {
	if got.Request != want.GetRequest() || got.Failed != want.GetFailed() || got.Error != Clip(want.GetError()) {
		t.Fatalf("%+v, the generated decoder says %v", got, want)
	}
	if got.Failed {
		return
	}
	var again pb.Batch
	if err := proto.Unmarshal(got.Record, &again); err != nil || len(again.GetRecords()) != 1 || !proto.Equal(again.GetRecords()[0], want.GetRecord()) {
		t.Fatalf("the record is %v (%v), the generated decoder says %v", again.GetRecords(), err, want.GetRecord())
	}
}

func TestReplyRoundTrips(t *testing.T) {
	var reused Frame
	rapid.Check(t, func(t *rapid.T) {
		r := Reply{Request: rapid.Uint64Min(1).Draw(t, "request")}
		var record []byte
		if r.Failed = rapid.Bool().Draw(t, "failed"); r.Failed {
			r.Error = rapid.String().Draw(t, "error")
		} else {
			record = messages.AppendRecord(nil, &messages.Message{Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")})
		}
		b := append(AppendReplyHeader(nil, &r, len(record)), record...)
		if err := decodeFrame(b, &reused); err != nil {
			t.Fatal(err)
		}
		var theirs pb.Frame
		if err := proto.Unmarshal(b, &theirs); err != nil {
			t.Fatalf("the generated codec: %v", err)
		}
		if reused.Kind != KindReply || KindOf(&theirs) != KindReply || !bytes.Equal(reused.Reply.Record, record) {
			t.Fatalf("%s with another record", reused.Kind)
		}
		sameReply(t, &reused.Reply, theirs.GetReply())
	})
}

// Promise: a reply to nothing, one that says nothing, and one that says both are corrupt.
func TestRepliesThatCannotBe(t *testing.T) {
	record := messages.AppendRecord(nil, &messages.Message{Value: []byte("v")})
	for name, r := range map[string]Reply{
		"no request": {Record: record}, "nothing": {Request: 1}, "both": {Request: 1, Record: record, Failed: true},
		"two records": {Request: 1, Record: append(bytes.Clone(record), record...)},
	} {
		var f Frame
		if err := decodeFrame(append(AppendReplyHeader(nil, &r, len(r.Record)), r.Record...), &f); !errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeFrame(f *testing.F) {
	record := messages.AppendRecord(nil, &messages.Message{Key: []byte("k"), Value: []byte("v")})
	f.Add(append(AppendDataHeader(nil, 7, []uint32{1, 2}, true, 3, 2*len(record)), append(bytes.Clone(record), record...)...))
	f.Add(AppendAck(nil, &Ack{Cumulative: 3, Ranges: []Range{{5, 9}}, CreditMessages: 100, CreditBytes: 1 << 30,
		Withdraw: true, Renewed: []Range{{7, 7}}, AckWait: -1}))
	f.Add(AppendPing(nil))
	f.Add(append(AppendReplyHeader(nil, &Reply{Request: 9}, len(record)), record...))
	f.Add(AppendReplyHeader(nil, &Reply{Request: 1 << 60, Failed: true, Error: "no"}, 0))
	for _, m := range []*pb.Frame{Bye{pb.Code_REMOVED, "x"}.Wire(), Nack{Seq: 1, Kind: NackExpired, Reason: "r"}.Wire(), Nack{Seq: 1, After: time.Hour}.Wire()} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Frame
		if err := decodeFrame(b, &got); err != nil {
			if !errors.Is(err, messages.ErrCorrupt) && !errors.Is(err, ErrProtocol) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		// The generated decoder also looks into the records, so it may refuse
		// more. What both take must mean the same.
		var theirs pb.Frame
		if proto.Unmarshal(b, &theirs) != nil {
			return
		}
		if k := KindOf(&theirs); k != got.Kind {
			t.Fatalf("%s, the generated decoder says %s", got.Kind, k)
		}
		switch got.Kind {
		case KindData:
			sameData(t, &got.Data, theirs.GetData())
		case KindReply:
			sameReply(t, &got.Reply, theirs.GetReply())
		case KindAck:
			a := theirs.GetAck()
			if got.Ack.Cumulative != a.GetCumulative() || got.Ack.CreditMessages != a.GetCreditMessages() ||
				got.Ack.CreditBytes != a.GetCreditBytes() || len(got.Ack.Ranges) != len(a.GetRanges()) ||
				got.Ack.Withdraw != a.GetWithdraw() || len(got.Ack.Renewed) != len(a.GetRenewed()) ||
				(got.Ack.AckWait < 0) != (a.GetAckWaitMs() < 0) || (got.Ack.AckWait == 0) != (a.GetAckWaitMs() == 0) {
				t.Fatalf("%+v, the generated decoder says %v", got.Ack, a)
			}
			for i, r := range a.GetRanges() {
				if got.Ack.Ranges[i] != (Range{r.GetFrom(), r.GetTo()}) {
					t.Fatalf("range %d is %v, the generated decoder says %v", i, got.Ack.Ranges[i], r)
				}
			}
		}
	})
}

func TestHelloRoundTrips(t *testing.T) {
	for _, keep := range []time.Duration{0, -1, -time.Hour, time.Nanosecond, 1500 * time.Millisecond, math.MaxInt64} {
		h := Hello{Version: 1, Destination: "orders", Group: "billing", Member: "m-1", Window: 256, URL: "tcp://10.0.0.1:7000"}
		h.KeepFor = keep
		got := HelloOf(h.Wire(nil).GetHello())
		if Millis(got.KeepFor) != Millis(keep) || (keep == 0) != (got.KeepFor == 0) || (keep < 0) != (got.KeepFor < 0) {
			t.Errorf("%v becomes %v", keep, got.KeepFor)
		}
		got.KeepFor = keep
		if got != h {
			t.Errorf("%+v becomes %+v", h, got)
		}
	}
	if got := duration(math.MaxInt64); got <= 0 {
		t.Errorf("the longest time becomes %v", got)
	}
}

func TestReasonsAreClipped(t *testing.T) {
	long := strings.Repeat("é", maxReason)
	for _, f := range []*pb.Frame{Bye{pb.Code_DRAINED, "x" + long}.Wire(), Nack{Reason: long}.Wire()} {
		b, err := AppendControl(nil, f)
		if err != nil || len(b) > maxReason+32 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
}

// Promise of Largest.
func TestLargestFrameHoldsTheLargestMessage(t *testing.T) {
	if want := LargestRecord(LargestMessage) + Overhead; Largest != want {
		t.Errorf("%d bytes, a frame may have %d", Largest, want)
	}
}
