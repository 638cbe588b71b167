package pipes_test

// What a member has in hand when its reading ends, when it leaves, and when it
// never settles anything.

import (
	"context"
	"errors"
	"fmt"
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

// takeBatch reads n deliveries in a loop that ends in a way of its own.
func takeBatch(t *testing.T, m *penstock.Member, n int, end string) (batch []penstock.Delivery) {
	t.Helper()
	ctx, cancel := context.WithCancel(harness.Context(t))
	defer cancel()
	defer func() { _ = recover() }()
	for msg, err := range m.Messages(ctx, penstock.ManualAck()) {
		if err != nil {
			return batch
		}
		if batch = append(batch, msg); len(batch) < n {
			continue
		}
		switch end {
		case "context":
			cancel()
		case "panic":
			panic("the loop's")
		default:
			return batch
		}
	}
	return batch
}

// Promise: what was handed out belongs to AckWait, however the loop ended: it is
// settled on the same link by acks that come later, and delivered to nobody else.
// What was not handed out goes to others.
func TestBatchIsSettledAfterTheLoop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		end  string
		wait time.Duration
	}{{"break", 0}, {"context", 0}, {"panic", 0}, {"break", -1}} {
		t.Run(fmt.Sprint(c.end, c.wait), func(t *testing.T) {
			t.Parallel()
			const n, taken = 60, 25
			ns := penstocktest.Space(t)
			rt, far := harness.Runtime(t, ns), harness.Runtime(t, ns)
			events := penstocktest.Record(t, far)
			orders := harness.Register(t, rt, "orders")
			opts := []penstock.JoinOption{penstock.Window(64)}
			if c.wait != 0 {
				opts = append(opts, penstock.AckWait(c.wait))
			}
			m := harness.Join(t, far, "orders", "billing", opts...)
			harness.Send(t, orders, 0, n)
			l := harness.NewLedger()
			batch := takeBatch(t, m, taken, c.end)
			if len(batch) != taken {
				t.Fatalf("took %d", len(batch))
			}
			e := penstocktest.WaitEvent[messages.UnreadReturned](t, events, harness.Patience, nil)
			l.Handle(t, "other", harness.Join(t, rt, "orders", "billing"))
			l.Await(t, "the rest goes to the other", func(now harness.Tally) bool { return now.Distinct >= n-taken })
			for _, msg := range batch {
				l.Enter("batch", harness.Number(msg))
				msg.Ack()
			}
			if err := orders.Flush(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
			l.Complete(t, n, 0)
			if e.Count > n-taken {
				t.Errorf("%d were returned of %d that were not handed out", e.Count, n-taken)
			}
			for _, e := range events.Events() {
				switch e.(type) {
				case messages.LateAck, messages.SenderUnlinked, messages.AckWaitExpired:
					t.Errorf("%s: %+v", messages.EventName(e), e)
				}
			}
			// The same member reads on over the same link.
			harness.Send(t, orders, n, n+1)
			harness.Send(t, orders, n+1, n+200)
			l.Handle(t, "again", m)
			l.Await(t, "all", func(now harness.Tally) bool { return now.Distinct == n+200 })
		})
	}
}

// Promise: what nobody settles goes to others after AckWait, also when its loop is
// long over.
func TestBatchThatIsNeverSettled(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt, far := harness.Runtime(t, ns), harness.Runtime(t, ns)
	events := penstocktest.Record(t, far)
	orders := harness.Register(t, rt, "orders")
	m := harness.Join(t, far, "orders", "billing", penstock.AckWait(time.Second))
	harness.Send(t, orders, 0, 10)
	batch := takeBatch(t, m, 10, "break")
	l := harness.NewLedger()
	l.Handle(t, "other", harness.Join(t, rt, "orders", "billing"))
	l.Await(t, "all", func(now harness.Tally) bool { return now.Distinct == 10 })
	batch[3].Ack()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.LateAck) bool { return e.Seq == batch[3].Seq })
}

// Promise: Leave waits for what is in hand when nobody reads any more.
func TestLeaveWaitsForWhatIsInHand(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	m := harness.Join(t, harness.Runtime(t, ns), "orders", "billing")
	harness.Send(t, orders, 0, 20)
	batch := takeBatch(t, m, 5, "break")
	left := make(chan error, 1)
	go func() { left <- m.Leave(context.Background()) }()
	l := harness.NewLedger()
	l.Handle(t, "other", harness.Join(t, rt, "orders", "billing"))
	l.Await(t, "the rest goes to the other", func(now harness.Tally) bool { return now.Distinct == 15 })
	select {
	case err := <-left:
		t.Fatalf("Leave returned with a batch in hand: %v", err)
	default:
	}
	for _, msg := range batch {
		l.Enter("batch", harness.Number(msg))
		msg.Ack()
	}
	if err := harness.Await(t, "Leave", left); err != nil {
		t.Error(err)
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.Complete(t, 20, 0)
}

// Promise: a member that leaves with stuck handlers, or a stuck loop, gives back
// after AckWait what it holds and what waits behind it, and Leave returns, saying
// so, though its context never ends.
func TestLeaveWithAStuckReader(t *testing.T) {
	t.Parallel()
	const n = 20
	loop := func(stuck func()) func(*penstock.Member) {
		return func(m *penstock.Member) {
			for range m.Messages(context.Background()) {
				stuck()
			}
		}
	}
	handlers := func(stuck func()) func(*penstock.Member) {
		return func(m *penstock.Member) {
			m.Consume(context.Background(), func(context.Context, penstock.Delivery) error { stuck(); return nil })
		}
	}
	for name, c := range map[string]struct {
		read func(func()) func(*penstock.Member)
		opts []penstock.JoinOption
		lost int
	}{
		"handler":               {handlers, nil, 0},
		"handlers":              {handlers, []penstock.JoinOption{penstock.Concurrency(4)}, 0},
		"loop":                  {loop, nil, 0},
		"handler, at most once": {handlers, []penstock.JoinOption{penstock.InMode(penstock.AtMostOnce)}, n},
		"loop, at most once":    {loop, []penstock.JoinOption{penstock.InMode(penstock.AtMostOnce)}, n},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := penstocktest.Space(t)
			rt := harness.Runtime(t, ns)
			orders := harness.Register(t, rt, "orders")
			m := harness.Join(t, harness.Runtime(t, ns), "orders", "billing", append(c.opts, penstock.AckWait(300*time.Millisecond))...)
			release, stuck := make(chan struct{}), make(chan struct{}, n)
			over := make(chan struct{})
			go func() {
				defer close(over)
				c.read(func() {
					stuck <- struct{}{}
					<-release
				})(m)
			}()
			t.Cleanup(func() {
				close(release)
				<-over
			})
			harness.Send(t, orders, 0, n)
			harness.Await(t, "it is stuck", stuck)
			left := make(chan error, 1)
			go func() { left <- m.Leave(context.Background()) }()
			if c.lost == 0 {
				l := harness.NewLedger()
				l.Handle(t, "other", harness.Join(t, rt, "orders", "billing"))
				l.Await(t, "the other gets all", func(now harness.Tally) bool { return now.Distinct == n })
			}
			if err := harness.Await(t, "Leave", left); !errors.Is(err, penstock.ErrBusy) {
				t.Errorf("Leave: %v, want ErrBusy", err)
			}
		})
	}
}

// Promise: AckWait is kept by the sender, too. A member that takes messages, beats
// and settles nothing loses them to its neighbour after AckWait and a margin, and
// gets no more; its late acks settle nothing.
func TestMemberThatSettlesNothing(t *testing.T) {
	t.Parallel()
	const n = 200
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	value, err := harness.Client(t).Get(harness.Context(t), ns+"/secret/orders/s")
	if err != nil || len(value.Kvs) != 1 {
		t.Fatalf("the secret: %v, %v", value, err)
	}
	secret := &pb.Secret{}
	if err := proto.Unmarshal(value.Kvs[0].Value, secret); err != nil {
		t.Fatal(err)
	}
	conn, err := socket.Dial(harness.Context(t), socket.DialConfig{
		URL: orders.URL(), Token: secret.Token,
		Hello: frame.Hello{
			Destination: "orders", Group: "billing", Member: "mallory", Mode: pb.Mode_AT_LEAST_ONCE, Policy: pb.QueuePolicy_BLOCK,
			KeepFor: time.Minute, Window: 4096, WindowBytes: 1 << 20, Concurrency: 1,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SendAck(&frame.Ack{CreditMessages: 4096, CreditBytes: 1 << 20, AckWait: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	taken := make(chan uint64, n)
	go func() {
		var f frame.Frame
		for conn.Recv(&f) == nil {
			if f.Kind == frame.KindData {
				taken <- f.Data.First + uint64(f.Data.Count) - 1
			}
		}
		close(taken)
	}()
	harness.Send(t, orders, 0, n)
	last := uint64(0)
	for last < n {
		last = harness.Await(t, "mallory takes them all", taken)
	}
	l := harness.NewLedger()
	l.Handle(t, "honest", harness.Join(t, rt, "orders", "billing"))
	began := time.Now()
	l.Await(t, "the honest neighbour gets them", func(now harness.Tally) bool { return now.Distinct == n })
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.Redelivered) bool { return e.Count == n && e.Cause != nil })
	harness.Send(t, orders, n, n+50) // mallory has credit, and gets none of these
	l.Await(t, "and what is sent later", func(now harness.Tally) bool { return now.Distinct == n+50 })
	// What was taken back is settled once, by who handled it.
	if err := conn.SendAck(&frame.Ack{Cumulative: n, CreditMessages: 4096, CreditBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.Complete(t, n+50, 0)
	if s := orders.Stats()[0]; s.Pending != 0 || s.Acked != n+50 {
		t.Errorf("%d pending, %d acked of %d", s.Pending, s.Acked, n+50)
	}
	select {
	case first := <-taken:
		if first <= n {
			t.Errorf("mallory got %d again", first)
		}
	default:
	}
}
