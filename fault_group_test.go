package penstock_test

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
func TestFaultGroupDeserted(t *testing.T) {
	t.Parallel()
	ns := space(t)
	rt := meet(t, ns)
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders", penstock.MaxQueue(10, 0))
	l := newLedger()
	l.handle(t, "stays", joinGroup(t, rt, "orders", "stays"))
	leaver := joinGroup(t, meet(t, ns), "orders", "deserted", penstock.KeepFor(4*time.Second))
	if err := leaver.Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	send(t, orders, 0, 10)
	blocked := make(chan error, 1)
	ctx := patient(t)
	go func() { blocked <- orders.Send(ctx, numbered(10)) }()

	removed := penstocktest.WaitEvent(t, events, patience, func(e messages.GroupRemoved) bool { return e.Group == "deserted" })
	if removed.Unsent != 10 {
		t.Errorf("reported %d messages that nobody will get, want 10", removed.Unsent)
	}
	if err := await(t, "the Send that the group held up", blocked); err != nil {
		t.Fatal(err)
	}
	l.await(t, "the other group's messages", func(now tally) bool { return now.distinct == 11 })
	awaitKeys(t, control(t), ns+"/dest/orders/groups/deserted/", "no key of the group", same(nil))
}

// Promise: with KeepFor Forever the group and its queue wait for ever; a member
// that comes back gets what was sent in the meantime.
func TestFaultGroupKeptForever(t *testing.T) {
	rt := meet(t, space(t))
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders")
	kept := joinGroup(t, rt, "orders", "kept", penstock.KeepFor(penstock.Forever))
	short := joinGroup(t, rt, "orders", "short", penstock.KeepFor(time.Second))
	for _, m := range []*penstock.Member{kept, short} {
		if err := m.Leave(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	send(t, orders, 0, 100)
	penstocktest.WaitEvent(t, events, patience, func(e messages.GroupRemoved) bool { return e.Group == "short" })
	l := newLedger()
	l.handle(t, "back", joinGroup(t, rt, "orders", "kept", penstock.KeepFor(penstock.Forever)))
	l.await(t, "what was kept", func(now tally) bool { return now.distinct == 100 })
	l.complete(t, 100, 0)
	for _, e := range events.Events() {
		if e, ok := e.(messages.GroupRemoved); ok && e.Group == "kept" {
			t.Error("a group to be kept for ever was removed")
		}
	}
}

// Promise: the queue policies. block holds Send, error refuses the message for
// everybody, drop-oldest drops and counts.
func TestFaultFullGroups(t *testing.T) {
	const room = 10
	over := func(t *testing.T, policy penstock.QueuePolicy) (*penstock.Runtime, *penstock.Destination) {
		rt := meet(t, space(t))
		d := register(t, rt, "orders", penstock.MaxQueue(room, 0))
		joinGroup(t, rt, "orders", "g", penstock.OnFull(policy))
		send(t, d, 0, room)
		return rt, d
	}
	t.Run("block", func(t *testing.T) {
		rt, d := over(t, penstock.QueueBlock)
		events := penstocktest.Record(t, rt)
		ctx, cancel := context.WithCancelCause(t.Context())
		sent := make(chan error, 1)
		go func() { sent <- d.Send(ctx, numbered(room)) }()
		if e := penstocktest.WaitEvent[messages.SendBlocked](t, events, patience, nil); e.Group != "g" {
			t.Errorf("the event names group %q", e.Group)
		}
		why := errors.New("enough")
		cancel(why)
		if err := await(t, "Send", sent); !errors.Is(err, why) {
			t.Errorf("got %v, want the context's cause", err)
		}
	})
	t.Run("error", func(t *testing.T) {
		rt, d := over(t, penstock.QueueError)
		joinGroup(t, rt, "orders", "roomy")
		err := d.Send(patient(t), numbered(room))
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
		send(t, d, room, room+5)
		if n, dropped := groupStats(d, "g"); n != room || dropped != 5 {
			t.Errorf("%d wait and %d were dropped, want %d and 5", n, dropped, room)
		}
		penstocktest.WaitEvent[messages.MessagesDropped](t, events, patience, nil)
		l := newLedger()
		l.handle(t, "m", joinGroup(t, rt, "orders", "g", penstock.OnFull(penstock.QueueDropOldest)))
		l.await(t, "the newest", func(tally) bool { return l.has(5, room+5) })
		if now := l.tally(); now.total != room {
			t.Errorf("%d were delivered, want the newest %d", now.total, room)
		}
	})
}

// Promise: a stuck group never holds more than its configured bytes, whatever
// the number of messages.
func TestFaultStuckGroupIsBounded(t *testing.T) {
	const limit = 1 << 20
	rt := meet(t, space(t))
	d := register(t, rt, "orders", penstock.MaxMessageSize(10_000), penstock.MaxQueue(1<<20, limit))
	joinGroup(t, rt, "orders", "stuck", penstock.OnFull(penstock.QueueDropOldest))
	value := make([]byte, 5000)
	for range 3 * limit / len(value) {
		if err := d.Send(patient(t), penstock.Message{Value: value}); err != nil {
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
func TestFaultTakenNames(t *testing.T) {
	ns := space(t)
	// That a holder lives shows by its renewals.
	one, two := meet(t, ns, penstock.LeaseTTL(3*time.Second)), meet(t, ns)
	ctx := patient(t)
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	sole := register(t, one, "sole", penstock.SoleSender())
	_, err := two.Register(ctx, "sole")
	refused("a second sender beside a sole one", err, penstock.ErrDestinationTaken)
	register(t, one, "shared")
	_, err = two.Register(ctx, "shared", penstock.SoleSender())
	refused("a sole sender beside another", err, penstock.ErrDestinationTaken)
	_, err = one.Register(ctx, "shared")
	refused("registering twice", err, penstock.ErrExists)
	if err := sole.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	register(t, two, "sole", penstock.SoleSender())

	register(t, one, "named", penstock.SenderID("x"))
	_, err = two.Register(ctx, "named", penstock.SenderID("x"))
	refused("a sender's fixed id", err, penstock.ErrTaken)
	joinGroup(t, one, "named", "g", penstock.MemberID("x"))
	_, err = two.Join(ctx, "named", "g", penstock.MemberID("x"))
	refused("a member's fixed id", err, penstock.ErrTaken)
	_, err = two.Join(ctx, "named", "g", penstock.InMode(penstock.AtMostOnce))
	refused("another mode", err, penstock.ErrGroupMode)
	_, err = two.Join(ctx, "named", "g", penstock.OnFull(penstock.QueueError))
	refused("another queue policy", err, penstock.ErrGroupMode)
	// What was refused left nothing: the names are free for others.
	joinGroup(t, two, "named", "g", penstock.MemberID("y"))
	register(t, two, "named", penstock.SenderID("y"))
}

// Promise: a destination has as many senders as register it; each group gets
// the messages of all of them, in the order of each.
func TestFaultSeveralSenders(t *testing.T) {
	const senders, each = 3, 500
	ns := space(t)
	ctx := patient(t)
	m := joinGroup(t, meet(t, ns), "orders", "billing")
	sent := make(chan error, senders)
	for s := range senders {
		d := register(t, meet(t, ns), "orders")
		go func() {
			for i := range each {
				if err := d.Send(ctx, numbered(s*each+i)); err != nil {
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
		id := number(msg)
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
		if err := await(t, "Flush", sent); err != nil {
			t.Fatal(err)
		}
	}
	if len(next) != senders {
		t.Errorf("messages of %d senders came, want %d", len(next), senders)
	}
}

// Promise: Flush returns when everything accepted before it is acked, not when
// it is sent, and not for what comes after it.
func TestFaultFlushWaitsForAcks(t *testing.T) {
	rt := meet(t, space(t))
	orders := register(t, rt, "orders")
	m := joinGroup(t, rt, "orders", "billing")
	send(t, orders, 0, 3)
	ctx, cancel := context.WithCancel(patient(t))
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
	first, second, third := await(t, "1", held), await(t, "2", held), await(t, "3", held)
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
	if err := await(t, "Flush", flushed); err != nil {
		t.Fatal(err)
	}
	cancel()
	await(t, "the loop's end", closing(loop))
}

// Promise: Unregister delivers what was accepted; when ctx ends first it gives
// the rest up and says how much, and refuses everything after.
func TestFaultUnregisterAbandons(t *testing.T) {
	rt := meet(t, space(t))
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders")
	joinGroup(t, rt, "orders", "billing") // nobody reads
	send(t, orders, 0, 7)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := within(t, patience, "Unregister", func() error { return orders.Unregister(ctx) })
	var abandoned *penstock.AbandonedError
	if !errors.As(err, &abandoned) || abandoned.Messages != 7 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want 7 messages abandoned for the deadline", err)
	}
	penstocktest.WaitEvent(t, events, patience, func(e messages.Abandoned) bool { return e.Count == 7 })
	if err := orders.Send(t.Context(), numbered(7)); !errors.Is(err, penstock.ErrClosed) {
		t.Fatalf("Send: %v, want ErrClosed", err)
	}
	register(t, rt, "orders") // the name is free
}
