package pipes_test

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
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
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
// limit of attempts the dead-letter handler gets it, and the queue continues.
func TestHandlerPanicsAlways(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	letters := make(chan penstock.DeadLetter, 100)
	orders := harness.Register(t, rt, "orders", quick, penstock.MaxAttempts(3), penstock.DeadLetters(
		func(_ context.Context, l penstock.DeadLetter) error { letters <- l; return nil }))
	var calls atomic.Int64
	consume(t, harness.Join(t, rt, "orders", "billing", penstock.Concurrency(4)), func(context.Context, penstock.Delivery) error {
		calls.Add(1)
		panic("no good")
	})
	harness.Send(t, orders, 0, 20)
	seen := make(map[string]bool)
	for range 20 {
		l := harness.Await(t, "a dead letter", letters)
		if l.Attempts != 3 || l.Group != "billing" || seen[string(l.Message.Value)] {
			t.Errorf("got %+v", l)
		}
		seen[string(l.Message.Value)] = true
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	if n := calls.Load(); n != 60 {
		t.Errorf("the handler was called %d times, want 3 for each of 20", n)
	}
	if e := penstocktest.WaitEvent[messages.HandlerPanicked](t, events, harness.Patience, nil); e.Value != "no good" || e.Stack == "" {
		t.Errorf("the event says %+v", e)
	}
	penstocktest.WaitEvent[messages.DeadLettered](t, events, harness.Patience, nil)
}

// Promise: without a dead-letter handler the message is kept, counted, shown
// and tried on; it holds nobody up.
func TestPoisonIsParked(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", quick, penstock.MaxAttempts(2))
	l := harness.NewLedger()
	var cured atomic.Bool
	consume(t, harness.Join(t, rt, "orders", "billing"), func(_ context.Context, d penstock.Delivery) error {
		if harness.Number(d) == 3 && !cured.Load() {
			return errors.New("poison")
		}
		l.Enter("m", harness.Number(d))
		return nil
	})
	harness.Send(t, orders, 0, 10)
	l.Await(t, "the others", func(now harness.Tally) bool { return now.Distinct == 9 })
	penstocktest.WaitEvent[messages.AttemptsExhausted](t, events, harness.Patience, nil)
	parked := orders.Parked()
	if len(parked) == 0 || string(parked[0].Message.Value) != "3" || parked[0].Cause != "poison" {
		t.Fatalf("parked %+v", parked)
	}
	cured.Store(true)
	l.Await(t, "the cured one", func(now harness.Tally) bool { return now.Distinct == 10 })
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: a handler that panics or fails at times loses nothing.
func TestHandlerFailsSometimes(t *testing.T) {
	const n = 500
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders", quick, penstock.MaxAttempts(-1))
	l := harness.NewLedger()
	var calls atomic.Int64
	consume(t, harness.Join(t, rt, "orders", "billing", penstock.Concurrency(4), penstock.Window(64)), func(_ context.Context, d penstock.Delivery) error {
		switch calls.Add(1) % 7 {
		case 0:
			panic("at times")
		case 3:
			return errors.New("at times")
		}
		l.Enter("m", harness.Number(d))
		return nil
	})
	harness.Send(t, orders, 0, n)
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.Complete(t, n, 0)
}

// Promise: AckWait. A handler that blocks has its context cancelled, with a
// cause, and another member gets the message; its late ack is an event.
func TestHandlerBlocks(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders", quick)
	blocks := harness.Runtime(t, ns)
	events := penstocktest.Record(t, blocks)
	causes := make(chan error, 10)
	consume(t, harness.Join(t, blocks, "orders", "billing", penstock.AckWait(200*time.Millisecond), penstock.Window(1)),
		func(ctx context.Context, d penstock.Delivery) error {
			select {
			case <-ctx.Done():
				causes <- context.Cause(ctx)
			case <-time.After(harness.Patience):
			}
			return nil // too late
		})
	harness.Send(t, orders, 0, 1)
	penstocktest.WaitEvent[messages.AckWaitExpired](t, events, harness.Patience, nil)
	if err := harness.Await(t, "the end of the handler's context", causes); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the cause is %v, which does not say that the time is over", err)
	}
	penstocktest.WaitEvent[messages.LateAck](t, events, harness.Patience, nil)
	l := harness.NewLedger()
	l.Handle(t, "works", harness.Join(t, rt, "orders", "billing"))
	l.Await(t, "another member gets it", func(now harness.Tally) bool { return now.Distinct == 1 })
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: what a member holds and does not settle goes to others, though its
// handler blocks forever and does not even look at its context: also what
// waits in its window behind the one that blocks.
func TestHandlerBlocksForeverBeforeAFullWindow(t *testing.T) {
	const n = 50
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders", quick)
	release := make(chan struct{})
	stuck := make(chan struct{}, n)
	consume(t, harness.Join(t, harness.Runtime(t, ns), "orders", "billing", penstock.AckWait(200*time.Millisecond), penstock.Window(n)),
		func(context.Context, penstock.Delivery) error {
			stuck <- struct{}{}
			<-release
			return nil
		})
	t.Cleanup(func() { close(release) }) // before consume's, which waits for it
	harness.Send(t, orders, 0, n)
	harness.Await(t, "the handler blocks", stuck)
	l := harness.NewLedger()
	l.Handle(t, "works", harness.Join(t, rt, "orders", "billing"))
	l.Await(t, "another member gets them all", func(now harness.Tally) bool { return now.Distinct == n })
}

// Promise: InProgress renews AckWait for as long as it is called.
func TestInProgressRenews(t *testing.T) {
	t.Parallel()
	const wait = 3 * time.Second
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders")
	l := harness.NewLedger()
	consume(t, harness.Join(t, rt, "orders", "billing", penstock.AckWait(wait)), func(ctx context.Context, d penstock.Delivery) error {
		beat := time.NewTicker(50 * time.Millisecond)
		defer beat.Stop()
		for over := time.After(wait * 5 / 2); ; {
			select {
			case <-beat.C:
				d.InProgress()
			case <-over:
				l.Enter("m", harness.Number(d))
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	harness.Send(t, orders, 0, 1)
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.Complete(t, 1, 0)
	for _, e := range events.Events() {
		if _, ok := e.(messages.AckWaitExpired); ok {
			t.Error("a message in progress was given up")
		}
	}
}

// Promise: a nack sends the message round again, after a delay that grows, and
// the delivery counts its attempts.
func TestNackDelayGrows(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.RetryDelay(20*time.Millisecond, time.Second))
	m := harness.Join(t, rt, "orders", "billing")
	harness.Send(t, orders, 0, 1)
	attempt := 0
	var last time.Time
	for msg, err := range m.Messages(harness.Context(t)) {
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
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MessageNacked) bool { return e.Attempt == 4 && e.Err.Error() == "try 4" })
}

// Promise: break hands the message of that turn back, untried, and what was
// prefetched stays for the next loop.
func TestBreakHandsBack(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders")
	m := harness.Join(t, rt, "orders", "billing")
	harness.Send(t, orders, 0, 10)
	for msg, err := range m.Messages(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if harness.Number(msg) == 4 {
			break
		}
	}
	l := harness.NewLedger()
	for msg, err := range m.Messages(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if id := harness.Number(msg); id == 4 && (!msg.Redelivered || msg.Attempt != 1) {
			t.Errorf("what was handed back says attempt %d, redelivered %t", msg.Attempt, msg.Redelivered)
		}
		l.Enter("second", harness.Number(msg))
		if now := l.Tally(); now.Distinct == 6 {
			msg.Ack()
			break
		}
	}
	if !l.Has(4, 10) {
		t.Errorf("the second loop got %+v, want 4 to 9", l.Tally())
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: one reader at a time; the second is ErrBusy and disturbs nobody.
func TestSecondReaderIsBusy(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	orders := harness.Register(t, rt, "orders")
	m := harness.Join(t, rt, "orders", "billing")
	harness.Send(t, orders, 0, 2)
	turns := 0
	for _, err := range m.Messages(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if turns++; turns == 2 {
			break
		}
		if err := m.Consume(harness.Context(t), func(context.Context, penstock.Delivery) error { return nil }); !errors.Is(err, penstock.ErrBusy) {
			t.Errorf("Consume: %v, want ErrBusy", err)
		}
		n := 0
		for _, err := range m.Messages(harness.Context(t)) {
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
func TestMemberThatStopsReading(t *testing.T) {
	const n = 200
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	stops := harness.Join(t, harness.Runtime(t, ns), "orders", "billing", penstock.Window(64))
	l := harness.NewLedger()
	harness.Send(t, orders, 0, n)
	for msg, err := range stops.Messages(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		l.Enter("stops", harness.Number(msg))
		msg.Ack()
		break
	}
	stopped := time.Now()
	l.Handle(t, "reads", harness.Join(t, rt, "orders", "billing", penstock.Window(64)))
	l.Await(t, "all but the first", func(now harness.Tally) bool { return now.Distinct == n })
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("it took %s, want about 2 s", took)
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.Complete(t, n, 0)
}

// The same for a member that had read everything when it stopped: what is sent
// afterwards must not wait in its window.
func TestIdleMemberThatStoppedReading(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	stops := harness.Join(t, harness.Runtime(t, ns), "orders", "billing")
	harness.Send(t, orders, 0, 1)
	l := harness.NewLedger()
	for msg, err := range stops.Messages(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		l.Enter("stops", harness.Number(msg))
		msg.Ack()
		break
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	// Past the time in which a reader may come back; nothing tells of its end.
	<-time.After(1500 * time.Millisecond)
	l.Handle(t, "reads", harness.Join(t, rt, "orders", "billing"))
	for from := 1; from < 1000; from += 111 {
		harness.Send(t, orders, from, from+111)
		l.Await(t, "what was sent after the stop", func(now harness.Tally) bool { return now.Distinct == from+111 })
	}
}

// Promise: a member that left reads no more and says so: a loop ends silently,
// Consume returns, and neither waits forever.
func TestReadingAfterLeave(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	m := harness.Join(t, rt, "orders", "billing")
	if err := m.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	err := harness.Within(t, harness.Soon, "Messages", func() error {
		for _, err := range m.Messages(context.Background()) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Errorf("Messages: %v", err)
	}
	err = harness.Within(t, harness.Soon, "Consume", func() error {
		return m.Consume(context.Background(), func(context.Context, penstock.Delivery) error { return nil })
	})
	if err != nil && !errors.Is(err, penstock.ErrClosed) {
		t.Errorf("Consume: %v", err)
	}
	if err := harness.Within(t, harness.Soon, "Leave", func() error { return m.Leave(harness.Context(t)) }); err != nil {
		t.Errorf("a second Leave: %v", err)
	}
}
