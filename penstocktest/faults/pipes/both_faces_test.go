package pipes_test

// What is promised of pipes through both faces, see faces_test.go.

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

// numbered are the messages from..to-1.
func numbered(from, to int) (msgs []penstock.Message) {
	for id := from; id < to; id++ {
		msgs = append(msgs, harness.Numbered(id))
	}
	return msgs
}

// scene is a test's runtime under one face; what fails in it fails the test.
type scene struct {
	*testing.T
	face face
	rt   *penstock.Runtime
}

func (s scene) register(opts ...penstock.RegisterOption) sender {
	s.Helper()
	d, err := s.face.register(s.T, s.rt, "orders", opts...)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

func (s scene) join(group string, body body, opts ...penstock.JoinOption) receiver {
	s.Helper()
	m, err := s.face.join(s.T, s.rt, "orders", group, body, opts...)
	if err != nil {
		s.Fatal(err)
	}
	return m
}

func (s scene) send(d sender, from, to int) {
	s.Helper()
	if n, err := d.send(harness.Context(s.T), numbered(from, to)...); err != nil || n != to-from {
		s.Fatalf("%d of %d accepted: %v", n, to-from, err)
	}
}

func (s scene) flush(d sender) {
	s.Helper()
	if err := d.flush(harness.Context(s.T)); err != nil {
		s.Fatal(err)
	}
}

// Promise: what pipes promise to who holds handles they promise to who has actors.
func TestBothFaces(t *testing.T) {
	for promise, holds := range map[string]func(scene){
		"every group gets each message":                eachGroup,
		"a link keeps the order":                       orderOnALink,
		"a nack is tried again, as another attempt":    nackIsTriedAgain,
		"at the limit of attempts it is a dead letter": attemptsEnd,
		"a nack can name its delay":                    nackAfterWaits,
		"a release is no attempt":                      releaseIsNoAttempt,
		"what is rejected is a dead letter at once":    rejectEnds,
		"without a handler it is parked and settled":   rejectedIsParked,
		"a receiver that ends loses nothing":           receiverEnds,
		"after AckWait another member gets it":         ackWaitEnds,
		"at most once never repeats":                   neverTwice,
		"a full group blocks":                          fullGroupBlocks,
		"a full group refuses":                         fullGroupRefuses,
		"in hand is no more than the window":           windowHolds,
		"the policy of the sender wins":                policyOfTheSender,
		"what a message came to is told":               settlingIsTold,
		"what has expired is not handed out":           expiredIsDropped,
		"what the end gave up is told":                 settlingAtTheEnd,
		"a request has one reply":                      requestHasAReply,
		"a request whose handling fails is retried":    requestIsRetried,
		"a request without a member fails at once":     requestWithoutMember,
		"a request ends with its sender":               requestEndsWithSender,
		"a request ends with its runtime":              requestEndsWithRuntime,
		"nothing is left of a request that gave up":    requestGivesUp,
		"flush waits for the acks":                     flushWaits,
		"unregister drains, and nothing follows":       unregisterDrains,
		"leave waits for what is in hand":              leaveFinishes,
		"a paused member leaves it to the others":      pausedMember,
		"a paused group hands out nothing":             pausedGroup,
		"a message over the limit is refused":          tooLarge,
		"a taken name is refused":                      nameTaken,
	} {
		for name, face := range faces {
			t.Run(promise+"/"+name, func(t *testing.T) {
				t.Parallel()
				holds(scene{t, face, harness.Runtime(t, penstocktest.Space(t))})
			})
		}
	}
}

// entering enters each delivery into a ledger, and acks it.
func entering(l *harness.Ledger, who string) body {
	return func(d penstock.Delivery) verdict {
		l.Enter(who, harness.Number(d))
		return ack
	}
}

func eachGroup(s scene) {
	const n = 500
	d := s.register()
	billing, audit := harness.NewLedger(), harness.NewLedger()
	s.join("billing", entering(billing, "one"))
	s.join("billing", entering(billing, "two"))
	s.join("audit", entering(audit, "one"))
	s.send(d, 0, n)
	s.flush(d)
	billing.Complete(s.T, n, 0)
	audit.Complete(s.T, n, 0)
}

func orderOnALink(s scene) {
	const n = 500
	d := s.register()
	var wrong, next atomic.Int64
	s.join("billing", func(d penstock.Delivery) verdict {
		if int64(harness.Number(d)) != next.Add(1)-1 {
			wrong.Add(1)
		}
		return ack
	})
	s.send(d, 0, n)
	s.flush(d)
	if wrong.Load() != 0 || next.Load() != n {
		s.Errorf("%d of %d were out of order", wrong.Load(), next.Load())
	}
}

func nackIsTriedAgain(s scene) {
	d := s.register(quick)
	type seen struct {
		attempt int
		again   bool
	}
	got := make(chan seen, 10)
	s.join("billing", func(d penstock.Delivery) verdict {
		got <- seen{d.Attempt, d.Redelivered}
		if d.Attempt < 3 {
			return nack
		}
		return ack
	})
	s.send(d, 0, 1)
	for attempt := 1; attempt <= 3; attempt++ {
		if is, want := harness.Await(s.T, "an attempt", got), (seen{attempt, attempt > 1}); is != want {
			s.Errorf("came as %+v, want %+v", is, want)
		}
	}
	s.flush(d)
}

func attemptsEnd(s scene) {
	letters := make(chan penstock.DeadLetter, 10)
	d := s.register(quick, penstock.MaxAttempts(3), penstock.DeadLetters(
		func(_ context.Context, l penstock.DeadLetter) error { letters <- l; return nil }))
	s.join("billing", func(d penstock.Delivery) verdict {
		if harness.Number(d) == 1 {
			return nack
		}
		return ack
	})
	s.send(d, 0, 3)
	if l := harness.Await(s.T, "the dead letter", letters); string(l.Message.Value) != "1" || l.Attempts != 3 || l.Cause != errNack.Error() || l.Group != "billing" {
		s.Errorf("the dead letter is %+v", l)
	}
	s.flush(d)
}

func nackAfterWaits(s scene) {
	d := s.register(quick)
	times := make(chan time.Time, 10)
	s.join("billing", func(d penstock.Delivery) verdict {
		times <- time.Now()
		if d.Attempt == 1 {
			return later
		}
		if d.Attempt != 2 {
			s.Errorf("attempt %d", d.Attempt)
		}
		return ack
	})
	s.send(d, 0, 1)
	first := harness.Await(s.T, "the first attempt", times)
	if took := harness.Await(s.T, "the second", times).Sub(first); took < laterBy {
		s.Errorf("it came again after %s, not %s", took, laterBy)
	}
	s.flush(d)
}

func releaseIsNoAttempt(s scene) {
	const times = 5
	d := s.register(quick, penstock.MaxAttempts(1), penstock.MaxDeaths(1))
	var came atomic.Int64
	s.join("billing", func(d penstock.Delivery) verdict {
		n := came.Add(1)
		if d.Attempt != 1 || d.Deaths != 0 || d.Redelivered != (n > 1) {
			s.Errorf("delivery %d says attempt %d, %d deaths, redelivered %t", n, d.Attempt, d.Deaths, d.Redelivered)
		}
		if n <= times {
			return release
		}
		return ack
	})
	s.send(d, 0, 1)
	s.flush(d)
	if n := came.Load(); n != times+1 {
		s.Errorf("it came %d times", n)
	}
	if p := s.rt.Stats().Pipes[0]; p.Released != times || p.Nacked+p.Died+p.Rejected != 0 {
		s.Errorf("counted are %+v", p.PipeCounters)
	}
}

func rejectEnds(s scene) {
	letters := make(chan penstock.DeadLetter, 10)
	var refused atomic.Bool
	d := s.register(quick, penstock.DeadLetters(func(_ context.Context, l penstock.DeadLetter) error {
		if !refused.Swap(true) {
			return errors.New("no room")
		}
		letters <- l
		return nil
	}))
	var came atomic.Int64
	s.join("billing", func(d penstock.Delivery) verdict {
		if harness.Number(d) == 1 {
			came.Add(1)
			return reject
		}
		return ack
	})
	s.send(d, 0, 3)
	l := harness.Await(s.T, "the dead letter", letters)
	if string(l.Message.Value) != "1" || l.Attempts != 0 || l.Deaths != 0 || !l.Rejected || l.Cause != errNack.Error() {
		s.Errorf("the dead letter is %+v", l)
	}
	s.flush(d)
	if n := came.Load(); n != 1 { // though its handler refused it once
		s.Errorf("a member got it %d times", n)
	}
}

func rejectedIsParked(s scene) {
	d := s.register(quick)
	s.join("billing", func(d penstock.Delivery) verdict {
		if harness.Number(d) == 1 {
			return reject
		}
		return ack
	})
	s.send(d, 0, 3)
	s.flush(d)
	if p := s.rt.Stats().Pipes[0]; p.Rejected != 1 || p.Acked != 2 || p.Pending != 0 {
		s.Errorf("counted are %+v, %d pending", p.PipeCounters, p.Pending)
	}
}

// receiverEnds: the first receiver ends with a message in hand, and a second one comes.
func receiverEnds(s scene) {
	const n, fatal = 300, 40
	d := s.register()
	l := harness.NewLedger()
	ended := make(chan int, n)
	s.join("billing", func(d penstock.Delivery) verdict {
		if harness.Number(d) == fatal {
			ended <- d.Attempt
			return quit
		}
		l.Enter("one", harness.Number(d))
		return ack
	}, penstock.Window(64))
	s.send(d, 0, n)
	harness.Await(s.T, "the end of the receiver", ended)
	attempts := make(chan int, n)
	s.join("billing", func(d penstock.Delivery) verdict {
		if harness.Number(d) == fatal {
			attempts <- d.Attempt
		}
		l.Enter("two", harness.Number(d))
		return ack
	})
	s.flush(d)
	l.Complete(s.T, n, 64)
	if a := harness.Await(s.T, "its message", attempts); a != 1 {
		s.Errorf("what the receiver had in hand came as attempt %d", a)
	}
}

func ackWaitEnds(s scene) {
	const wait = 300 * time.Millisecond
	d := s.register(quick)
	held := make(chan int, 100)
	s.join("billing", func(d penstock.Delivery) verdict {
		held <- harness.Number(d)
		return hold
	}, penstock.AckWait(wait), penstock.Window(1))
	s.send(d, 0, 1)
	harness.Await(s.T, "the first delivery", held)
	l := harness.NewLedger()
	s.join("billing", entering(l, "two"), penstock.AckWait(wait))
	s.flush(d)
	l.Complete(s.T, 1, 0)
}

func neverTwice(s scene) {
	const n = 300
	d := s.register()
	l := harness.NewLedger()
	var calls atomic.Int64
	ended := make(chan struct{}, n)
	s.join("billing", func(d penstock.Delivery) verdict {
		l.Enter("one", harness.Number(d))
		if calls.Add(1) == 20 {
			ended <- struct{}{}
			return quit
		}
		return ack
	}, penstock.InMode(penstock.AtMostOnce), penstock.Window(32))
	s.send(d, 0, n/2)
	harness.Await(s.T, "the end of the receiver", ended)
	last := make(chan struct{}, n)
	s.join("billing", func(d penstock.Delivery) verdict {
		l.Enter("two", harness.Number(d))
		if harness.Number(d) == n-1 {
			last <- struct{}{}
		}
		return ack
	}, penstock.InMode(penstock.AtMostOnce))
	s.send(d, n/2, n)
	s.flush(d)
	harness.Await(s.T, "the last one", last)
	if now := l.Tally(); now.Total != now.Distinct || now.By["two"] == 0 {
		s.Errorf("handled were %+v", now)
	}
}

// fullGroupBlocks: what is sent to a full group is accepted once there is room.
func fullGroupBlocks(s scene) {
	const n, queue = 100, 10
	d := s.register(penstock.MaxQueue(queue, 64<<20))
	open := make(chan struct{})
	l := harness.NewLedger()
	s.join("billing", func(d penstock.Delivery) verdict {
		<-open
		l.Enter("one", harness.Number(d))
		return ack
	})
	sent := make(chan error, 1)
	go func() {
		_, err := d.send(harness.Context(s.T), numbered(0, n)...)
		sent <- err
	}()
	harness.Eventually(s.T, "a full queue", func() bool {
		for _, pipe := range s.rt.Stats().Pipes {
			if pipe.Pending == queue {
				return true
			}
		}
		return false
	})
	select {
	case err := <-sent:
		s.Errorf("%d messages were accepted by a queue of %d: %v", n, queue, err)
	default:
	}
	close(open)
	if err := harness.Await(s.T, "room", sent); err != nil {
		s.Fatal(err)
	}
	s.flush(d)
	l.Complete(s.T, n, 0)
}

func fullGroupRefuses(s scene) {
	const n, queue = 100, 10
	d := s.register(penstock.MaxQueue(queue, 64<<20))
	open := make(chan struct{})
	l := harness.NewLedger()
	s.join("billing", func(d penstock.Delivery) verdict {
		<-open
		l.Enter("one", harness.Number(d))
		return ack
	}, penstock.OnFull(penstock.QueueError))
	accepted, err := d.send(harness.Context(s.T), numbered(0, n)...)
	if accepted != queue || !errors.Is(err, penstock.ErrGroupFull) {
		s.Errorf("%d of %d accepted by a queue of %d: %v", accepted, n, queue, err)
	}
	close(open)
	s.flush(d)
	l.Complete(s.T, accepted, 0)
}

// policyOfTheSender: the group's members would have Send wait, the sender does not.
func policyOfTheSender(s scene) {
	const n, queue = 100, 10
	d := s.register(penstock.MaxQueue(queue, 64<<20), penstock.OnFull(penstock.QueueError))
	open := make(chan struct{})
	l := harness.NewLedger()
	s.join("billing", func(d penstock.Delivery) verdict {
		<-open
		l.Enter("one", harness.Number(d))
		return ack
	}, penstock.OnFull(penstock.QueueBlock))
	accepted, err := d.send(harness.Context(s.T), numbered(0, n)...)
	if accepted != queue || !errors.Is(err, penstock.ErrGroupFull) {
		s.Errorf("%d of %d accepted by a queue of %d: %v", accepted, n, queue, err)
	}
	if rows := s.rt.Stats().Pipes; len(rows) != 1 || rows[0].Policy != "error" {
		s.Errorf("shown is %+v", rows)
	}
	close(open)
	s.flush(d)
	l.Complete(s.T, accepted, 0)
}

// settlingIsTold: of two groups one never handles a message.
func settlingIsTold(s scene) {
	const n, poison = 200, 40
	d := s.register(quick, penstock.MaxAttempts(2), penstock.DeadLetters(func(context.Context, penstock.DeadLetter) error { return nil }))
	l := harness.NewLedger()
	s.join("billing", entering(l, "one"))
	s.join("audit", func(d penstock.Delivery) verdict {
		if harness.Number(d) == poison {
			return nack
		}
		return ack
	})
	acked, err := d.settle(harness.Context(s.T), numbered(0, n)...)
	if acked != n-1 || !errors.Is(err, penstock.ErrDeadLettered) || errors.Is(err, penstock.ErrClosed) {
		s.Errorf("%d of %d are said to be acked, and of the others %v", acked, n, err)
	}
	l.Complete(s.T, n, 0)
	if acked, err := d.settle(harness.Context(s.T), numbered(n, n+10)...); acked != 10 || err != nil {
		s.Errorf("%d of 10 are said to be acked: %v", acked, err)
	}
}

// expiredIsDropped: one message waits behind another until it has expired.
func expiredIsDropped(s scene) {
	told := make(chan penstock.ExpiredMessage, 10)
	d := s.register(penstock.OnExpired(func(_ context.Context, m penstock.ExpiredMessage) { told <- m }))
	open, held := make(chan struct{}), make(chan struct{}, 10)
	l := harness.NewLedger()
	s.join("billing", func(d penstock.Delivery) verdict {
		held <- struct{}{}
		<-open
		l.Enter("one", harness.Number(d))
		return ack
	}, penstock.Window(1))
	s.send(d, 0, 1)
	harness.Await(s.T, "the first message", held)
	const soon = 50 * time.Millisecond
	m := harness.Numbered(2)
	m.ExpiresAt = time.Now().Add(soon)
	if n, err := d.send(harness.Context(s.T), harness.Numbered(1), m); n != 2 {
		s.Fatal(err)
	}
	harness.Eventually(s.T, "the expiry", func() bool { return time.Now().After(m.ExpiresAt) })
	close(open)
	if e := harness.Await(s.T, "what expired", told); string(e.Message.Value) != "2" || e.Group != "billing" || !e.Message.ExpiresAt.Equal(m.ExpiresAt) {
		s.Errorf("told is %+v", e)
	}
	s.flush(d)
	l.Complete(s.T, 2, 0)
	if got := s.rt.Stats().Pipes[0]; got.Expired != 1 || got.Acked != 2 {
		s.Errorf("counted are %+v", got.PipeCounters)
	}
}

// settlingAtTheEnd: a receiver acks some of what it got, and the sender gives the rest up.
func settlingAtTheEnd(s scene) {
	const n, some = 50, 20
	d := s.register()
	held := make(chan struct{}, n)
	handled := 0
	s.join("billing", func(d penstock.Delivery) verdict {
		if handled++; handled > some {
			held <- struct{}{}
			return hold
		}
		return ack
	}, penstock.Window(some+1))
	type told struct {
		acked int
		err   error
	}
	settled := make(chan told, 1)
	go func() {
		acked, err := d.settle(harness.Context(s.T), numbered(0, n)...)
		settled <- told{acked, err}
	}()
	harness.Await(s.T, "a message that is held", held)
	harness.Eventually(s.T, "the acks", func() bool { return s.rt.Stats().Pipes[0].Acked == some })
	if err := d.giveUp(harness.Context(s.T)); err != nil {
		s.Error(err)
	}
	var abandoned *penstock.AbandonedError
	got := harness.Await(s.T, "word of the messages", settled)
	if got.acked != some || !errors.Is(got.err, penstock.ErrClosed) || !errors.As(got.err, &abandoned) {
		s.Errorf("%d are said to be acked, and of the others %v", got.acked, got.err)
	}
}

// windowHolds: a receiver that settles nothing gets no more than its window, though
// another group has everything.
func windowHolds(s scene) {
	const n, window = 200, 16
	d := s.register()
	l := harness.NewLedger()
	s.join("billing", entering(l, "one"))
	held := make(chan int, n)
	s.join("audit", func(d penstock.Delivery) verdict {
		held <- harness.Number(d)
		return hold
	}, penstock.Window(window))
	s.send(d, 0, n)
	l.Await(s.T, "the other group", func(now harness.Tally) bool { return now.Distinct == n })
	full := window
	if s.face == face(handles{}) {
		full = 1 // a loop holds one
	}
	harness.Eventually(s.T, "a full window", func() bool { return len(held) >= full })
	if len(held) > full {
		s.Errorf("%d are in hand, %d may be", len(held), full)
	}
}

func flushWaits(s scene) {
	const n = 20
	d := s.register()
	open := make(chan struct{})
	l := harness.NewLedger()
	s.join("billing", func(d penstock.Delivery) verdict {
		<-open
		l.Enter("one", harness.Number(d))
		return ack
	})
	s.send(d, 0, n)
	flushed := make(chan error, 1)
	go func() { flushed <- d.flush(harness.Context(s.T)) }()
	select {
	case err := <-flushed:
		s.Errorf("flush returned before anything was acked: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(open)
	if err := harness.Await(s.T, "flush", flushed); err != nil {
		s.Fatal(err)
	}
	l.Complete(s.T, n, 0)
}

func unregisterDrains(s scene) {
	const n = 200
	d := s.register()
	l := harness.NewLedger()
	s.join("billing", entering(l, "one"))
	s.send(d, 0, n)
	if err := d.unregister(harness.Context(s.T)); err != nil {
		s.Fatal(err)
	}
	l.Complete(s.T, n, 0)
	// An actor that has ended hears nothing, which who asks is told.
	if n, err := d.send(harness.Context(s.T), harness.Numbered(n)); n != 0 || !errors.Is(err, penstock.ErrClosed) && !errors.Is(err, supervisor.ErrNoActor) {
		s.Errorf("after the end %d were accepted: %v", n, err)
	}
}

func leaveFinishes(s scene) {
	const n = 100
	d := s.register()
	l := harness.NewLedger()
	first := make(chan struct{}, n)
	open := make(chan struct{})
	m := s.join("billing", func(d penstock.Delivery) verdict {
		first <- struct{}{}
		<-open
		l.Enter("one", harness.Number(d))
		return ack
	}, penstock.Window(8))
	s.send(d, 0, n)
	harness.Await(s.T, "a delivery", first)
	left := make(chan error, 1)
	go func() { left <- m.leave(harness.Context(s.T)) }()
	select {
	case err := <-left:
		s.Errorf("leave returned with a message in hand: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(open)
	if err := harness.Await(s.T, "leave", left); err != nil {
		s.Fatal(err)
	}
	s.join("billing", entering(l, "two"))
	s.flush(d)
	l.Complete(s.T, n, 0)
}

// pausedMember: what a member was sent and does not hand out is handled by the other, and
// no attempt is counted.
func pausedMember(s scene) {
	const n = 300
	d := s.register()
	l := harness.NewLedger()
	var tried atomic.Int64
	member := func(who string) receiver {
		return s.join("billing", func(d penstock.Delivery) verdict {
			tried.Store(max(tried.Load(), int64(d.Attempt)))
			l.Enter(who, harness.Number(d))
			return ack
		})
	}
	one := member("one")
	s.send(d, 0, n)
	s.flush(d)
	two := member("two")
	ctx := harness.Context(s.T)
	if err := one.pause(ctx); err != nil {
		s.Fatal(err)
	}
	before := l.Tally().By["one"]
	s.send(d, n, 2*n)
	s.flush(d)
	if got := l.Tally().By["one"] - before; got > 0 {
		s.Errorf("the paused member handled %d", got)
	}
	if err := errors.Join(two.pause(ctx), one.resume(ctx)); err != nil {
		s.Fatal(err)
	}
	s.send(d, 2*n, 3*n)
	s.flush(d)
	if tried.Load() != 1 {
		s.Errorf("there was an attempt %d", tried.Load())
	}
	l.Complete(s.T, 3*n, 0)
	if err := two.leave(ctx); err != nil {
		s.Errorf("the paused member leaves: %v", err)
	}
}

// pausedGroup: of both members, and of one that joins meanwhile; and etcd ends it.
func pausedGroup(s scene) {
	const n = 100
	ctx := harness.Context(s.T)
	if err := s.rt.PauseGroup(ctx, "orders", "billing", time.Now().Add(time.Hour)); !errors.Is(err, penstock.ErrNoGroup) {
		s.Errorf("paused a group that is not there: %v", err)
	}
	events := penstocktest.Record(s.T, s.rt)
	d := s.register()
	l := harness.NewLedger()
	for _, who := range []string{"one", "two"} {
		s.join("billing", entering(l, who), penstock.MemberID(who))
	}
	pause := func(until time.Time, members ...string) {
		if err := s.rt.PauseGroup(ctx, "orders", "billing", until); err != nil {
			s.Fatal(err)
		}
		for _, id := range members {
			penstocktest.WaitEvent(s.T, events, harness.Patience, func(e messages.GroupPaused) bool {
				return e.Member == id && e.Destination == "orders" && e.Group == "billing" && e.Until.Equal(until)
			})
		}
	}
	pause(time.Now().Add(time.Hour), "one", "two")
	s.join("billing", entering(l, "three"), penstock.MemberID("three"))
	penstocktest.WaitEvent(s.T, events, harness.Patience, func(e messages.GroupPaused) bool { return e.Member == "three" })
	s.send(d, 0, n)
	if now := l.Tally(); now.Total > 0 {
		s.Errorf("%d messages were handed out", now.Total)
	}
	if err := s.rt.ResumeGroup(ctx, "orders", "billing"); err != nil {
		s.Fatal(err)
	}
	s.flush(d)
	l.Complete(s.T, n, 0)
	pause(time.Now().Add(time.Second), "one", "two", "three")
	s.send(d, n, 2*n)
	s.flush(d) // etcd ends the pause
	l.Complete(s.T, 2*n, 0)
	for _, id := range []string{"one", "two", "three"} {
		penstocktest.WaitEvent(s.T, events, harness.Patience, func(e messages.GroupResumed) bool { return e.Member == id })
	}
}

func tooLarge(s scene) {
	d := s.register(penstock.MaxMessageSize(1000))
	l := harness.NewLedger()
	s.join("billing", entering(l, "one"))
	large := penstock.Message{Value: make([]byte, 1001)}
	n, err := d.send(harness.Context(s.T), harness.Numbered(0), large, harness.Numbered(2))
	if n != 1 || !errors.Is(err, penstock.ErrTooLarge) {
		s.Errorf("%d accepted: %v", n, err)
	}
	s.flush(d)
	l.Complete(s.T, 1, 0)
}

func nameTaken(s scene) {
	s.register()
	if _, err := s.face.register(s.T, s.rt, "orders"); !errors.Is(err, penstock.ErrExists) {
		s.Errorf("registered twice: %v", err)
	}
	s.join("billing", func(penstock.Delivery) verdict { return ack })
	if _, err := s.face.join(s.T, s.rt, "orders", "billing", func(penstock.Delivery) verdict { return ack },
		penstock.InMode(penstock.AtMostOnce)); !errors.Is(err, penstock.ErrGroupMode) {
		s.Errorf("joined with another mode: %v", err)
	}
}
