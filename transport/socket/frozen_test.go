package socket_test

// A peer of level 0, as the releases without levels speak: its own encoding, its own
// proofs, written by hand from their source and not to be changed. What is here shares no
// code with the package.

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// frozen is one end of a stream.
type frozen struct {
	t *testing.T
	c net.Conn
}

var frozenToken = []byte("0123456789abcdef0123456789abcdef")

// The kinds of frames of level 0, and of its end.
const (
	frozenHello, frozenChallenge, frozenProof, frozenWelcome  = 1, 2, 3, 4
	frozenData, frozenAck, frozenNack, frozenPing             = 5, 6, 7, 8
	frozenDrain, frozenBye, frozenDrained, frozenShuttingDown = 9, 10, 1, 8
)

// field is a number or bytes under a number.
type field struct {
	number protowire.Number
	value  any // uint64, or []byte
}

func encode(fields ...field) (b []byte) {
	for _, f := range fields {
		switch v := f.value.(type) {
		case uint64:
			b = protowire.AppendTag(b, f.number, protowire.VarintType)
			b = protowire.AppendVarint(b, v)
		case []byte:
			b = protowire.AppendTag(b, f.number, protowire.BytesType)
			b = protowire.AppendBytes(b, v)
		}
	}
	return b
}

// decode reads numbers and bytes, as the last one of each field; what level 0 does not
// know is there, too, and is not asked for.
func (z *frozen) decode(b []byte) map[protowire.Number]field {
	z.t.Helper()
	all := make(map[protowire.Number]field)
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			z.t.Fatalf("no tag: %x", b)
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			all[number], b = field{number, v}, b[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			all[number], b = field{number, v}, b[n:]
		default:
			z.t.Fatalf("level 0 has no field of kind %d", kind)
		}
	}
	return all
}

func (f field) bytes() []byte    { b, _ := f.value.([]byte); return b }
func (f field) number64() uint64 { n, _ := f.value.(uint64); return n }

func (z *frozen) say(kind protowire.Number, fields ...field) {
	z.t.Helper()
	body := encode(field{kind, encode(fields...)})
	if _, err := z.c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...)); err != nil {
		z.t.Fatal(err)
	}
}

// hear reads until a frame of that kind; beats may come between.
func (z *frozen) hear(kind protowire.Number) map[protowire.Number]field {
	z.t.Helper()
	for {
		var size [8]byte
		if _, err := io.ReadFull(z.c, size[:]); err != nil {
			z.t.Fatalf("waiting for frame %d: %v", kind, err)
		}
		body := make([]byte, binary.BigEndian.Uint64(size[:]))
		if _, err := io.ReadFull(z.c, body); err != nil {
			z.t.Fatal(err)
		}
		outer := z.decode(body)
		if f, ok := outer[kind]; ok {
			return z.decode(f.bytes())
		}
		if _, beat := outer[frozenPing]; !beat {
			z.t.Fatalf("got %x, waiting for frame %d", body, kind)
		}
	}
}

// header exchanges what nanomsg's protocol begins with.
func (z *frozen) header(ours, theirs byte) {
	z.t.Helper()
	if _, err := z.c.Write([]byte{0, 'S', 'P', 0, 0, ours, 0, 0}); err != nil {
		z.t.Fatal(err)
	}
	var got [8]byte
	if _, err := io.ReadFull(z.c, got[:]); err != nil || got != [8]byte{0, 'S', 'P', 0, 0, theirs, 0, 0} {
		z.t.Fatalf("header % x: %v", got, err)
	}
}

// frozenAgreed is what proofs of level 0 are made of.
type frozenAgreed struct {
	url, incarnation, sender string
	memberNonce, senderNonce []byte
	maxMessage               uint64
}

func (a frozenAgreed) mac(role string) []byte {
	mac := hmac.New(sha256.New, frozenToken)
	for _, part := range []any{
		"penstock pipe proof", role, uint64(1), "orders", "billing", "m-old",
		uint64(0), uint64(256), uint64(1 << 20), uint64(4), uint64(0), uint64(60_000),
		string(a.memberNonce), string(a.senderNonce), a.incarnation, a.url, a.sender, a.maxMessage, "",
	} {
		switch v := part.(type) {
		case string:
			mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(v))))
			mac.Write([]byte(v))
		case uint64:
			mac.Write(binary.BigEndian.AppendUint64(nil, 8))
			mac.Write(binary.BigEndian.AppendUint64(nil, v))
		}
	}
	return mac.Sum(nil)
}

func newFrozen(t *testing.T, c net.Conn) *frozen {
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &frozen{t, c}
}

func frozenListener(t *testing.T, levels pb.Levels) *socket.Listener {
	t.Helper()
	u, err := address.Parse("tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := socket.Listen(t.Context(), socket.ListenerConfig{
		URLs: []address.URL{u}, Levels: levels,
		Lookup: func(name string) (socket.Secret, bool) {
			return socket.Secret{Token: frozenToken, Incarnation: "life-1"}, name == "orders"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// join is the handshake of a member of level 0, up to its Proof.
func (z *frozen) join(url string) frozenAgreed {
	z.t.Helper()
	a := frozenAgreed{url: url, memberNonce: bytes.Repeat([]byte{7}, 32)}
	z.say(frozenHello, field{1, uint64(1)}, field{2, []byte("orders")}, field{3, []byte("billing")}, field{4, []byte("m-old")},
		field{5, a.memberNonce}, field{7, uint64(256)}, field{8, uint64(1 << 20)}, field{9, uint64(4)}, field{10, []byte(url)}, field{12, uint64(60_000)})
	challenge := z.hear(frozenChallenge)
	a.senderNonce, a.incarnation = challenge[1].bytes(), string(challenge[2].bytes())
	if v := challenge[3].number64(); v != 1 {
		z.t.Fatalf("the sender speaks version %d", v)
	}
	z.say(frozenProof, field{1, a.mac("member")})
	return a
}

// Promise: a member of a release without levels is served by this one: it is welcomed,
// gets messages, and is understood in all that it says.
func TestFrozenMember(t *testing.T) {
	l := frozenListener(t, pb.Levels{})
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	z := newFrozen(t, raw)
	z.header(0x51, 0x50)
	agreed := z.join(l.URL())
	conn, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Welcome("s-new", 1<<20); err != nil {
		t.Fatal(err)
	}
	welcome := z.hear(frozenWelcome)
	agreed.sender, agreed.maxMessage = string(welcome[2].bytes()), welcome[3].number64()
	if agreed.sender != "s-new" || agreed.maxMessage != 1<<20 || !hmac.Equal(welcome[1].bytes(), agreed.mac("sender")) {
		t.Fatalf("the sender's proof is not one of level 0: %+v", agreed)
	}
	if h := conn.Hello(); conn.Peer().Level != pb.LevelBase || h.Level != pb.LevelBase || h.Member != "m-old" || h.Window != 256 {
		t.Errorf("the sender heard %+v", h)
	}

	z.say(frozenAck, field{3, uint64(8)}, field{4, uint64(1 << 16)})
	var f frame.Frame
	if err := conn.Recv(&f); err != nil || f.Kind != frame.KindAck || f.Ack.CreditMessages != 8 || f.Ack.CreditBytes != 1<<16 {
		t.Fatalf("credit: %+v, %v", f, err)
	}
	if err := conn.SendData(1, []uint32{2}, true, 1, messages.AppendRecord(nil, &messages.Message{Value: []byte("hello")})); err != nil {
		t.Fatal(err)
	}
	data := z.hear(frozenData)
	record := z.decode(data[2].bytes())
	if data[1].number64() != 1 || data[4].number64() != 1 || data[5].number64() != 1 || !bytes.Equal(data[3].bytes(), []byte{2}) || string(record[2].bytes()) != "hello" {
		t.Errorf("data is %v, its record %v", data, record)
	}
	for _, c := range []struct {
		kind   protowire.Number
		fields []field
		want   frame.Frame
	}{
		{frozenAck, []field{{1, uint64(1)}, {2, encode(field{1, uint64(3)}, field{2, uint64(4)})}, {3, uint64(9)}, {4, uint64(1)}},
			frame.Frame{Kind: frame.KindAck, Ack: frame.Ack{Cumulative: 1, Ranges: []frame.Range{{From: 3, To: 4}}, CreditMessages: 9, CreditBytes: 1}}},
		{frozenNack, []field{{1, uint64(2)}, {2, []byte("why")}, {3, uint64(3)}},
			frame.Frame{Kind: frame.KindNack, Nack: frame.Nack{Seq: 2, Reason: "why", Kind: frame.NackRejected}}},
		{frozenPing, nil, frame.Frame{}},
		{frozenDrain, nil, frame.Frame{Kind: frame.KindDrain}},
		{frozenBye, []field{{1, uint64(frozenDrained)}, {2, []byte("done")}},
			frame.Frame{Kind: frame.KindBye, Bye: frame.Bye{Code: pb.Code_DRAINED, Reason: "done"}}},
	} {
		z.say(c.kind, c.fields...)
		if c.kind == frozenPing {
			continue
		}
		var f frame.Frame
		if err := conn.Recv(&f); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprintf("%+v", f), fmt.Sprintf("%+v", c.want); got != want {
			t.Errorf("understood as %s\nwant %s", got, want)
		}
	}
}

// Promise: a member of this release joins a sender of one without levels: it proves
// itself as that one knows it, and says nothing that it does not know.
func TestFrozenSender(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	url := "tcp://" + ln.Addr().String()
	type dialled struct {
		conn *socket.Conn
		err  error
	}
	done := make(chan dialled, 1)
	go func() {
		conn, err := socket.Dial(context.Background(), socket.DialConfig{
			URL: url, Token: frozenToken,
			Hello: frame.Hello{Destination: "orders", Group: "billing", Member: "m-old", Window: 256, WindowBytes: 1 << 20, Concurrency: 4, KeepFor: time.Minute},
		})
		done <- dialled{conn, err}
	}()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	z := newFrozen(t, raw)
	z.header(0x50, 0x51)
	hello := z.hear(frozenHello)
	agreed := frozenAgreed{
		url: string(hello[10].bytes()), incarnation: "life-0", memberNonce: hello[5].bytes(), senderNonce: bytes.Repeat([]byte{8}, 32),
		sender: "s-old", maxMessage: 1 << 20,
	}
	z.say(frozenChallenge, field{1, agreed.senderNonce}, field{2, []byte("life-0")}, field{3, uint64(1)})
	before := agreed
	before.sender, before.maxMessage = "", 0
	if proof := z.hear(frozenProof); !hmac.Equal(proof[1].bytes(), before.mac("member")) {
		t.Fatal("the member's proof is not one of level 0")
	}
	z.say(frozenWelcome, field{1, agreed.mac("sender")}, field{2, []byte("s-old")}, field{3, uint64(1 << 20)})
	d := <-done
	if d.err != nil {
		t.Fatal(d.err)
	}
	defer d.conn.Close()
	if p := d.conn.Peer(); p.Level != pb.LevelBase || p.ID != "s-old" || p.Incarnation != "life-0" {
		t.Errorf("the member heard %+v", p)
	}

	z.say(frozenData, field{1, uint64(1)}, field{2, encode(field{2, []byte("a")})}, field{2, encode(field{2, []byte("b")})})
	var f frame.Frame
	if err := d.conn.Recv(&f); err != nil || f.Kind != frame.KindData || f.Data.First != 1 || f.Data.Count != 2 {
		t.Fatalf("data: %+v, %v", f, err)
	}
	ack := &frame.Ack{Cumulative: 1, CreditMessages: 3, CreditBytes: 4, AckWait: time.Second}
	if err := errors.Join(d.conn.SendAck(ack), d.conn.SendNack(frame.Nack{Seq: 2, Kind: frame.NackReturned}), d.conn.SendDrain(frame.Drain{})); err != nil {
		t.Fatal(err)
	}
	if a := z.hear(frozenAck); a[1].number64() != 1 || a[3].number64() != 3 || a[4].number64() != 4 || a[7].number64() != 1000 || len(a) != 4 {
		t.Errorf("ack is %v", a)
	}
	if n := z.hear(frozenNack); n[1].number64() != 2 || n[3].number64() != 1 || len(n) != 2 {
		t.Errorf("nack is %v", n)
	}
	if n := z.hear(frozenDrain); len(n) != 0 {
		t.Errorf("drain is %v", n)
	}
	z.say(frozenDrain, field{1, uint64(2)}, field{2, uint64(1)})
	if err := d.conn.Recv(&f); err != nil || f.Drain != (frame.Drain{Last: 2, Reply: true}) {
		t.Errorf("drain: %+v, %v", f, err)
	}
	z.say(frozenBye, field{1, uint64(frozenShuttingDown)})
	if err := d.conn.Recv(&f); err != nil || f.Bye.Code != pb.Code_SHUTTING_DOWN {
		t.Errorf("bye: %+v, %v", f, err)
	}
}

// Promise: a release that has no links with level 0 says so, and what to do, to a member
// of it, in a frame that this one knows.
func TestFrozenMemberRefused(t *testing.T) {
	l := frozenListener(t, pb.Levels{Oldest: 1, Own: 3})
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	z := newFrozen(t, raw)
	z.header(0x51, 0x50)
	z.say(frozenHello, field{1, uint64(1)}, field{2, []byte("orders")}, field{3, []byte("billing")}, field{4, []byte("m-old")}, field{5, make([]byte, 32)})
	bye := z.hear(frozenBye)
	const says = "the member runs a release of level 0, and this side, of level 3, has links with level 1 and later only: upgrade the member first"
	if code, reason := bye[1].number64(), string(bye[2].bytes()); code != 4 || reason != says {
		t.Errorf("refused with %d: %q", code, reason)
	}
	if refused := l.Stats().Refused; !slices.Contains([]uint64{0, 1}, refused[socket.ReasonVersion]) || len(refused) > 1 {
		t.Errorf("counted as %v", refused)
	}
}
