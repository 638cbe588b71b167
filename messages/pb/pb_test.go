package pb_test

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What other releases wrote must mean the same without end: the numbers are
// spelled out here, so that changing one fails a test and not a cluster.
func TestFieldNumbersAreFixed(t *testing.T) {
	want := map[string]string{
		"Record":          "key=1 value=2 headers=3 time_unix_nano=4",
		"Header":          "name=1 value=2",
		"Batch":           "records=2",
		"Frame":           "hello=1 challenge=2 proof=3 welcome=4 data=5 ack=6 nack=7 ping=8 drain=9 bye=10",
		"Hello":           "destination=2 group=3 member=4 version=1 nonce=5 mode=6 window=7 window_bytes=8 concurrency=9 url=10 policy=11 keep_for_ms=12",
		"Challenge":       "nonce=1 incarnation=2 version=3",
		"Proof":           "mac=1",
		"Welcome":         "mac=1 sender=2 max_message=3",
		"Data":            "first=1 records=2 attempts=3 redelivered=4",
		"Ack":             "cumulative=1 ranges=2 credit_messages=3 credit_bytes=4",
		"Range":           "from=1 to=2",
		"Nack":            "seq=1 reason=2 kind=3",
		"Ping":            "",
		"Drain":           "last=1 reply=2",
		"Bye":             "code=1 reason=2",
		"Sender":          "id=1 urls=2 incarnation=3 host=4 plain=5 since_unix_ms=6 version=7",
		"Secret":          "token=1 incarnation=2 generation=3 before=4 since_unix_ms=5",
		"TokenGeneration": "generation=1 least=2 grace_ms=3 since_unix_ms=4",
		"GroupMeta":       "mode=1 policy=2 keep_for_ms=3 created_unix_ms=5",
		"Member":          "id=1 incarnation=2 host=3 since_unix_ms=4 window=5",

		"Topic":          "id=1 partitions=2 compression=3 max_record_bytes=4 created_unix_ms=5",
		"Deleting":       "since_unix_ms=1 name=2 state=3",
		"IndexEntry":     "count=1 bytes=2 min_time_unix_nano=3 max_time_unix_nano=4 producer=5 sequence=6 raw_bytes=7 log_bytes=8",
		"Body":           "base=1 count=2 compression=3 raw_bytes=4 time_unix_nano=5 crc=6 records=7",
		"ConsumerGroup":  "manual=1 created_unix_ms=2",
		"ConsumerMember": "id=1 host=2 since_unix_ms=3 partitions=4",
		"Assignment":     "generation=1 partitions=2 shares=3 by=4 since_unix_ms=5",
		"Share":          "member=1 partitions=2",
		"Claim":          "member=1 member_revision=2 generation=3",
		"Committed":      "offset=1 base=2 fence=3 unix_ms=4",
		"Ticket":         "base=1 entry=2",
	}
	for name, fields := range want {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("penstock." + name))
		if err != nil {
			t.Error(err)
			continue
		}
		for f := range strings.FieldsSeq(fields) {
			field, number, _ := strings.Cut(f, "=")
			fd := mt.Descriptor().Fields().ByName(protoreflect.Name(field))
			if fd == nil {
				t.Errorf("%s.%s is gone", name, field)
			} else if got := protowireNumber(fd); got != number {
				t.Errorf("%s.%s has the number %s, was %s", name, field, got, number)
			}
		}
	}
	enums := []struct {
		desc protoreflect.EnumDescriptor
		want string
	}{
		{pb.Mode(0).Descriptor(), "AT_LEAST_ONCE AT_MOST_ONCE FAILOVER KEY_AFFINITY"},
		{pb.QueuePolicy(0).Descriptor(), "BLOCK DROP_OLDEST ERROR"},
		{pb.Compression(0).Descriptor(), "NONE S2 ZSTD"},
		{pb.Deleting_State(0).Descriptor(), "SWEEPING MAKING"},
		{pb.Code(0).Descriptor(), "UNSPECIFIED DRAINED UNKNOWN_DESTINATION BAD_PROOF VERSION MODE_MISMATCH REPLACED PROTOCOL_ERROR SHUTTING_DOWN REMOVED"},
	}
	for _, e := range enums {
		for number, name := range strings.Fields(e.want) {
			v := e.desc.Values().ByName(protoreflect.Name(name))
			if v == nil || int(v.Number()) != number {
				t.Errorf("%s.%s is %v, was %d", e.desc.Name(), name, v, number)
			}
		}
	}
}

func protowireNumber(fd protoreflect.FieldDescriptor) string {
	var digits []byte
	for n := fd.Number(); n > 0; n /= 10 {
		digits = append([]byte{byte('0' + n%10)}, digits...)
	}
	return string(digits)
}

// A newer release may send kinds of frames and fields that this one has never
// heard of.
func TestUnknownFieldsAreSkippedAndKept(t *testing.T) {
	newer := protowire.AppendTag(nil, 99, protowire.BytesType)
	newer = protowire.AppendString(newer, "from the future")
	var frame pb.Frame
	if err := proto.Unmarshal(newer, &frame); err != nil {
		t.Fatal(err)
	}
	if frame.Kind != nil {
		t.Errorf("an unknown kind became %T", frame.Kind)
	}
	sender, err := proto.Marshal(&pb.Sender{Id: "a", Urls: []string{"tcp://h:1"}})
	if err != nil {
		t.Fatal(err)
	}
	var got pb.Sender
	if err := proto.Unmarshal(append(sender, newer...), &got); err != nil || got.Id != "a" {
		t.Fatalf("%v, %v", &got, err)
	}
	again, err := proto.Marshal(&got)
	if err != nil || !bytes.Contains(again, []byte("from the future")) {
		t.Errorf("the unknown field was lost: %x, %v", again, err)
	}
}

func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frame := genFrame().Draw(t, "frame")
		wire, err := proto.Marshal(frame)
		if err != nil {
			t.Fatal(err)
		}
		var got pb.Frame
		if err := proto.Unmarshal(wire, &got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(frame, &got) {
			t.Fatalf("got %v, want %v", &got, frame)
		}
		for cut := range len(wire) {
			if proto.Unmarshal(wire[:cut], &got) == nil && proto.Equal(frame, &got) {
				t.Fatalf("%d of %d bytes are as good as all", cut, len(wire))
			}
		}
	})
}

func genFrame() *rapid.Generator[*pb.Frame] {
	text := rapid.StringN(0, 8, 16)
	data := rapid.SliceOfN(rapid.Byte(), 0, 40)
	return rapid.Custom(func(t *rapid.T) *pb.Frame {
		switch rapid.IntRange(1, 10).Draw(t, "kind") {
		case 1:
			return &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
				Version: rapid.Uint32().Draw(t, "version"), Destination: text.Draw(t, "destination"),
				Group: text.Draw(t, "group"), Member: text.Draw(t, "member"), Nonce: data.Draw(t, "nonce"),
				Mode: pb.Mode(rapid.IntRange(0, 3).Draw(t, "mode")), Window: rapid.Uint32().Draw(t, "window"),
				WindowBytes: rapid.Uint64().Draw(t, "bytes"), Concurrency: rapid.Uint32().Draw(t, "concurrency"),
				Url: text.Draw(t, "url"), KeepForMs: rapid.Int64().Draw(t, "keep"),
			}}}
		case 2:
			return &pb.Frame{Kind: &pb.Frame_Challenge{Challenge: &pb.Challenge{
				Nonce: data.Draw(t, "nonce"), Incarnation: text.Draw(t, "incarnation"), Version: 1,
			}}}
		case 3:
			return &pb.Frame{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: data.Draw(t, "mac")}}}
		case 4:
			return &pb.Frame{Kind: &pb.Frame_Welcome{Welcome: &pb.Welcome{
				Mac: data.Draw(t, "mac"), Sender: text.Draw(t, "sender"), MaxMessage: rapid.Uint64().Draw(t, "max"),
			}}}
		case 5:
			d := &pb.Data{First: rapid.Uint64().Draw(t, "first"), Redelivered: rapid.Bool().Draw(t, "redelivered")}
			for range rapid.IntRange(0, 3).Draw(t, "records") {
				d.Records = append(d.Records, &pb.Record{Key: data.Draw(t, "key"), Value: data.Draw(t, "value"), TimeUnixNano: rapid.Int64().Draw(t, "time")})
				d.Attempts = append(d.Attempts, rapid.Uint32().Draw(t, "attempt"))
			}
			return &pb.Frame{Kind: &pb.Frame_Data{Data: d}}
		case 6:
			a := &pb.Ack{Cumulative: rapid.Uint64().Draw(t, "cumulative"), CreditMessages: rapid.Uint64().Draw(t, "credit")}
			for range rapid.IntRange(0, 3).Draw(t, "ranges") {
				a.Ranges = append(a.Ranges, &pb.Range{From: rapid.Uint64().Draw(t, "from"), To: rapid.Uint64().Draw(t, "to")})
			}
			return &pb.Frame{Kind: &pb.Frame_Ack{Ack: a}}
		case 7:
			return &pb.Frame{Kind: &pb.Frame_Nack{Nack: &pb.Nack{Seq: rapid.Uint64().Draw(t, "seq"), Reason: text.Draw(t, "reason")}}}
		case 8:
			return &pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{}}}
		case 9:
			return &pb.Frame{Kind: &pb.Frame_Drain{Drain: &pb.Drain{Last: rapid.Uint64().Draw(t, "last"), Reply: rapid.Bool().Draw(t, "reply")}}}
		default:
			return &pb.Frame{Kind: &pb.Frame_Bye{Bye: &pb.Bye{Code: pb.Code(rapid.IntRange(0, 9).Draw(t, "code")), Reason: text.Draw(t, "reason")}}}
		}
	})
}

// fuzzMessage throws bytes at the decoder of one message: it must not panic,
// and what it accepts must survive being written and read again.
func fuzzMessage[T any, M interface {
	*T
	proto.Message
}](f *testing.F, seeds ...M) {
	for _, s := range seeds {
		wire, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(wire[:len(wire)/2])
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, in []byte) {
		first := M(new(T))
		if proto.Unmarshal(in, first) != nil {
			return
		}
		wire, err := proto.Marshal(first)
		if err != nil {
			t.Fatalf("accepted %x and cannot write it: %v", in, err)
		}
		second := M(new(T))
		if err := proto.Unmarshal(wire, second); err != nil {
			t.Fatalf("wrote %x and cannot read it: %v", wire, err)
		}
		if !proto.Equal(first, second) {
			t.Fatalf("%v became %v", first, second)
		}
	})
}

func FuzzFrame(f *testing.F) {
	fuzzMessage(f,
		&pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{Version: 1, Destination: "orders", Group: "billing", Nonce: make([]byte, 32), KeepForMs: -1}}},
		&pb.Frame{Kind: &pb.Frame_Challenge{Challenge: &pb.Challenge{Nonce: make([]byte, 32), Incarnation: "i"}}},
		&pb.Frame{Kind: &pb.Frame_Data{Data: &pb.Data{First: 1, Records: []*pb.Record{{Value: []byte("v"), Headers: []*pb.Header{{Name: "h"}}}}, Attempts: []uint32{2}}}},
		&pb.Frame{Kind: &pb.Frame_Ack{Ack: &pb.Ack{Cumulative: 9, Ranges: []*pb.Range{{From: 11, To: 12}}, CreditMessages: 100}}},
		&pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{}}},
		&pb.Frame{Kind: &pb.Frame_Bye{Bye: &pb.Bye{Code: pb.Code_REMOVED, Reason: "gone"}}},
	)
}

func FuzzBatch(f *testing.F) {
	fuzzMessage(f, &pb.Batch{Records: []*pb.Record{{Key: []byte("k"), TimeUnixNano: -1}, {}}})
}

func FuzzSender(f *testing.F) {
	fuzzMessage(f, &pb.Sender{Id: "s", Urls: []string{"tcp://h:1", "ipc:///x"}, Incarnation: "i", Host: "h", Plain: true, SinceUnixMs: 1})
}

func FuzzSecret(f *testing.F) {
	fuzzMessage(f, &pb.Secret{Token: make([]byte, 32), Incarnation: "i"})
}

func FuzzTokenGeneration(f *testing.F) {
	fuzzMessage(f, &pb.TokenGeneration{Generation: 3, Least: 2, GraceMs: 60000, SinceUnixMs: 1})
}

func FuzzGroupMeta(f *testing.F) {
	fuzzMessage(f, &pb.GroupMeta{Mode: pb.Mode_FAILOVER, Policy: pb.QueuePolicy_ERROR, KeepForMs: -1})
}

func FuzzMember(f *testing.F) {
	fuzzMessage(f, &pb.Member{Id: "m", Incarnation: "i", Host: "h", SinceUnixMs: 1, Window: 256})
}
