package pipes_test

// The cases of TestHostileMember.

import (
	"bytes"
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

// Frames of a member, in short.
func rawAck(a *pb.Ack) *pb.Frame     { return &pb.Frame{Kind: &pb.Frame_Ack{Ack: a}} }
func rawNack(n *pb.Nack) *pb.Frame   { return &pb.Frame{Kind: &pb.Frame_Nack{Nack: n}} }
func rawReply(r *pb.Reply) *pb.Frame { return &pb.Frame{Kind: &pb.Frame_Reply{Reply: r}} }
func rawPing(p *pb.Ping) *pb.Frame   { return &pb.Frame{Kind: &pb.Frame_Ping{Ping: p}} }
func rawDrain(d *pb.Drain) *pb.Frame { return &pb.Frame{Kind: &pb.Frame_Drain{Drain: d}} }
func rawBye(b *pb.Bye) *pb.Frame     { return &pb.Frame{Kind: &pb.Frame_Bye{Bye: b}} }

func rawRanges(pairs ...uint64) (out []*pb.Range) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &pb.Range{From: pairs[i], To: pairs[i+1]})
	}
	return out
}

// manyRanges are ascending and apart.
func manyRanges(n int) (out []*pb.Range) {
	for i := range uint64(n) {
		out = append(out, &pb.Range{From: 2 + 2*i, To: 2 + 2*i})
	}
	return out
}

// says is a case of one frame.
func says(f *pb.Frame) func(*rawHolder) { return func(h *rawHolder) { h.say(f) } }

// speaks is a case of one frame with that body.
func speaks(body []byte) func(*rawHolder) { return func(h *rawHolder) { h.body(body) } }

// repeats is a frame many times over, in large writes.
func repeats(f *pb.Frame, n int) func(*rawHolder) {
	return func(h *rawHolder) { h.flood(f, n) }
}

func (p *rawPeer) flood(f *pb.Frame, n int) {
	one := framed(encoded(f))
	many := bytes.Repeat(one, 1000)
	for ; n >= 1000; n -= 1000 {
		p.write(many)
	}
	p.write(bytes.Repeat(one, n))
}

// sized is a record of exactly so many bytes, as a reply has it.
func sized(n int) *pb.Record {
	value := n - 2
	for value > 0 && 1+protowire.SizeBytes(1+protowire.SizeBytes(value)) > n {
		value--
	}
	return &pb.Record{Value: make([]byte, value)}
}

// Cases that both sides have in common: frames that are none.

type rawCase struct {
	name             string
	say              func(*rawPeer)
	breaks           string
	hangsUp, unheard bool
}

const noSuchKind = "of no known kind"

func rawCases() []rawCase {
	b := func(body []byte) func(*rawPeer) { return func(p *rawPeer) { p.body(body) } }
	bytes := func(b []byte) func(*rawPeer) { return func(p *rawPeer) { p.write(b) } }
	unfinished := func(b []byte) func(*rawPeer) {
		return func(p *rawPeer) {
			p.still()
			p.write(b)
			_ = p.c.Close()
		}
	}
	length := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	ping := encoded(rawPing(&pb.Ping{}))
	return []rawCase{
		{name: "a frame of a kind of the future", say: b(raw(15, []byte("x"))), breaks: noSuchKind},
		{name: "a kind with the largest number", say: b(raw(protowire.MaxValidNumber, nil)), breaks: noSuchKind},
		{name: "an empty frame", say: b(nil), breaks: noSuchKind},
		{name: "a kind that is a number", say: b([]byte{6 << 3, 1}), breaks: noSuchKind},
		{name: "two kinds in one frame", say: b(append(raw(8, nil), raw(9, nil)...)), breaks: "holds both"},
		{name: "one kind twice in a frame", say: b(append(raw(8, nil), raw(8, nil)...)), breaks: "holds both"},
		{name: "gibberish", say: b([]byte("\xff\xff\xff\xff gibberish")), breaks: "frame: "},
		{name: "a kind cut short", say: b([]byte{8<<3 | 2, 100, 1}), breaks: "cut short"},
		{name: "a tag cut short", say: b([]byte{0x80}), breaks: "bad tag"},
		{name: "a field number of 0", say: b([]byte{0<<3 | 2, 0}), breaks: "bad tag"},
		{name: "a group without an end", say: b([]byte{12<<3 | 3, 1, 2, 3}), breaks: "cut short"},
		{name: "groups in groups in groups", say: b(make12(4000)), breaks: "cut short"},
		{name: "a hello again", say: b(encoded(&pb.Frame{Kind: &pb.Frame_Hello{Hello: rawHello("tcp://x:1", "d", "g", "m")}})), breaks: "hello frame on an open connection"},
		{name: "a challenge", say: b(raw(2, nil)), breaks: "challenge frame on an open connection"},
		{name: "a proof", say: b(raw(3, nil)), breaks: "proof frame on an open connection"},
		{name: "a welcome", say: b(raw(4, nil)), breaks: "welcome frame on an open connection"},
		{name: "a length of 2^64-1", say: bytes(length(math.MaxUint64)), breaks: "the limit is"},
		{name: "a length of 2^63", say: bytes(length(1 << 63)), breaks: "the limit is"},
		{name: "a length of 1 GiB", say: bytes(length(1 << 30)), breaks: "the limit is"},
		{name: "the protocol's header again", say: bytes(pull), breaks: "the limit is"},
		{name: "HTTP", say: bytes([]byte("GET / HTTP/1.1\r\n\r\n")), breaks: "the limit is"},
		{name: "half a length, and the end", say: unfinished([]byte{0, 0, 0}), hangsUp: true},
		{name: "half a frame, and the end", say: unfinished(append(length(60_000), make([]byte, 100)...)), hangsUp: true},
		{name: "a ping that does not decode", say: b(raw(8, []byte{0x80})), breaks: "ping"},
		{name: "a ping of 5 KiB", say: b(raw(8, raw(9, make([]byte, 5<<10)))), breaks: "ping frame of"},
		{name: "a ping with what is not known", say: b(raw(8, raw(9, make([]byte, 3<<10))))},
		{name: "a ping with fields of other types", say: b(raw(8, []byte{1<<3 | 1, 1, 2, 3, 4, 5, 6, 7, 8}))},
		{name: "pings without end", say: func(p *rawPeer) { p.flood(rawPing(&pb.Ping{}), 100_000) }},
		{name: "numbered pings without end", say: func(p *rawPeer) {
			for i := range uint64(20_000) {
				p.say(rawPing(&pb.Ping{Number: i + 1, Heard: i, Nacks: i}))
			}
		}},
		{name: "a frame in single bytes", say: func(p *rawPeer) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, one := range framed(ping) {
				_, _ = p.c.Write([]byte{one})
			}
		}},
		{name: "a drain that does not decode", say: b(raw(9, []byte{0x80})), breaks: "drain"},
		{name: "a drain of 5 KiB", say: b(raw(9, raw(9, make([]byte, 5<<10)))), breaks: "drain frame of"},
		{name: "a bye that does not decode", say: b(raw(10, []byte{0xff})), breaks: "bye"},
		{name: "a bye whose reason is no text", say: b(raw(10, raw(2, []byte{0xff, 0xfe}))), breaks: "bye"},
		{name: "a bye of 5 KiB", say: b(raw(10, raw(2, make([]byte, 5<<10)))), breaks: "bye frame of"},
		{name: "a bye, and more", say: func(p *rawPeer) {
			p.say(rawBye(&pb.Bye{Code: pb.Code_REPLACED, Reason: "enough"}))
			p.flood(rawPing(&pb.Ping{}), 1000)
			p.body([]byte("\xff gibberish"))
		}, hangsUp: true},
		{name: "a bye of a code of the future", say: func(p *rawPeer) { p.say(rawBye(&pb.Bye{Code: 9999})) }, hangsUp: true},
	}
}

// make12 are n groups in one another, none of which ends.
func make12(n int) []byte { return bytes.Repeat([]byte{12<<3 | 3}, n) }

func hostileMembers() []hostileMember {
	const never = "an ack of what was never sent"
	cases := []hostileMember{
		// Acks.
		{name: "an ack of one more", say: says(rawAck(&pb.Ack{Cumulative: hostileHeld + 1})), breaks: never},
		{name: "an ack of everything", say: says(rawAck(&pb.Ack{Cumulative: math.MaxUint64})), breaks: never},
		{name: "a range of one more", say: says(rawAck(&pb.Ack{Ranges: rawRanges(hostileHeld+1, hostileHeld+1)})), breaks: never},
		{name: "a range that begins well and does not end", say: says(rawAck(&pb.Ack{Ranges: rawRanges(2, math.MaxUint64)})), breaks: never},
		{name: "a range far away", say: says(rawAck(&pb.Ack{Ranges: rawRanges(1<<62, 1<<63)})), breaks: never},
		{name: "a range that overflows", say: says(rawAck(&pb.Ack{Ranges: rawRanges(math.MaxUint64, math.MaxUint64)})), breaks: never},
		{name: "a range from 0", say: says(rawAck(&pb.Ack{Ranges: rawRanges(0, 3)})), breaks: "range 0-3"},
		{name: "a range of nothing", say: says(rawAck(&pb.Ack{Ranges: rawRanges(0, 0)})), breaks: "range 0-0"},
		{name: "a range backwards", say: says(rawAck(&pb.Ack{Ranges: rawRanges(5, 3)})), breaks: "range 5-3"},
		{name: "ranges that overlap", say: says(rawAck(&pb.Ack{Ranges: rawRanges(2, 4, 3, 5)})), breaks: "range 3-5"},
		{name: "ranges that descend", say: says(rawAck(&pb.Ack{Ranges: rawRanges(6, 7, 2, 3)})), breaks: "range 2-3"},
		{name: "a range below what is acked", say: says(rawAck(&pb.Ack{Cumulative: 4, Ranges: rawRanges(3, 6)})), breaks: "range 3-6"},
		{name: "a range too many", say: says(rawAck(&pb.Ack{Ranges: manyRanges(frame.MaxAckRanges + 1)})), breaks: "over 1024 ranges"},
		{name: "a range that does not decode", say: speaks(raw(6, raw(2, []byte{0x80}))), breaks: "bad"},
		{name: "renewals of what was never sent", say: says(rawAck(&pb.Ack{Renewed: rawRanges(1, hostileHeld+1)})), breaks: never},
		{name: "renewals backwards", say: says(rawAck(&pb.Ack{Renewed: rawRanges(5, 3)})), breaks: "renewed 5-3"},
		{name: "a renewal too many", say: says(rawAck(&pb.Ack{Renewed: manyRanges(frame.MaxAckRanges + 1)})), breaks: "over 1024 ranges"},
		{name: "renewals without end", say: repeats(rawAck(&pb.Ack{Renewed: rawRanges(1, 1, 3, 3, 5, 5)}), 20_000)},
		{name: "an ack that does not decode", say: speaks(raw(6, []byte{0x80})), breaks: "ack"},
		{name: "an ack of 65 KiB", say: speaks(raw(6, raw(9, make([]byte, 65<<10)))), breaks: "the limit is"},
		{name: "an ack with what is not known", say: speaks(raw(6, raw(15, make([]byte, 30<<10))))},
		{name: "acks twice", say: func(h *rawHolder) { h.ack(5, nil); h.ack(5, nil) }},
		{name: "acks that go back", say: func(h *rawHolder) { h.ack(5, nil); h.ack(2, nil); h.ack(0, nil) }},
		{name: "acks of what is acked, in ranges", say: func(h *rawHolder) {
			h.ack(5, nil)
			h.say(rawAck(&pb.Ack{Ranges: rawRanges(1, 2, 4, 5)}))
			h.say(rawAck(&pb.Ack{Renewed: rawRanges(1, 5)}))
		}},
		{name: "acks without end", say: func(h *rawHolder) { h.ack(3, nil); h.flood(rawAck(&pb.Ack{Cumulative: 3}), 50_000) }},
		// Credit.
		{name: "all credit there is", say: says(rawAck(&pb.Ack{CreditMessages: math.MaxInt64, CreditBytes: math.MaxInt64}))},
		{name: "credit that overflows", say: says(rawAck(&pb.Ack{CreditMessages: math.MaxUint64})), breaks: "credit for"},
		{name: "credit for one too many", say: says(rawAck(&pb.Ack{CreditMessages: math.MaxInt64 + 1})), breaks: "credit for"},
		{name: "credit for bytes that overflows", say: says(rawAck(&pb.Ack{CreditMessages: 9, CreditBytes: math.MaxUint64})), breaks: "credit for"},
		{name: "credit that goes back", say: says(rawAck(&pb.Ack{CreditMessages: 1, CreditBytes: 1 << 20})), breaks: "credit for"},
		{name: "credit for bytes that goes back", say: says(rawAck(&pb.Ack{CreditMessages: 9, CreditBytes: 1})), breaks: "credit for"},
		{name: "no credit", say: repeats(rawAck(&pb.Ack{}), 1000)},
		{name: "credit withdrawn again and again", say: repeats(rawAck(&pb.Ack{Withdraw: true}), 1000)},
		{name: "credit granted and withdrawn at once", say: says(rawAck(&pb.Ack{Withdraw: true, CreditMessages: hostileHeld, CreditBytes: 1 << 20}))},
		{name: "an AckWait below all limits", say: says(rawAck(&pb.Ack{AckWaitMs: math.MinInt64}))},
		{name: "an AckWait above all limits", say: says(rawAck(&pb.Ack{AckWaitMs: math.MaxInt64}))},
		{name: "one AckWait after another", say: func(h *rawHolder) {
			h.say(rawAck(&pb.Ack{AckWaitMs: 60_000}))
			h.say(rawAck(&pb.Ack{AckWaitMs: 1}))
		}},
		// Nacks.
		{name: "a nack of 0", say: says(rawNack(&pb.Nack{})), breaks: "nack of 0"},
		{name: "a nack of what was never sent", say: says(rawNack(&pb.Nack{Seq: hostileHeld + 1})), breaks: "nack of 9"},
		{name: "a nack of the last there can be", say: says(rawNack(&pb.Nack{Seq: math.MaxUint64})), breaks: never},
		{name: "a nack of what is acked", say: func(h *rawHolder) { h.ack(5, nil); h.say(rawNack(&pb.Nack{Seq: 3})) }},
		{name: "nacks twice", say: func(h *rawHolder) { h.say(rawNack(&pb.Nack{Seq: 3})); h.say(rawNack(&pb.Nack{Seq: 3})) }},
		{name: "a nack with a delay below 0", say: says(rawNack(&pb.Nack{Seq: 3, AfterMs: -1}))},
		{name: "a nack with the least delay", say: says(rawNack(&pb.Nack{Seq: 3, AfterMs: math.MinInt64}))},
		{name: "a nack with the most delay", say: says(rawNack(&pb.Nack{Seq: 3, AfterMs: math.MaxInt64})), held: 1},
		{name: "a nack of a kind of the future", say: says(rawNack(&pb.Nack{Seq: 3, Kind: math.MaxUint32}))},
		{name: "a nack as lapsed of what does not expire", say: says(rawNack(&pb.Nack{Seq: 3, Kind: frame.NackLapsed}))},
		{name: "a nack as expired", say: says(rawNack(&pb.Nack{Seq: 3, Kind: frame.NackExpired}))},
		{name: "a nack with a long reason", say: says(rawNack(&pb.Nack{Seq: 3, Reason: string(make([]byte, 3<<10))}))},
		{name: "a nack with too long a reason", say: speaks(raw(7, raw(2, make([]byte, 5<<10)))), breaks: "nack frame of"},
		{name: "a nack whose reason is no text", say: speaks(raw(7, append([]byte{1 << 3, 3}, raw(2, []byte{0xff})...))), breaks: "nack"},
		{name: "a nack that does not decode", say: speaks(raw(7, []byte{0x80})), breaks: "nack"},
		{name: "nacks without end of what is acked", say: func(h *rawHolder) {
			h.ack(5, nil)
			h.flood(rawNack(&pb.Nack{Seq: 3, Kind: frame.NackReturned}), 20_000)
		}},
		// Replies.
		{name: "a reply that nobody asked for", say: says(rawReply(&pb.Reply{Request: 7, Record: &pb.Record{Value: []byte("x")}}))},
		{name: "a refusal that nobody asked for", say: says(rawReply(&pb.Reply{Request: math.MaxUint64, Failed: true, Error: "no"}))},
		{name: "replies without end", say: repeats(rawReply(&pb.Reply{Request: 7, Record: &pb.Record{Value: []byte("x")}}), 20_000)},
		{name: "a reply to no request", say: speaks(raw(11, raw(2, []byte("\x12\x01x")))), breaks: "to no request"},
		{name: "a reply that says nothing", say: speaks(raw(11, []byte{1 << 3, 7})), breaks: "both a record and a refusal, or neither"},
		{name: "a reply and a refusal at once", say: says(rawReply(&pb.Reply{Request: 7, Failed: true, Record: &pb.Record{Value: []byte("x")}})), breaks: "both a record and a refusal"},
		{name: "a reply of two records", say: speaks(raw(11, append([]byte{1 << 3, 7}, append(raw(2, nil), raw(2, nil)...)...))), breaks: "several records"},
		{name: "a reply whose record does not decode", say: speaks(raw(11, append([]byte{1 << 3, 7}, raw(2, []byte{1<<3 | 2, 9})...))), breaks: "a reply that is no record"},
		{name: "a reply that does not decode", say: speaks(raw(11, []byte{0x80})), breaks: "reply"},
		{name: "a reply with a long error", say: says(rawReply(&pb.Reply{Request: 7, Failed: true, Error: string(make([]byte, 15<<10))}))},
		{name: "a reply at the limit", say: says(rawReply(&pb.Reply{Request: 7, Record: sized(hostileRecord)}))},
		{name: "a reply a byte over the limit", say: says(rawReply(&pb.Reply{Request: 7, Record: sized(hostileRecord + 1)})), breaks: "the limit is"},
		{name: "a reply of 40 KiB", say: says(rawReply(&pb.Reply{Request: 7, Record: sized(40 << 10)})), breaks: "reply frame of"},
		{name: "a reply of 5 MiB", say: says(rawReply(&pb.Reply{Request: 7, Record: sized(5 << 20)})), breaks: "the limit is"},
		// Pings of groups that keep an order.
		{name: "failover: a ping of the highest number", mode: penstock.Failover, say: says(rawPing(&pb.Ping{Number: math.MaxUint64}))},
		{name: "failover: pings that go back", mode: penstock.Failover, say: func(h *rawHolder) {
			for _, n := range []uint64{9, 3, 1, 0, 9, 1 << 63, 2} {
				h.say(rawPing(&pb.Ping{Number: n, Heard: n, Nacks: math.MaxUint64}))
			}
		}},
		{name: "failover: an ack of what was never sent", mode: penstock.Failover, say: says(rawAck(&pb.Ack{Cumulative: 1 << 40})), breaks: never},
		{name: "failover: nacks in any order", mode: penstock.Failover, say: func(h *rawHolder) {
			for _, seq := range []uint64{7, 2, 5, 2, 8, 1} {
				h.say(rawNack(&pb.Nack{Seq: seq, Kind: frame.NackReturned}))
			}
		}},
		{name: "by key: nacks in any order", mode: penstock.KeyAffinity, say: func(h *rawHolder) {
			for _, seq := range []uint64{7, 2, 5, 2, 8, 1} {
				h.say(rawNack(&pb.Nack{Seq: seq, Kind: frame.NackReturned}))
			}
		}},
		// The end.
		{name: "a drain as a reply", say: says(rawDrain(&pb.Drain{Last: 3, Reply: true})), breaks: "a drain that was not asked for"},
		{name: "a drain that names a last message", say: says(rawDrain(&pb.Drain{Last: math.MaxUint64}))},
		{name: "drains without end", say: repeats(rawDrain(&pb.Drain{}), 1000)},
		{name: "data", say: says(&pb.Frame{Kind: &pb.Frame_Data{Data: &pb.Data{First: 1, Records: []*pb.Record{{}}}}}), breaks: "data frame on an open connection"},
	}
	for _, c := range rawCases() {
		cases = append(cases, hostileMember{name: c.name, say: func(h *rawHolder) { c.say(h.rawPeer) }, breaks: c.breaks, hangsUp: c.hangsUp, unheard: c.unheard})
	}
	return cases
}
