package pipes_test

// Bad input, from the caller and from strangers on the port.

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// Promise: what cannot be used is refused at the call, with ErrInvalid and an
// error that names it; nothing was done.
func TestBadInputIsRefusedAtTheCall(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	ctx := harness.Context(t)
	begin := func(opts ...penstock.StartOption) func() error {
		return func() error {
			rt, err := penstock.Start(ctx, append([]penstock.StartOption{penstock.EtcdConfig(harness.Etcd.Config())}, opts...)...)
			if err == nil {
				rt.Stop(ctx)
			}
			return err
		}
	}
	register := func(name string, opts ...penstock.RegisterOption) func() error {
		return func() error { _, err := rt.Register(ctx, name, opts...); return err }
	}
	join := func(dest, group string, opts ...penstock.JoinOption) func() error {
		return func() error { _, err := rt.Join(ctx, dest, group, opts...); return err }
	}
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		name  string
		call  func() error
		names string // what the error must name
	}{
		{"no etcd", begin(penstock.EtcdConfig(clientv3.Config{})), "endpoint"},
		{"etcd without a port", begin(penstock.Etcd("localhost")), `"localhost"`},
		{"etcd without a host", begin(penstock.Etcd("127.0.0.1:2379", "http://")), `"http://"`},
		{"etcd at a file", begin(penstock.Etcd("/run/etcd.sock")), "unix://path"},
		{"certificates for plain text", begin(penstock.EtcdConfig(clientv3.Config{Endpoints: []string{"https://127.0.0.1:1", "http://127.0.0.1:2"}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}})), `"http://127.0.0.1:2"`},
		{"user that is no text", begin(penstock.EtcdConfig(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Username: "caf\xe9", Password: "p"})), "UTF-8"},
		{"prefix without a slash", begin(penstock.Prefix("penstock")), `"penstock"`},
		{"prefix with a slash at its end", begin(penstock.Prefix("/penstock/")), `"/penstock/"`},
		{"lease too short", begin(penstock.LeaseTTL(time.Second)), "1s"},
		{"lease too long", begin(penstock.LeaseTTL(2 * time.Hour)), "2h"},
		{"no scheme", begin(penstock.Listen("127.0.0.1:7000")), `"127.0.0.1:7000"`},

		{"empty name", register(""), `""`},
		{"name with a slash", register("a/b"), `"a/b"`},
		{"name that begins with a dot", register(".a"), `".a"`},
		{"name with a space", register("a b"), `"a b"`},
		{"name that is not ASCII", register("bücher"), "bücher"},
		{"long name", register(long), "129"},
		{"bad sender id", register("d", penstock.SenderID("a/b")), `"a/b"`},
		{"unknown scheme", register("d", penstock.ListenOn("udp://127.0.0.1:0")), `"udp"`},
		{"no port", register("d", penstock.ListenOn("tcp://127.0.0.1")), "port"},
		{"port too high", register("d", penstock.ListenOn("tcp://127.0.0.1:65536")), "65536"},
		{"port that is no number", register("d", penstock.ListenOn("tcp://127.0.0.1:http")), `"http"`},
		{"range that runs backwards", register("d", penstock.ListenOn("tcp://127.0.0.1:7010-7000")), "7010-7000"},
		{"range from 0", register("d", penstock.ListenOn("tcp://127.0.0.1:0-7000")), "0-7000"},
		{"a path", register("d", penstock.ListenOn("tcp://127.0.0.1:0/x")), `'/'`},
		{"bad host", register("d", penstock.ListenOn("tcp://bad,host:0")), `"bad,host"`},
		{"two addresses of which one has no scheme", register("d", penstock.ListenOn("tcp://127.0.0.1:0 host:0")), `"host:0"`},
		{"nobody can dial what is advertised", register("d", penstock.ListenOn("tcp://127.0.0.1:0?advertise=0.0.0.0")), `"0.0.0.0"`},
		{"a variable that is not set", register("d", penstock.ListenOn("tcp://127.0.0.1:0?advertise=$PENSTOCK_NOT_SET")), "PENSTOCK_NOT_SET is not set"},
		{"an address of one link", register("d", penstock.ListenOn("tcp://[fe80::1%lo]:0")), "?advertise="},
		{"unknown query", register("d", penstock.ListenOn("tcp://127.0.0.1:0?advertize=x")), `"advertize"`},
		{"negative message size", register("d", penstock.MaxMessageSize(-1)), "-1"},
		{"message size over the largest", register("d", penstock.MaxMessageSize(64<<20+1)), "67108865"},
		{"negative queue", register("d", penstock.MaxQueue(-1, 0)), "-1"},
		{"queue that holds no message", register("d", penstock.MaxQueue(1, 1000)), "1000"},
		{"attempts", register("d", penstock.MaxAttempts(-2)), "-2"},
		{"delay that shrinks", register("d", penstock.RetryDelay(time.Minute, time.Second)), "1m0s"},
		{"negative delay", register("d", penstock.RetryDelay(-time.Second, time.Second)), "-1s"},

		{"destination to join", join("a/b", "g"), `"a/b"`},
		{"group", join("d", "g g"), `"g g"`},
		{"empty group", join("d", ""), "group"},
		{"member id", join("d", "g", penstock.MemberID("-")), `"-"`},
		{"mode", join("d", "g", penstock.InMode("exactly-once")), `"exactly-once"`},
		{"policy", join("d", "g", penstock.OnFull("panic")), `"panic"`},
		{"keep for", join("d", "g", penstock.KeepFor(time.Millisecond)), "1ms"},
		{"window", join("d", "g", penstock.Window(-1)), "-1"},
		{"window over the largest", join("d", "g", penstock.Window(1<<20+1)), "1048577"},
		{"window of bytes", join("d", "g", penstock.WindowBytes(-5)), "-5"},
		{"concurrency", join("d", "g", penstock.Concurrency(-2)), "-2"},
		{"ack wait", join("d", "g", penstock.AckWait(time.Millisecond)), "1ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := harness.Within(t, harness.Soon, "the call", c.call)
			if !errors.Is(err, penstock.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), c.names) {
				t.Errorf("%q does not name %s", err, c.names)
			}
		})
	}
	harness.AwaitKeys(t, harness.Client(t), ns+"/", "nothing was done", harness.Exactly(nil))
}

// Promise: all faults at once.
func TestBadInputNamesEveryFault(t *testing.T) {
	_, err := penstock.Start(t.Context(), penstock.Etcd("nonsense::"), penstock.Prefix("a"), penstock.LeaseTTL(1))
	for _, part := range []string{`"nonsense::"`, `"a"`, "1ns"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	_, err = harness.Runtime(t, penstocktest.Space(t)).Register(t.Context(), "a b", penstock.MaxMessageSize(-1), penstock.ListenOn("udp://x:0"))
	for _, part := range []string{`"a b"`, "-1", `"udp"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}

// Promise: MaxMessageSize counts key, value, and names and values of headers, in
// the check as in the error; what the encoding takes fits besides.
func TestBadInputMessageSizeCountsThePayload(t *testing.T) {
	t.Parallel()
	const limit = 1000
	headers := func(n int) (hs []penstock.Header) {
		for range n {
			hs = append(hs, penstock.Header{Name: "a", Value: []byte("b")})
		}
		return hs
	}
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders", penstock.MaxMessageSize(limit))
	m := harness.Join(t, rt, "orders", "billing")
	for name, c := range map[string]struct {
		msg  penstock.Message
		size int
	}{
		"value":                   {penstock.Message{Value: make([]byte, limit)}, limit},
		"value over":              {penstock.Message{Value: make([]byte, limit+1)}, limit + 1},
		"key and value":           {penstock.Message{Key: make([]byte, 10), Value: make([]byte, limit-10), Time: time.Now()}, limit},
		"key and value over":      {penstock.Message{Key: make([]byte, 11), Value: make([]byte, limit-10)}, limit + 1},
		"many headers":            {penstock.Message{Headers: headers(limit / 2)}, limit},
		"many headers over":       {penstock.Message{Value: []byte("v"), Headers: headers(limit / 2)}, limit + 1},
		"empty headers":           {penstock.Message{Headers: make([]penstock.Header, limit)}, limit},
		"empty headers over":      {penstock.Message{Headers: make([]penstock.Header, limit+1)}, limit + 1},
		"250 headers of 2 bytes":  {penstock.Message{Headers: headers(250)}, 500},
		"a little over the limit": {penstock.Message{Value: make([]byte, 1050)}, 1050},
	} {
		err := orders.Send(harness.Context(t), c.msg)
		if c.size <= limit && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.size <= limit {
			continue
		}
		if !errors.Is(err, penstock.ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes", c.size)) || !strings.Contains(err.Error(), fmt.Sprintf("limit is %d", limit)) {
			t.Errorf("%s: %v, which does not name %d and %d", name, err, c.size, limit)
		}
	}
	consume(t, m, func(context.Context, penstock.Delivery) error { return nil })
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	large := harness.Register(t, rt, "large")
	many := make([]penstock.Header, messages.MaxHeaders+1)
	if err := large.Send(harness.Context(t), penstock.Message{Headers: many}); !errors.Is(err, penstock.ErrTooLarge) {
		t.Errorf("more headers than can be: %v", err)
	}
}

// Promise: the largest message travels with as many headers as there can be, from
// the sender's queue into the member's frame.
func TestBadInputLargestMessageTravels(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders", penstock.MaxMessageSize(64<<20))
	m := harness.Join(t, rt, "orders", "billing", penstock.WindowBytes(1000))
	largest := penstock.Message{Value: make([]byte, 64<<20-messages.MaxHeaders), Headers: make([]penstock.Header, messages.MaxHeaders)}
	if err := orders.Send(harness.Context(t), largest); err != nil {
		t.Fatal(err)
	}
	consume(t, m, func(_ context.Context, d penstock.Delivery) error {
		if len(d.Value) != len(largest.Value) || d.HeaderCount() != messages.MaxHeaders {
			t.Errorf("%d bytes with %d headers came", len(d.Value), d.HeaderCount())
		}
		return nil
	})
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: a message over the limit is ErrTooLarge at Send and accepted for
// nobody; one at the limit travels, also over a window that is smaller.
func TestBadInputMessageOverTheLimit(t *testing.T) {
	const limit = 1 << 20
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders", penstock.MaxMessageSize(limit))
	m := harness.Join(t, rt, "orders", "billing", penstock.WindowBytes(1000))
	if err := orders.Send(harness.Context(t), penstock.Message{Value: make([]byte, limit+1000)}); !errors.Is(err, penstock.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	if n, _ := groupStats(orders, "billing"); n != 0 {
		t.Errorf("%d messages were accepted", n)
	}
	largest := bytes.Repeat([]byte("x"), limit)
	for range 2 {
		if err := orders.Send(harness.Context(t), penstock.Message{Value: largest}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for msg, err := range m.Messages(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(msg.Value, largest) {
			t.Fatalf("%d other bytes came", len(msg.Value))
		}
		if n++; n == 2 {
			msg.Ack()
			break
		}
	}
	err := orders.Send(harness.Context(t), penstock.Message{Headers: []penstock.Header{{Name: "\xff"}}})
	if !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("a header name that is not UTF-8: %v, want ErrInvalid", err)
	}
}

// stranger connects to a sender's port.
func stranger(t *testing.T, d *penstock.Destination) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(d.URL(), "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pull is how a nanomsg PULL peer begins.
var pull = []byte{0, 'S', 'P', 0, 0, 0x51, 0, 0}

// ended waits until the other side closed c.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(harness.Patience))
	var timeout net.Error
	if _, err := io.Copy(io.Discard, c); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("a stranger's connection stayed open")
	}
}

// Promise: strangers on the port are refused and counted, one event for each
// with its reason, and members that are linked, or that come, do not notice.
func TestBadInputStrangers(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	good := harness.Runtime(t, ns)
	links := penstocktest.Record(t, good)
	l := harness.NewLedger()
	l.Handle(t, "good", harness.Join(t, good, "orders", "billing"))
	load := harness.StartLoad(t, orders)
	l.Await(t, "the load flows", func(now harness.Tally) bool { return now.Total > 100 })

	refused := func(t *testing.T, c net.Conn, reason string) {
		t.Helper()
		penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.ConnectionRefused) bool {
			return e.Reason == reason && (c == nil || e.Remote == c.LocalAddr().String())
		})
	}
	dial := func(t *testing.T, token []byte, dest string) {
		t.Helper()
		conn, err := socket.Dial(harness.Context(t), socket.DialConfig{
			URL: orders.URL(), Token: token,
			Hello: frame.Hello{Destination: dest, Group: "billing", Member: "mallory", Mode: 1, Policy: 1, KeepFor: time.Minute, Window: 10, WindowBytes: 1000, Concurrency: 1},
		})
		if err == nil {
			conn.Close()
			t.Fatal("a stranger was welcomed")
		}
		if errors.Is(err, penstock.ErrInvalid) {
			t.Fatal("the test's own fault: ", err)
		}
	}
	wrong := []byte("not the token that it should be!")
	for _, c := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"garbage", func(t *testing.T) {
			c := stranger(t, orders)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: orders\r\n\r\n")
			ended(t, c)
			refused(t, c, "not-sp")
		}},
		{"the wrong half", func(t *testing.T) {
			c := stranger(t, orders)
			c.Write([]byte{0, 'S', 'P', 0, 0, 0x50, 0, 0})
			ended(t, c)
			refused(t, c, "not-sp")
		}},
		{"half a handshake", func(t *testing.T) {
			c := stranger(t, orders)
			c.Write(pull)
			ended(t, c)
			refused(t, c, "timeout")
		}},
		{"gone in mid-handshake", func(t *testing.T) {
			c := stranger(t, orders)
			c.Write(pull)
			io.ReadFull(c, make([]byte, len(pull)))
			c.Close()
			refused(t, c, "gone")
		}},
		{"a huge claimed length", func(t *testing.T) {
			c := stranger(t, orders)
			c.Write(binary.BigEndian.AppendUint64(pull, 1<<62))
			ended(t, c)
			refused(t, c, "too-large")
		}},
		{"a frame of garbage", func(t *testing.T) {
			c := stranger(t, orders)
			c.Write(append(binary.BigEndian.AppendUint64(pull, 9), "gibberish"...))
			ended(t, c)
			refused(t, c, "malformed")
		}},
		{"a wrong token", func(t *testing.T) {
			dial(t, wrong, "orders")
			refused(t, nil, "bad-proof")
		}},
		{"a destination that is not here", func(t *testing.T) {
			dial(t, wrong, "nowhere")
			refused(t, nil, "unknown-destination")
		}},
		{"1,000 idle connections", func(t *testing.T) {
			for range 1000 {
				stranger(t, orders)
			}
			refused(t, nil, "evicted")
			began := time.Now()
			newcomer := harness.Join(t, good, "orders", "billing", penstock.MemberID("newcomer"))
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("a good member waited %s", took)
			}
			if err := newcomer.Leave(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, c.do)
	}
	for _, e := range links.Events() {
		if e, ok := e.(messages.SenderUnlinked); ok && e.Cause != nil {
			t.Errorf("a good member lost its link: %+v", e)
		}
	}
	n := harness.Settle(t, load, orders, l)
	l.Complete(t, n, 0)
	counted := rt.Engine().Stats().Events[messages.EventName(messages.ConnectionRefused{})]
	if counted < 800 {
		t.Errorf("%d refusals were counted", counted)
	}
}
