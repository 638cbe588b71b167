package pipes_test

// What a sender with a token can send, case by case, and what becomes of it: the link ends
// with an event and a Bye that say why, or it is ignored. Whatever it is, the member gets
// all of the honest sender's messages, once.

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// hostileSender is one case. Its member has granted credit for hostileCredit messages.
type hostileSender struct {
	name string
	mode penstock.Mode
	// idle: the member has no reader yet, so there is no credit.
	idle bool
	say  func(*rawPeer)
	// breaks, hangsUp and unheard are as of hostileMember.
	breaks           string
	hangsUp, unheard bool
	// brings is how many messages of it the member hands out.
	brings int
	// leaves: the member leaves first, so that it has asked for the end of the link.
	leaves bool
}

// hostileCredit is what a member grants at first.
const hostileCredit = 64

func rawData(first uint64, records ...*pb.Record) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Data{Data: &pb.Data{First: first, Records: records}}}
}

// rawRecords are n small records.
func rawRecords(n int) []*pb.Record { return slices.Repeat([]*pb.Record{{Value: []byte("x")}}, n) }

func hostileSenders() []hostileSender {
	one := &pb.Record{Value: []byte("x")}
	tell := func(fs ...*pb.Frame) func(*rawPeer) {
		return func(p *rawPeer) {
			for _, f := range fs {
				p.say(f)
			}
		}
	}
	body := func(b []byte) func(*rawPeer) { return func(p *rawPeer) { p.body(b) } }
	with := func(change func(*pb.Data)) *pb.Frame {
		d := &pb.Data{First: 1, Records: []*pb.Record{one}}
		change(d)
		return &pb.Frame{Kind: &pb.Frame_Data{Data: d}}
	}
	headers := func(n int) *pb.Record {
		return &pb.Record{Value: []byte("x"), Headers: slices.Repeat([]*pb.Header{{Name: "a", Value: []byte("b")}}, n)}
	}
	cases := []hostileSender{
		// Credit.
		{name: "data without credit", idle: true, say: tell(rawData(1, one)), breaks: "with credit for 0"},
		{name: "more messages than credit in one frame", say: tell(rawData(1, rawRecords(200_000)...)), breaks: "with credit for"},
		{name: "empty messages over the credit", say: tell(rawData(1, slices.Repeat([]*pb.Record{{}}, 500_000)...)), breaks: "with credit for"},
		{name: "more bytes than credit", say: tell(rawData(1, slices.Repeat([]*pb.Record{{Value: make([]byte, 16<<10)}}, 40)...)), breaks: "bytes came with credit for"},
		{name: "all that credit allows", say: tell(rawData(1, rawRecords(hostileCredit)...)), brings: hostileCredit},
		// Sequences.
		{name: "a message twice", say: tell(rawData(1, one), rawData(1, one)), breaks: "message 1 came where 2 was due", brings: 1},
		{name: "sequences that go back", say: tell(rawData(1, one, one, one), rawData(2, one)), breaks: "message 2 came where 4 was due", brings: 3},
		{name: "a gap", say: tell(rawData(1, one), rawData(3, one)), breaks: "message 3 came where 2 was due", brings: 1},
		{name: "a beginning in the middle", say: tell(rawData(1000, one)), breaks: "message 1000 came where 1 was due"},
		{name: "sequence 0", say: tell(rawData(0, one)), breaks: "sequence 0 cannot be"},
		{name: "the last sequence there is", say: tell(rawData(math.MaxUint64, one)), breaks: "cannot be"},
		{name: "failover: a gap", mode: penstock.Failover, say: tell(rawData(2, one)), breaks: "message 2 came where 1 was due"},
		{name: "by key: sequences that go back", mode: penstock.KeyAffinity, say: tell(rawData(1, one, one), rawData(1, one)), breaks: "message 1 came where 3 was due"},
		// Contents of a frame.
		{name: "data without messages", say: tell(rawData(1)), breaks: "no records"},
		{name: "too few attempts", say: tell(with(func(d *pb.Data) { d.Records = rawRecords(3); d.Attempts = []uint32{1} })), breaks: "attempts for 3 records"},
		{name: "too many attempts", say: tell(with(func(d *pb.Data) { d.Attempts = make([]uint32, 1_000_000) })), breaks: "1000000 attempts for 1 records"},
		{name: "attempts and deaths as many as there can be", say: tell(with(func(d *pb.Data) {
			d.Attempts, d.Deaths, d.Redelivered = []uint32{math.MaxUint32}, math.MaxUint32, true
		})), brings: 1},
		{name: "a record cut short", say: body(raw(5, append([]byte{1 << 3, 1}, 2<<3|2, 100, 1))), breaks: "cut short"},
		{name: "data that does not decode", say: body(raw(5, []byte{0x80})), breaks: "data"},
		{name: "data with what is not known", say: body(raw(5, append([]byte{1 << 3, 1}, append(raw(15, make([]byte, 100)), raw(2, raw(2, []byte("x")))...)...))), brings: 1},
		// Messages.
		{name: "a message that does not decode", say: body(raw(5, append([]byte{1 << 3, 1}, raw(2, []byte{2<<3 | 2, 9})...)))},
		{name: "a message as large as was said", say: tell(rawData(1, sized(hostileRecord))), brings: 1},
		{name: "a message larger than was said", say: tell(rawData(1, one, sized(hostileRecord+1))), breaks: "whose largest has"},
		{name: "a message of 5 MiB", say: tell(rawData(1, sized(5<<20))), breaks: "bytes came with credit for"},
		{name: "as many headers as fit", say: tell(rawData(1, headers(2000))), brings: 1},
		{name: "a header larger than a message", say: tell(rawData(1, &pb.Record{Headers: []*pb.Header{{Name: "a", Value: make([]byte, hostileRecord)}}})), breaks: "whose largest has"},
		{name: "more headers than fit", say: tell(rawData(1, headers(20_000))), breaks: "whose largest has"},
		{name: "a message that has expired", say: tell(rawData(1, &pb.Record{Value: []byte("x"), ExpiresUnixNano: 1}))},
		{name: "a message that expired before all time", say: tell(rawData(1, &pb.Record{Value: []byte("x"), ExpiresUnixNano: math.MinInt64}))},
		{name: "a request of the highest number", say: tell(rawData(1, &pb.Record{Value: []byte("x"), Request: math.MaxUint64})), brings: 1},
		{name: "a message that is for a topic", say: tell(rawData(1, &pb.Record{Value: []byte("x"), Tombstone: true, Id: string(make([]byte, 10_000)), Delay: &pb.Delay{DueUnixNano: math.MinInt64}})), brings: 1},
		// Frames of the other side.
		{name: "an ack", say: tell(rawAck(&pb.Ack{Cumulative: 1})), breaks: "ack frame on an open connection"},
		{name: "a nack", say: tell(rawNack(&pb.Nack{Seq: 1})), breaks: "nack frame on an open connection"},
		{name: "a reply", say: tell(rawReply(&pb.Reply{Request: 1, Failed: true})), breaks: "reply frame on an open connection"},
		// Pings of groups that keep an order.
		{name: "failover: it has heard what was never said", mode: penstock.Failover, say: tell(rawPing(&pb.Ping{Heard: math.MaxUint64}), rawData(1, one))},
		{name: "failover: pings that go back", mode: penstock.Failover, say: tell(rawPing(&pb.Ping{Heard: 1 << 63}), rawPing(&pb.Ping{Heard: 0}), rawPing(&pb.Ping{Number: 7}))},
		{name: "failover: it has taken nacks that were never said", mode: penstock.Failover, say: tell(rawPing(&pb.Ping{Nacks: math.MaxUint64}), rawPing(&pb.Ping{Nacks: 1}))},
		// The end.
		{name: "a drain", say: tell(rawDrain(&pb.Drain{})), breaks: "a drain that was not asked for"},
		{name: "a reply to a drain that was not asked for", say: tell(rawDrain(&pb.Drain{Last: math.MaxUint64, Reply: true})), breaks: "a drain that was not asked for"},
		{name: "a last message before the last", leaves: true, say: tell(rawDrain(&pb.Drain{Last: 1, Reply: true})), breaks: "is said to be the last"},
		{name: "it stops, and does not", say: tell(rawBye(&pb.Bye{Code: pb.Code_SHUTTING_DOWN}), rawData(1, one)), hangsUp: true},
	}
	for _, c := range rawCases() {
		cases = append(cases, hostileSender{name: c.name, say: c.say, breaks: c.breaks, hangsUp: c.hangsUp, unheard: c.unheard})
	}
	return cases
}

// Promise: whatever a sender with a token sends, members lose nothing of other senders and
// get nothing of them twice; what breaks the protocol ends its link with an event that names
// it and says why, and it is told; the rest is ignored; memory is bounded.
func TestHostileSender(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	defer bugs(t, rt)()
	watchMemory(t, 192<<20)
	token, life := bytes.Repeat([]byte{9}, 32), hex.EncodeToString(make([]byte, 16))
	for i, c := range hostileSenders() {
		t.Run(c.name, func(t *testing.T) {
			const n = 10
			dest := fmt.Sprint("sender-", i)
			orders := harness.Register(t, rt, dest, penstock.SenderID("s"))
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			put := func(key string, m proto.Message) {
				value, err := proto.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				harness.OverwriteKey(t, harness.Client(t), ns+key, string(value))
			}
			put("/secret/"+dest+"/evil", &pb.Secret{Token: token, Incarnation: life})
			put("/dest/"+dest+"/senders/evil", &pb.Sender{Id: "evil", Urls: []string{"tcp://" + ln.Addr().String()}, Incarnation: life})
			defer func() { // nobody dials it any more
				harness.RemoveKey(t, harness.Client(t), ns+"/dest/"+dest+"/senders/evil")
				if err := orders.Unregister(harness.Context(t)); err != nil && !errors.Is(err, penstock.ErrUnavailable) { // a busy etcd
					t.Error(err)
				}
			}()

			joined := make(chan *penstock.Member, 1)
			go func() { // it waits for a word of each sender
				m, err := rt.Join(harness.Context(t), dest, "g", penstock.MemberID("me"), penstock.WindowBytes(256<<10), penstock.InMode(cmp.Or(c.mode, penstock.AtLeastOnce)))
				if err != nil {
					t.Error(err)
				}
				joined <- m
			}()
			p := rawSender(t, ln, token, "evil", life, hostileRecord)
			_ = ln.Close() // it is not dialled again
			m := <-joined
			if m == nil {
				return
			}
			var got counted
			var brought atomic.Int64
			read := func() (stop func()) {
				return honest(t, m, func(d penstock.Delivery) {
					if d.Sender == "evil" {
						brought.Add(1)
					} else {
						got.note(harness.Number(d))
					}
				})
			}
			if !c.idle {
				defer read()()
				if !p.until(func(f *pb.Frame) bool { return f.GetAck().GetCreditMessages() >= hostileCredit }) {
					t.Fatalf("there is no credit, and the member said %v", p.told)
				}
			}
			left := make(chan error, 1)
			if c.leaves {
				p.say(rawData(1, rawRecords(3)...))
				go func() { left <- m.Leave(harness.Context(t)) }()
				if !p.until(func(f *pb.Frame) bool { return f.GetDrain() != nil }) {
					t.Fatal("a member that leaves asks for nothing")
				}
			}
			c.say(p)
			switch {
			case c.breaks != "":
				p.violated(events, dest, "me", "evil", c.breaks, c.unheard)
			case c.hangsUp:
				penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.SenderUnlinked) bool {
					return e.Destination == dest && e.Sender == "evil"
				})
			default:
				harness.Eventually(t, "what it has sent is handled", func() bool { return brought.Load() >= int64(c.brings) })
				for _, e := range events.Events() {
					if u, ok := e.(messages.SenderUnlinked); ok && u.Destination == dest && u.Sender == "evil" {
						t.Errorf("the link has ended: %v", u.Cause)
					}
				}
				p.say(rawPing(&pb.Ping{})) // it is heard
			}
			p.close()
			if c.idle {
				defer read()()
			}
			if c.leaves {
				if err := harness.Await(t, "Leave", left); err != nil && !errors.Is(err, penstock.ErrUnavailable) {
					t.Errorf("leave: %v", err)
				}
				return
			}
			harness.Send(t, orders, 0, n)
			if err := orders.Flush(harness.Context(t)); err != nil {
				t.Errorf("the honest sender's messages: %v", err)
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			for id := range n {
				if got.of[id] != 1 {
					t.Errorf("message %d of the honest sender was handled %d times", id, got.of[id])
				}
			}
			if b := int(brought.Load()); b > c.brings {
				t.Errorf("%d messages of the hostile sender were handled, want at most %d", b, c.brings)
			}
			for _, e := range events.Events() {
				if v, ok := e.(messages.ProtocolViolated); ok && v.Destination == dest && (v.Sender != "evil" || c.breaks == "") {
					t.Errorf("unexpected: %+v", v)
				}
			}
		})
	}
}

// Promise: a member cannot reply to a request that another member of its group has: its
// number cannot be guessed.
func TestHostileReplies(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	d := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	m := harness.Join(t, rt, "orders", "g")
	p := rawMember(t, tokenOf(t, ns, "orders", "s"), rawHello(d.URL(), "orders", "g", "mallory"))
	guess := func() {
		for n := range uint64(300) {
			p.say(rawReply(&pb.Reply{Request: n + 1, Record: &pb.Record{Value: []byte("of mallory")}}))
		}
		p.say(rawDrain(&pb.Drain{}))
		p.until(func(f *pb.Frame) bool { return f.GetDrain() != nil }) // all of it was heard
	}
	consume(t, m, penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
		guess()
		return penstock.Message{Value: []byte("honest")}, nil
	}))
	for range 3 {
		if r, err := d.Request(harness.Context(t), penstock.Message{Value: []byte("?")}); err != nil || string(r.Value) != "honest" {
			t.Errorf("the reply is %q, %v", r.Value, err)
		}
	}
}
