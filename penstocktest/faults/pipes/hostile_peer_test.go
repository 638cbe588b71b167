package pipes_test

// A peer that holds a token and keeps to nothing, on a real link, in both
// directions: bytes decide what it says. Whatever that is, no actor of ours fails
// by a bug, and its honest neighbour loses nothing.

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// script reads what a hostile peer does from bytes, and is zeros behind its end.
type script struct{ rest []byte }

func (s *script) more() bool { return len(s.rest) > 0 }

func (s *script) byte() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// number is small mostly, and sometimes as large as there is.
func (s *script) number() uint64 {
	switch b := s.byte(); b {
	case 255:
		return math.MaxUint64
	case 254:
		return math.MaxInt64
	case 253:
		return 1 << 20
	default:
		return uint64(b)
	}
}

// ranges are ascending and apart, from after.
func (s *script) ranges(after uint64) (out []frame.Range) {
	for range s.byte() % 8 {
		from := after + 2 + s.number()%64
		to := from + s.number()%64
		if from <= after || to < from {
			return out
		}
		out = append(out, frame.Range{From: from, To: to})
		after = to
	}
	return out
}

// speak performs one line of the script; false when the connection is over.
func (s *script) speak(c *socket.Conn) bool {
	var err error
	switch s.byte() % 9 {
	case 0, 1:
		a := frame.Ack{Cumulative: s.number(), CreditMessages: s.number(), CreditBytes: s.number() << 10, Withdraw: s.byte()%4 == 0}
		a.Ranges = s.ranges(a.Cumulative)
		a.Renewed = s.ranges(0)
		err = c.SendAck(&a)
	case 2:
		err = c.SendNack(frame.Nack{Seq: s.number(), Kind: uint32(s.number()), Reason: string(make([]byte, s.byte()))})
	case 3:
		err = c.SendDrain(frame.Drain{Last: s.number(), Reply: s.byte()%2 == 0})
	case 4:
		err = c.SendBye(pb.Code(s.number()%16), "so be it")
	case 5, 6:
		var records []byte
		for i := range 1 + s.byte()%16 {
			m := penstock.Message{Value: []byte{'x', i}}
			records = messages.AppendRecord(records, &m)
		}
		if n := int(s.byte()); n < 32 && n < len(records) {
			records = records[:len(records)-n] // torn
		}
		var attempts []uint32
		for range s.byte() % 4 {
			attempts = append(attempts, uint32(s.number()))
		}
		err = c.SendData(s.number(), attempts, s.byte()%2 == 0, uint32(s.number()), records)
	case 8:
		r := frame.Reply{Request: s.number(), Failed: s.byte()%4 == 0, Error: string(make([]byte, s.byte()))}
		if s.byte()%2 == 0 {
			r.Record = messages.AppendRecord(nil, &penstock.Message{Value: make([]byte, s.number()%(2<<20))})
			if s.byte()%4 == 0 {
				r.Record = r.Record[:len(r.Record)/2] // torn
			}
		}
		err = c.SendReply(&r)
	case 7:
		time.Sleep(time.Duration(s.byte()%4) * time.Millisecond) // what was said is read
	}
	return err == nil || errors.Is(err, messages.ErrInvalid) || errors.Is(err, messages.ErrTooLarge)
}

// perform plays the script; the frames that come are told to heard.
func (s *script) perform(c *socket.Conn, heard func(*frame.Frame)) {
	var reading sync.WaitGroup
	reading.Go(func() {
		var f frame.Frame
		for c.Recv(&f) == nil {
			heard(&f)
		}
	})
	for s.more() && s.speak(c) {
	}
	c.Close()
	reading.Wait()
}

// hostileSeeds are scripts that are worth it: nothing, acks of what was never sent, all
// credit and no ack, nacks without end, drains and byes out of turn, torn records.
func hostileSeeds(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 253, 253, 1, 0, 0})
	f.Add([]byte{0, 0, 253, 253, 1, 0, 0, 7, 3, 0, 20, 0, 0, 1, 0, 0})
	f.Add([]byte{0, 255, 255, 255, 0, 7, 1, 1, 2, 3, 4, 5, 6})
	f.Add([]byte{0, 0, 253, 253, 1, 0, 0, 7, 3, 2, 1, 0, 3, 2, 2, 1, 3, 2, 3, 2, 3, 2, 4, 250, 9})
	f.Add([]byte{3, 0, 0, 3, 9, 1, 4, 5, 0, 0, 253, 253, 1, 0, 0})
	f.Add([]byte{5, 3, 200, 0, 1, 0, 5, 3, 5, 0, 5, 1, 6, 9, 200, 1, 254, 255, 1})
	f.Add([]byte{5, 3, 200, 0, 1, 0, 3, 0, 0, 4, 3, 7, 3})
	f.Add([]byte{0, 0, 253, 253, 1, 0, 0, 0, 5, 10, 1, 0, 7, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 3, 1, 1})
	f.Add([]byte("\x1f\x1cz\xe8a\a"))
}

// bugs counts actors that failed by a panic.
func bugs(t *testing.T, rt *penstock.Runtime) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var found atomic.Pointer[string]
	over := make(chan struct{})
	events := rt.Events(ctx)
	go func() {
		defer close(over)
		for e := range events {
			var err error
			switch e := e.(type) {
			case messages.ActorRestarted:
				err = e.Err
			case messages.LinkDelayed:
				err = e.Err
			case messages.ActorStopped:
				err = e.Err
			}
			var bug *supervisor.PanicError
			if errors.As(err, &bug) {
				text := fmt.Sprintf("%T: %v\n%s", e, err, bug.Stack)
				found.Store(&text)
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		<-over
		if text := found.Load(); text != nil {
			t.Error(*text)
		}
	}
}

// honest handles what comes to a member and notes it.
func honest(t *testing.T, m *penstock.Member, note func(penstock.Delivery)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = m.Consume(ctx, func(_ context.Context, d penstock.Delivery) error { note(d); return nil })
	}()
	return func() { cancel(); <-over }
}

func FuzzHostileMember(f *testing.F) {
	hostileSeeds(f)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if len(bytes) > 512 {
			t.Skip("long enough")
		}
		const n = 40
		ns := penstocktest.Space(t)
		rt := harness.Runtime(t, ns)
		check := bugs(t, rt)
		orders := harness.Register(t, rt, "orders", penstock.SenderID("s"), penstock.RetryDelay(5*time.Millisecond, 20*time.Millisecond))
		var mu sync.Mutex
		handled := make(map[int]bool)
		note := func(id int) { mu.Lock(); handled[id] = true; mu.Unlock() }
		conn, err := intrude(t, orders.URL(), tokenOf(t, ns, "orders", "s"), "orders", "billing", "mallory")
		if err != nil {
			t.Fatal(err)
		}
		stop := honest(t, harness.Join(t, rt, "orders", "billing"), func(d penstock.Delivery) { note(harness.Number(d)) })
		defer stop()
		harness.Send(t, orders, 0, n)
		(&script{bytes}).perform(conn, func(f *frame.Frame) {
			if f.Kind != frame.KindData {
				return
			}
			for rest := f.Data.Records; len(rest) > 0; {
				var r messages.Payload
				n, err := messages.ConsumeRecord(rest, &r)
				if err != nil {
					t.Errorf("the sender's records: %v", err)
					return
				}
				rest = rest[n:]
				note(harness.Number(penstock.Delivery{Payload: r})) // it may ack it
			}
		})
		if err := orders.Flush(harness.Context(t)); err != nil {
			t.Errorf("the honest member did not get what was left: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(handled) != n {
			t.Errorf("%d of %d reached anybody", len(handled), n)
		}
		check()
	})
}

func FuzzHostileSender(f *testing.F) {
	hostileSeeds(f)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if len(bytes) > 512 {
			t.Skip("long enough")
		}
		const n = 40
		ns := penstocktest.Space(t)
		ctx := harness.Context(t)
		rt := harness.Runtime(t, ns)
		check := bugs(t, rt)
		orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))

		token := make([]byte, 32)
		life := hex.EncodeToString(make([]byte, 16))
		evil, err := socket.Listen(ctx, socket.ListenerConfig{
			URLs:   []address.URL{{Scheme: "tcp", Host: "127.0.0.1"}},
			Lookup: func(string) (socket.Secret, bool) { return socket.Secret{Token: token, Incarnation: life}, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer evil.Close()
		put := func(key string, m proto.Message) {
			value, err := proto.Marshal(m)
			if err == nil {
				_, err = harness.Client(t).Put(ctx, ns+key, string(value))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		put("/secret/orders/evil", &pb.Secret{Token: token, Incarnation: life})
		put("/dest/orders/senders/evil", &pb.Sender{Id: "evil", Urls: []string{evil.URL()}, Incarnation: life})

		handled := make(chan int, 10*n)
		var member *penstock.Member
		joined := make(chan error, 1)
		go func() { // it waits for a word of each sender
			var err error
			member, err = rt.Join(ctx, "orders", "billing")
			joined <- err
		}()
		conn, err := evil.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Welcome("evil", 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := harness.Await(t, "Join", joined); err != nil {
			t.Fatal(err)
		}
		stop := honest(t, member, func(d penstock.Delivery) {
			if d.Sender == "s" {
				handled <- harness.Number(d)
			}
		})
		defer stop()
		harness.Send(t, orders, 0, n)
		(&script{bytes}).perform(conn, func(*frame.Frame) {})
		if err := orders.Flush(harness.Context(t)); err != nil {
			t.Errorf("the honest sender's messages: %v", err)
		}
		got := make(map[int]int)
		for len(handled) > 0 {
			got[<-handled]++
		}
		for id := range n {
			if got[id] != 1 {
				t.Errorf("message %d of the honest sender was handled %d times", id, got[id])
			}
		}
		check()
	})
}
