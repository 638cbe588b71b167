package pipes_test

// Groups: who may join and register, what a full queue does, and what becomes
// of a group that everybody left.

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func groupStats(d *penstock.Destination, group string) (pending int, dropped uint64) {
	for _, s := range d.Stats() {
		if s.Group == group {
			return s.Pending, s.Dropped
		}
	}
	return 0, 0
}

// Promise: a group without members lives for KeepFor, then it is removed, what
// was queued for it is reported, and it holds no Send up any more.
func TestGroupDeserted(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.MaxQueue(10, 0))
	l := harness.NewLedger()
	l.Handle(t, "stays", harness.Join(t, rt, "orders", "stays"))
	leaver := harness.Join(t, harness.Runtime(t, ns), "orders", "deserted", penstock.KeepFor(4*time.Second))
	if err := leaver.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	harness.Send(t, orders, 0, 10)
	blocked := make(chan error, 1)
	ctx := harness.Context(t)
	go func() { blocked <- orders.Send(ctx, harness.Numbered(10)) }()

	removed := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupRemoved) bool { return e.Group == "deserted" })
	if removed.Unsent != 10 {
		t.Errorf("reported %d messages that nobody will get, want 10", removed.Unsent)
	}
	if err := harness.Await(t, "the Send that the group held up", blocked); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the other group's messages", func(now harness.Tally) bool { return now.Distinct == 11 })
	harness.AwaitKeys(t, harness.Client(t), ns+"/dest/orders/groups/deserted/", "no key of the group", harness.Exactly(nil))
}

// Promise: with KeepFor Forever the group and its queue wait forever; a member
// that comes back gets what was sent in the meantime.
func TestGroupKeptForever(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders")
	kept := harness.Join(t, rt, "orders", "kept", penstock.KeepFor(penstock.Forever))
	short := harness.Join(t, rt, "orders", "short", penstock.KeepFor(time.Second))
	for _, m := range []*penstock.Member{kept, short} {
		if err := m.Leave(harness.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	harness.Send(t, orders, 0, 100)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupRemoved) bool { return e.Group == "short" })
	l := harness.NewLedger()
	l.Handle(t, "back", harness.Join(t, rt, "orders", "kept", penstock.KeepFor(penstock.Forever)))
	l.Await(t, "what was kept", func(now harness.Tally) bool { return now.Distinct == 100 })
	l.Complete(t, 100, 0)
	for _, e := range events.Events() {
		if e, ok := e.(messages.GroupRemoved); ok && e.Group == "kept" {
			t.Error("a group to be kept forever was removed")
		}
	}
}

// Promise: the queue policies. block holds Send, error refuses the message for
// everybody, drop-oldest drops and counts.
func TestFullGroups(t *testing.T) {
	const room = 10
	over := func(t *testing.T, policy penstock.QueuePolicy) (*penstock.Runtime, *penstock.Destination) {
		rt := harness.Runtime(t, penstocktest.Space(t))
		d := harness.Register(t, rt, "orders", penstock.MaxQueue(room, 0))
		harness.Join(t, rt, "orders", "g", penstock.OnFull(policy))
		harness.Send(t, d, 0, room)
		return rt, d
	}
	t.Run("block", func(t *testing.T) {
		rt, d := over(t, penstock.QueueBlock)
		events := penstocktest.Record(t, rt)
		ctx, cancel := context.WithCancelCause(t.Context())
		sent := make(chan error, 1)
		go func() { sent <- d.Send(ctx, harness.Numbered(room)) }()
		if e := penstocktest.WaitEvent[messages.SendBlocked](t, events, harness.Patience, nil); e.Group != "g" {
			t.Errorf("the event names group %q", e.Group)
		}
		why := errors.New("enough")
		cancel(why)
		if err := harness.Await(t, "Send", sent); !errors.Is(err, why) {
			t.Errorf("got %v, want the context's cause", err)
		}
	})
	t.Run("error", func(t *testing.T) {
		rt, d := over(t, penstock.QueueError)
		harness.Join(t, rt, "orders", "roomy")
		err := d.Send(harness.Context(t), harness.Numbered(room))
		if !errors.Is(err, penstock.ErrGroupFull) {
			t.Fatalf("got %v, want ErrGroupFull", err)
		}
		if n, _ := groupStats(d, "roomy"); n != 0 {
			t.Errorf("a refused message was accepted for %d", n)
		}
	})
	t.Run("drop-oldest", func(t *testing.T) {
		rt, d := over(t, penstock.QueueDropOldest)
		events := penstocktest.Record(t, rt)
		harness.Send(t, d, room, room+5)
		if n, dropped := groupStats(d, "g"); n != room || dropped != 5 {
			t.Errorf("%d wait and %d were dropped, want %d and 5", n, dropped, room)
		}
		penstocktest.WaitEvent[messages.MessagesDropped](t, events, harness.Patience, nil)
		l := harness.NewLedger()
		l.Handle(t, "m", harness.Join(t, rt, "orders", "g", penstock.OnFull(penstock.QueueDropOldest)))
		l.Await(t, "the newest", func(harness.Tally) bool { return l.Has(5, room+5) })
		if now := l.Tally(); now.Total != room {
			t.Errorf("%d were delivered, want the newest %d", now.Total, room)
		}
	})
}

// Promise: a stuck group never holds more than its configured bytes, whatever
// the number of messages.
func TestStuckGroupIsBounded(t *testing.T) {
	const limit = 1 << 20
	rt := harness.Runtime(t, penstocktest.Space(t))
	d := harness.Register(t, rt, "orders", penstock.MaxMessageSize(10_000), penstock.MaxQueue(1<<20, limit))
	harness.Join(t, rt, "orders", "stuck", penstock.OnFull(penstock.QueueDropOldest))
	value := make([]byte, 5000)
	for range 3 * limit / len(value) {
		if err := d.Send(harness.Context(t), penstock.Message{Value: value}); err != nil {
			t.Fatal(err)
		}
		if held := d.Stats()[0].PendingBytes; held > limit {
			t.Fatalf("the group holds %d bytes, %d are its limit", held, limit)
		}
	}
	if _, dropped := groupStats(d, "stuck"); dropped == 0 {
		t.Error("nothing was dropped, so the limit was not reached")
	}
}

// Promise: what etcd decides once is decided for everybody, with a typed error.
func TestTakenNames(t *testing.T) {
	ns := penstocktest.Space(t)
	// That a holder lives shows by its renewals.
	one, two := harness.Runtime(t, ns, penstock.LeaseTTL(3*time.Second)), harness.Runtime(t, ns)
	ctx := harness.Context(t)
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	sole := harness.Register(t, one, "sole", penstock.SoleSender())
	_, err := two.Register(ctx, "sole")
	refused("a second sender beside a sole one", err, penstock.ErrDestinationTaken)
	harness.Register(t, one, "shared")
	_, err = two.Register(ctx, "shared", penstock.SoleSender())
	refused("a sole sender beside another", err, penstock.ErrDestinationTaken)
	_, err = one.Register(ctx, "shared")
	refused("registering twice", err, penstock.ErrExists)
	if err := sole.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	harness.Register(t, two, "sole", penstock.SoleSender())

	harness.Register(t, one, "named", penstock.SenderID("x"))
	_, err = two.Register(ctx, "named", penstock.SenderID("x"))
	refused("a sender's fixed id", err, penstock.ErrTaken)
	harness.Join(t, one, "named", "g", penstock.MemberID("x"))
	_, err = two.Join(ctx, "named", "g", penstock.MemberID("x"))
	refused("a member's fixed id", err, penstock.ErrTaken)
	_, err = two.Join(ctx, "named", "g", penstock.InMode(penstock.AtMostOnce))
	refused("another mode", err, penstock.ErrGroupMode)
	_, err = two.Join(ctx, "named", "g", penstock.OnFull(penstock.QueueError))
	refused("another queue policy", err, penstock.ErrGroupMode)
	// What was refused left nothing: the names are free for others.
	harness.Join(t, two, "named", "g", penstock.MemberID("y"))
	harness.Register(t, two, "named", penstock.SenderID("y"))
}

// Promise: a destination has as many senders as register it; each group gets
// the messages of all of them, in the order of each.
func TestSeveralSenders(t *testing.T) {
	const senders, each = 3, 500
	ns := penstocktest.Space(t)
	ctx := harness.Context(t)
	m := harness.Join(t, harness.Runtime(t, ns), "orders", "billing")
	sent := make(chan error, senders)
	for s := range senders {
		d := harness.Register(t, harness.Runtime(t, ns), "orders")
		go func() {
			for i := range each {
				if err := d.Send(ctx, harness.Numbered(s*each+i)); err != nil {
					sent <- err
					return
				}
			}
			sent <- d.Flush(ctx)
		}()
	}
	next := make(map[string]int)
	n := 0
	for msg, err := range m.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		id := harness.Number(msg)
		if want, ok := next[msg.Sender]; ok && id != want {
			t.Fatalf("sender %s: got %d, want %d", msg.Sender, id, want)
		}
		next[msg.Sender] = id + 1
		if n++; n == senders*each {
			msg.Ack()
			break
		}
	}
	for range senders {
		if err := harness.Await(t, "Flush", sent); err != nil {
			t.Fatal(err)
		}
	}
	if len(next) != senders {
		t.Errorf("messages of %d senders came, want %d", len(next), senders)
	}
}

// Promise: Flush returns when everything accepted before it is acked, not when
// it is sent, and not for what comes after it.
func TestFlushWaitsForAcks(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders")
	m := harness.Join(t, rt, "orders", "billing")
	harness.Send(t, orders, 0, 3)
	ctx, cancel := context.WithCancel(harness.Context(t))
	defer cancel()
	held := make(chan penstock.Delivery, 10)
	loop := make(chan struct{})
	go func() {
		defer close(loop)
		for msg, err := range m.Messages(ctx, penstock.ManualAck()) {
			if err != nil {
				return
			}
			held <- msg
		}
	}()
	first, second, third := harness.Await(t, "1", held), harness.Await(t, "2", held), harness.Await(t, "3", held)
	flushed := make(chan error, 1)
	flushing, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if err := orders.Flush(flushing); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Flush answered %v before the acks", err)
	}
	go func() { flushed <- orders.Flush(ctx) }()
	third.Ack()
	first.Ack()
	second.Ack()
	if err := harness.Await(t, "Flush", flushed); err != nil {
		t.Fatal(err)
	}
	cancel()
	harness.Await(t, "the loop's end", harness.Closing(loop))
}

// Promise: Unregister delivers what was accepted; when ctx ends first it gives
// the rest up and says how much, and refuses everything after.
func TestUnregisterAbandons(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders")
	harness.Join(t, rt, "orders", "billing") // nobody reads
	harness.Send(t, orders, 0, 7)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := harness.Within(t, harness.Patience, "Unregister", func() error { return orders.Unregister(ctx) })
	var abandoned *penstock.AbandonedError
	if !errors.As(err, &abandoned) || abandoned.Messages != 7 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want 7 messages abandoned for the deadline", err)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.Abandoned) bool { return e.Count == 7 })
	if err := orders.Send(t.Context(), harness.Numbered(7)); !errors.Is(err, penstock.ErrClosed) {
		t.Fatalf("Send: %v, want ErrClosed", err)
	}
	harness.Register(t, rt, "orders") // the name is free
}
