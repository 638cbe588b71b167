package pipes_test

// Peers that hold a token, or none, and keep to nothing.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// tokenOf is the destination's token, as whoever may read etcd has it.
func tokenOf(t *testing.T, ns, dest, sender string) []byte {
	t.Helper()
	value, err := harness.Client(t).Get(harness.Context(t), ns+"/secret/"+dest+"/"+sender)
	if err != nil || len(value.Kvs) != 1 {
		t.Fatalf("the secret: %v, %v", value, err)
	}
	secret := &pb.Secret{}
	if err := proto.Unmarshal(value.Kvs[0].Value, secret); err != nil {
		t.Fatal(err)
	}
	return secret.Token
}

// intrude is a member's connection without a member behind it.
func intrude(t *testing.T, url string, token []byte, dest, group, member string) (*socket.Conn, error) {
	t.Helper()
	conn, err := socket.Dial(harness.Context(t), socket.DialConfig{
		URL: url, Token: token,
		Hello: frame.Hello{
			Destination: dest, Group: group, Member: member, Mode: pb.Mode_AT_LEAST_ONCE, Policy: pb.QueuePolicy_BLOCK,
			KeepFor: time.Minute, Window: 1 << 20, WindowBytes: 1 << 30, Concurrency: 1,
		},
	})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// Promise: a machine that vanishes is noticed within 3 s, also when it vanishes
// just after it asked for the end of its link, while the sender's writer is stuck.
func TestVanishAfterDrain(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	port := penstocktest.FreePort(t)
	road := penstocktest.NewProxy(t, harness.Loopback(port))
	rt := harness.Runtime(t, ns, penstock.Listen(fmt.Sprintf("tcp://127.0.0.1:%d?advertise=%s", port, road.Addr())))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"), penstock.MaxQueue(65536, 64<<20))
	conn, err := intrude(t, orders.URL(), tokenOf(t, ns, "orders", "s"), "orders", "billing", "mallory")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SendAck(&frame.Ack{CreditMessages: 1 << 20, CreditBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	for full := false; !full; {
		ctx, cancel := context.WithTimeout(harness.Context(t), 300*time.Millisecond)
		full = orders.Send(ctx, penstock.Message{Value: make([]byte, 256<<10)}) != nil
		cancel()
	}
	if err := conn.SendDrain(frame.Drain{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // it arrives; nothing can be seen of that
	road.Hang()
	began := time.Now()
	gone := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "mallory" })
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("noticed after %s: %v", took, gone.Cause)
	}
	if gone.Requeued == 0 {
		t.Error("what it held was not queued again")
	}
	road.Cut()
}

// asked is what a stranger learns who asks a listener for a destination.
type asked struct {
	incarnation string
	code        pb.Code
	reason      string
}

func inquire(t *testing.T, url, dest string) (a asked) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	write := func(f *pb.Frame) {
		b, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(b))), b...)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() *pb.Frame {
		var head [8]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, binary.BigEndian.Uint64(head[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		f := &pb.Frame{}
		if err := proto.Unmarshal(b, f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if _, err := c.Write(pull); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len(pull))); err != nil {
		t.Fatal(err)
	}
	write(&pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
		Version: 1, Destination: dest, Group: "g", Member: "m", Nonce: make([]byte, 32), Url: url,
	}}})
	a.incarnation = read().GetChallenge().GetIncarnation()
	write(&pb.Frame{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: make([]byte, 32)}}})
	bye := read().GetBye()
	a.code, a.reason = bye.GetCode(), bye.GetReason()
	return a
}

// Promise: who has no token does not learn which destinations there are, also from
// a process with several listeners.
func TestStrangerAsksTwoListeners(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	mails := harness.Register(t, rt, "mails", penstock.SenderID("s"), penstock.ListenOn("tcp://localhost:0"))
	if orders.URL() == mails.URL() {
		t.Fatal("both are served by one listener")
	}
	refusal := inquire(t, orders.URL(), "nowhere")
	for _, dest := range []string{"orders", "mails", "nowhere", "elsewhere"} {
		first, second := inquire(t, orders.URL(), dest), inquire(t, mails.URL(), dest)
		if first != inquire(t, orders.URL(), dest) || second != inquire(t, mails.URL(), dest) {
			t.Errorf("%s: another answer the second time", dest)
		}
		if first.incarnation == second.incarnation {
			t.Errorf("%s: both listeners tell %s", dest, first.incarnation)
		}
		for _, a := range []asked{first, second} {
			if len(a.incarnation) != len(refusal.incarnation) || a.code != refusal.code || a.reason != refusal.reason {
				t.Errorf("%s: told %+v, of nowhere %+v", dest, a, refusal)
			}
		}
	}
	var refused *socket.RefusedError
	if _, err := intrude(t, orders.URL(), tokenOf(t, ns, "mails", "s"), "mails", "g", "m"); !errors.As(err, &refused) || refused.Code != pb.Code_BAD_PROOF {
		t.Errorf("the token opens a destination at the wrong listener: %v", err)
	}
}

// Promise: a token does not make groups without end.
func TestGroupsByHelloAreBounded(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	token := tokenOf(t, ns, "orders", "s")
	var refused *socket.RefusedError
	groups := 0
	for ; groups < 200 && refused == nil; groups++ {
		if _, err := intrude(t, orders.URL(), token, "orders", fmt.Sprint("g", groups), "m"); err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
	}
	if refused == nil || refused.Code != pb.Code_LIMIT {
		t.Fatalf("%d groups that are not in etcd, and then %v", groups, refused)
	}
	harness.Join(t, rt, "orders", "billing") // etcd shows it, whoever came before
}

// Promise: who breaks the protocol loses the link, with an event that says why.
func TestProtocolIsKept(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	token := tokenOf(t, ns, "orders", "s")
	for name, say := range map[string]func(*socket.Conn) error{
		"acks":  func(c *socket.Conn) error { return c.SendAck(&frame.Ack{Cumulative: 7}) },
		"nacks": func(c *socket.Conn) error { return c.SendNack(frame.Nack{Seq: 7}) },
		"replies": func(c *socket.Conn) error {
			return c.SendReply(&frame.Reply{Request: 7, Record: []byte{2<<3 | 2, 1, 0xff}})
		},
		"renews":  func(c *socket.Conn) error { return c.SendAck(&frame.Ack{Renewed: []frame.Range{{From: 1, To: 9}}}) },
		"credits": func(c *socket.Conn) error { return c.SendAck(&frame.Ack{CreditMessages: 1<<64 - 1}) },
	} {
		conn, err := intrude(t, orders.URL(), token, "orders", "billing", name)
		if err != nil {
			t.Fatal(err)
		}
		if err := say(conn); err != nil {
			t.Fatal(err)
		}
		e := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.ProtocolViolated) bool { return e.Member == name })
		if !errors.Is(e.Err, frame.ErrProtocol) {
			t.Errorf("%s: %v", name, e.Err)
		}
		penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool {
			return e.Member == name && errors.Is(e.Cause, frame.ErrProtocol)
		})
	}
}
