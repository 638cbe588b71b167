package penstock_test

// Handlers and loops that fail, panic, block, stop.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
)

// consume runs handler until the test ends.
func consume(t *testing.T, m *penstock.Member, handler penstock.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Consume(ctx, handler)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// quick retries: what waits seconds by default waits milliseconds here.
var quick = penstock.RetryDelay(2*time.Millisecond, 20*time.Millisecond)

// Promise: a handler that panics fails its message and nothing else. At the
// limit of attempts the dead-letter handler gets it, and the queue goes on.
func TestFaultHandlerPanicsAlways(t *testing.T) {
	rt := meet(t, space(t))
	events := penstocktest.Record(t, rt)
	letters := make(chan penstock.DeadLetter, 100)
	orders := register(t, rt, "orders", quick, penstock.MaxAttempts(3), penstock.DeadLetters(
		func(_ context.Context, l penstock.DeadLetter) error { letters <- l; return nil }))
	var calls atomic.Int64
	consume(t, joinGroup(t, rt, "orders", "billing", penstock.Concurrency(4)), func(context.Context, penstock.Delivery) error {
		calls.Add(1)
		panic("no good")
	})
	send(t, orders, 0, 20)
	seen := make(map[string]bool)
	for range 20 {
		l := await(t, "a dead letter", letters)
		if l.Attempts != 3 || l.Group != "billing" || seen[string(l.Message.Value)] {
			t.Errorf("got %+v", l)
		}
		seen[string(l.Message.Value)] = true
	}
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	if n := calls.Load(); n != 60 {
		t.Errorf("the handler was called %d times, want 3 for each of 20", n)
	}
	if e := penstocktest.WaitEvent[messages.HandlerPanicked](t, events, patience, nil); e.Value != "no good" || e.Stack == "" {
		t.Errorf("the event says %+v", e)
	}
	penstocktest.WaitEvent[messages.DeadLettered](t, events, patience, nil)
}

// Promise: without a dead-letter handler the message is kept, counted, shown
// and tried on; it holds nobody up.
func TestFaultPoisonIsParked(t *testing.T) {
	rt := meet(t, space(t))
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders", quick, penstock.MaxAttempts(2))
	l := newLedger()
	var cured atomic.Bool
	consume(t, joinGroup(t, rt, "orders", "billing"), func(_ context.Context, d penstock.Delivery) error {
		if number(d) == 3 && !cured.Load() {
			return errors.New("poison")
		}
		l.enter("m", number(d))
		return nil
	})
	send(t, orders, 0, 10)
	l.await(t, "the others", func(now tally) bool { return now.distinct == 9 })
	penstocktest.WaitEvent[messages.AttemptsExhausted](t, events, patience, nil)
	parked := orders.Parked()
	if len(parked) == 0 || string(parked[0].Message.Value) != "3" || parked[0].Cause != "poison" {
		t.Fatalf("parked %+v", parked)
	}
	cured.Store(true)
	l.await(t, "the cured one", func(now tally) bool { return now.distinct == 10 })
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: a handler that panics or fails at times loses nothing.
func TestFaultHandlerFailsSometimes(t *testing.T) {
	const n = 500
	rt := meet(t, space(t))
	orders := register(t, rt, "orders", quick, penstock.MaxAttempts(-1))
	l := newLedger()
	var calls atomic.Int64
	consume(t, joinGroup(t, rt, "orders", "billing", penstock.Concurrency(4), penstock.Window(64)), func(_ context.Context, d penstock.Delivery) error {
		switch calls.Add(1) % 7 {
		case 0:
			panic("at times")
		case 3:
			return errors.New("at times")
		}
		l.enter("m", number(d))
		return nil
	})
	send(t, orders, 0, n)
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	l.complete(t, n, 0)
}

// Promise: AckWait. A handler that blocks has its context cancelled, with a
// cause, and another member gets the message; its late ack is an event.
func TestFaultHandlerBlocks(t *testing.T) {
	ns := space(t)
	rt := meet(t, ns)
	orders := register(t, rt, "orders", quick)
	blocks := meet(t, ns)
	events := penstocktest.Record(t, blocks)
	causes := make(chan error, 10)
	consume(t, joinGroup(t, blocks, "orders", "billing", penstock.AckWait(200*time.Millisecond), penstock.Window(1)),
		func(ctx context.Context, d penstock.Delivery) error {
			select {
			case <-ctx.Done():
				causes <- context.Cause(ctx)
			case <-time.After(patience):
			}
			return nil // too late
		})
	send(t, orders, 0, 1)
	penstocktest.WaitEvent[messages.AckWaitExpired](t, events, patience, nil)
	if err := await(t, "the end of the handler's context", causes); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the cause is %v, which does not say that the time is over", err)
	}
	penstocktest.WaitEvent[messages.LateAck](t, events, patience, nil)
	l := newLedger()
	l.handle(t, "works", joinGroup(t, rt, "orders", "billing"))
	l.await(t, "another member gets it", func(now tally) bool { return now.distinct == 1 })
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: what a member holds and does not settle goes to others, though its
// handler blocks for ever and does not even look at its context: also what
// waits in its window behind the one that blocks.
func TestFaultHandlerBlocksForEverBeforeAFullWindow(t *testing.T) {
	const n = 50
	ns := space(t)
	rt := meet(t, ns)
	orders := register(t, rt, "orders", quick)
	release := make(chan struct{})
	stuck := make(chan struct{}, n)
	consume(t, joinGroup(t, meet(t, ns), "orders", "billing", penstock.AckWait(200*time.Millisecond), penstock.Window(n)),
		func(context.Context, penstock.Delivery) error {
			stuck <- struct{}{}
			<-release
			return nil
		})
	t.Cleanup(func() { close(release) }) // before consume's, which waits for it
	send(t, orders, 0, n)
	await(t, "the handler blocks", stuck)
	l := newLedger()
	l.handle(t, "works", joinGroup(t, rt, "orders", "billing"))
	l.await(t, "another member gets them all", func(now tally) bool { return now.distinct == n })
}

// Promise: InProgress renews AckWait for as long as it is called.
func TestFaultInProgressRenews(t *testing.T) {
	t.Parallel()
	const wait = 3 * time.Second
	rt := meet(t, space(t))
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders")
	l := newLedger()
	consume(t, joinGroup(t, rt, "orders", "billing", penstock.AckWait(wait)), func(ctx context.Context, d penstock.Delivery) error {
		beat := time.NewTicker(50 * time.Millisecond)
		defer beat.Stop()
		for over := time.After(wait * 5 / 2); ; {
			select {
			case <-beat.C:
				d.InProgress()
			case <-over:
				l.enter("m", number(d))
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	send(t, orders, 0, 1)
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	l.complete(t, 1, 0)
	for _, e := range events.Events() {
		if _, ok := e.(messages.AckWaitExpired); ok {
			t.Error("a message in progress was given up")
		}
	}
}

// Promise: a nack sends the message round again, after a delay that grows, and
// the delivery counts its attempts.
func TestFaultNackDelayGrows(t *testing.T) {
	rt := meet(t, space(t))
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders", penstock.RetryDelay(20*time.Millisecond, time.Second))
	m := joinGroup(t, rt, "orders", "billing")
	send(t, orders, 0, 1)
	attempt := 0
	var last time.Time
	for msg, err := range m.Messages(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		attempt++
		if msg.Attempt != attempt || msg.Redelivered != (attempt > 1) {
			t.Errorf("attempt %d says %d, redelivered %t", attempt, msg.Attempt, msg.Redelivered)
		}
		if least := 20 * time.Millisecond << max(0, attempt-2); attempt > 1 && time.Since(last) < least {
			t.Errorf("attempt %d came after %s, want at least %s", attempt, time.Since(last), least)
		}
		if attempt == 5 {
			msg.Ack()
			break
		}
		last = time.Now()
		msg.Nack(fmt.Errorf("try %d", attempt))
	}
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, events, patience, func(e messages.MessageNacked) bool { return e.Attempt == 4 && e.Err.Error() == "try 4" })
}

// Promise: break hands the message of that turn back, untried, and what was
// prefetched stays for the next loop.
func TestFaultBreakHandsBack(t *testing.T) {
	rt := meet(t, space(t))
	orders := register(t, rt, "orders")
	m := joinGroup(t, rt, "orders", "billing")
	send(t, orders, 0, 10)
	for msg, err := range m.Messages(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if number(msg) == 4 {
			break
		}
	}
	l := newLedger()
	for msg, err := range m.Messages(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if id := number(msg); id == 4 && (!msg.Redelivered || msg.Attempt != 1) {
			t.Errorf("what was handed back says attempt %d, redelivered %t", msg.Attempt, msg.Redelivered)
		}
		l.enter("second", number(msg))
		if now := l.tally(); now.distinct == 6 {
			msg.Ack()
			break
		}
	}
	if !l.has(4, 10) {
		t.Errorf("the second loop got %+v, want 4 to 9", l.tally())
	}
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: one reader at a time; the second is ErrBusy and disturbs nobody.
func TestFaultSecondReaderIsBusy(t *testing.T) {
	rt := meet(t, space(t))
	orders := register(t, rt, "orders")
	m := joinGroup(t, rt, "orders", "billing")
	send(t, orders, 0, 2)
	turns := 0
	for _, err := range m.Messages(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if turns++; turns == 2 {
			break
		}
		if err := m.Consume(patient(t), func(context.Context, penstock.Delivery) error { return nil }); !errors.Is(err, penstock.ErrBusy) {
			t.Errorf("Consume: %v, want ErrBusy", err)
		}
		n := 0
		for _, err := range m.Messages(patient(t)) {
			if n++; !errors.Is(err, penstock.ErrBusy) {
				t.Errorf("Messages: %v, want ErrBusy", err)
			}
		}
		if n != 1 {
			t.Errorf("the error came %d times", n)
		}
	}
	if turns != 2 {
		t.Errorf("the first loop ended after %d turns", turns)
	}
}

// Promise: a member that stopped reading holds nothing back: what it had
// prefetched goes to the others soon, and so does what is sent later.
func TestFaultMemberThatStopsReading(t *testing.T) {
	const n = 200
	ns := space(t)
	rt := meet(t, ns)
	orders := register(t, rt, "orders")
	stops := joinGroup(t, meet(t, ns), "orders", "billing", penstock.Window(64))
	l := newLedger()
	send(t, orders, 0, n)
	for msg, err := range stops.Messages(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		l.enter("stops", number(msg))
		msg.Ack()
		break
	}
	stopped := time.Now()
	l.handle(t, "reads", joinGroup(t, rt, "orders", "billing", penstock.Window(64)))
	l.await(t, "all but the first", func(now tally) bool { return now.distinct == n })
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("it took %s, want about 2 s", took)
	}
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	l.complete(t, n, 0)
}

// The same for a member that had read everything when it stopped: what is sent
// afterwards must not wait in its window.
func TestFaultIdleMemberThatStoppedReading(t *testing.T) {
	ns := space(t)
	rt := meet(t, ns)
	orders := register(t, rt, "orders")
	stops := joinGroup(t, meet(t, ns), "orders", "billing")
	send(t, orders, 0, 1)
	l := newLedger()
	for msg, err := range stops.Messages(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		l.enter("stops", number(msg))
		msg.Ack()
		break
	}
	if err := orders.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	// Past the time in which a reader may come back; nothing tells of its end.
	<-time.After(1500 * time.Millisecond)
	l.handle(t, "reads", joinGroup(t, rt, "orders", "billing"))
	for from := 1; from < 1000; from += 111 {
		send(t, orders, from, from+111)
		l.await(t, "what was sent after the stop", func(now tally) bool { return now.distinct == from+111 })
	}
}

// Promise: a member that left reads no more and says so: a loop ends silently,
// Consume returns, and neither waits for ever.
func TestFaultReadingAfterLeave(t *testing.T) {
	rt := meet(t, space(t))
	m := joinGroup(t, rt, "orders", "billing")
	if err := m.Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	err := within(t, soon, "Messages", func() error {
		for _, err := range m.Messages(context.Background()) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Errorf("Messages: %v", err)
	}
	err = within(t, soon, "Consume", func() error {
		return m.Consume(context.Background(), func(context.Context, penstock.Delivery) error { return nil })
	})
	if err != nil && !errors.Is(err, penstock.ErrClosed) {
		t.Errorf("Consume: %v", err)
	}
	if err := within(t, soon, "Leave", func() error { return m.Leave(patient(t)) }); err != nil {
		t.Errorf("a second Leave: %v", err)
	}
}
