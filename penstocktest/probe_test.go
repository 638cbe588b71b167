package penstocktest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

// tested is a test within a test: it may fail, and what it says is kept.
type tested struct {
	testing.TB
	ctx     context.Context
	mu      sync.Mutex
	said    []string
	failed  bool
	cleanup []func()
}

func (t *tested) Helper()                  {}
func (t *tested) Context() context.Context { return t.ctx }
func (t *tested) Name() string             { return "example" }
func (t *tested) Cleanup(f func())         { t.cleanup = append(t.cleanup, f) }
func (t *tested) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, fmt.Sprintf(format, args...))
}
func (t *tested) Log(args ...any) { t.Logf("%s", fmt.Sprint(args...)) }
func (t *tested) Errorf(format string, args ...any) {
	t.failed = true
	t.Logf(format, args...)
}
func (t *tested) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
func (t *tested) Fatal(args ...any) { t.Fatalf("%s", fmt.Sprint(args...)) }
func (t *tested) Error(args ...any) { t.Errorf("%s", fmt.Sprint(args...)) }

// within runs body as a test of its own, and returns whether it failed and what it said.
func within(ctx context.Context, tb testing.TB, body func(t *tested)) (failed bool, said string) {
	ctx, cancel := context.WithCancel(ctx)
	in := &tested{TB: tb, ctx: ctx}
	run := func(f func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			f()
		}()
		<-done
	}
	run(func() { body(in) })
	cancel()
	for i := len(in.cleanup) - 1; i >= 0; i-- {
		run(in.cleanup[i])
	}
	return in.failed, strings.Join(in.said, "\n")
}

// inTest runs an example as a test, and prints why it failed.
func inTest(body func(t testing.TB)) {
	if failed, said := within(context.Background(), nil, func(t *tested) { body(t) }); failed {
		fmt.Println(said)
	}
}

// fails fails t unless body fails and says each of want.
func fails(t *testing.T, body func(t *tested), want ...string) {
	t.Helper()
	failed, said := within(t.Context(), t, body)
	if !failed {
		t.Errorf("it did not fail; it said %q", said)
	}
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("it said %q, want %q", said, w)
		}
	}
}

// passes fails t unless body passes.
func passes(t *testing.T, body func(t *tested)) (said string) {
	t.Helper()
	failed, said := within(t.Context(), t, body)
	if failed {
		t.Errorf("it failed: %s", said)
	}
	return said
}

func send(t *testing.T, to *penstock.Destination, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := to.Send(bounded(t), penstock.Message{Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
}

func register(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.RegisterOption) *penstock.Destination {
	t.Helper()
	d, err := rt.Register(bounded(t), name, append(opts, penstock.RetryDelay(time.Millisecond, time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// flushed fails t unless every group has settled all that was sent.
func flushed(t *testing.T, d *penstock.Destination) {
	t.Helper()
	if err := d.Flush(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

var errBank = errors.New("the bank is closed")

// Promise: a probe takes what came in its order, each verb settles what is in hand and
// nothing else, and Penstock acts on it.
func TestProbeSettlesOnCommand(t *testing.T) {
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	dead := make(chan string, 1)
	orders := register(t, rt, "orders", penstock.DeadLetters(func(_ context.Context, d penstock.DeadLetter) error {
		dead <- string(d.Message.Value) + ": " + d.Cause
		return nil
	}))
	p := penstocktest.JoinProbe(t, rt, "orders", "billing").Within(long).MustSettle()
	send(t, orders, "tea", "milk", "sugar")
	p.ExpectValues("tea", "milk", "sugar")[1].Ack()
	p.Nack(errBank) // tea and sugar
	again := p.Expect(2)
	for _, d := range again {
		if d.Attempt != 2 {
			t.Errorf("attempt %d of %s", d.Attempt, d.Value)
		}
	}
	again[0].Release()
	p.ExpectMatch(func(d penstock.Delivery) bool {
		return d.Attempt == 2 && string(d.Value) == string(again[0].Value)
	}).Reject(errBank)
	if got, want := <-dead, string(again[0].Value)+": the bank is closed"; got != want {
		t.Errorf("dead letter %q, want %q", got, want)
	}
	p.NackAfter(time.Millisecond, errBank)
	p.Fish(func(d penstock.Delivery) bool { return d.Attempt == 3 })
	p.Ack()
	flushed(t, orders)
	p.ExpectNone(time.Millisecond)
	if n := len(p.Received()); n != 7 {
		t.Errorf("%d deliveries are recorded, want 7", n)
	}
	p.AutoAck()
	send(t, orders, "rum")
	flushed(t, orders)
	p.ExpectValues("rum")
}

// Promise: a request is replied to through a probe, which settles it.
func TestProbeReplies(t *testing.T) {
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	orders := register(t, rt, "orders")
	p := penstocktest.JoinProbe(t, rt, "orders", "billing").Within(long).MustSettle()
	replied := make(chan string, 1)
	go func() {
		r, err := orders.Request(bounded(t), penstock.Message{Value: []byte("price?")})
		replied <- fmt.Sprint(string(r.Value), " ", err)
	}()
	if err := p.Next().Reply(penstock.Message{Value: []byte("5")}); err != nil {
		t.Fatal(err)
	}
	if got := <-replied; got != "5 <nil>" {
		t.Errorf("the reply is %q", got)
	}
}

// Promise: a failure says what was wanted and what came in its place.
func TestProbeFailures(t *testing.T) {
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	orders := register(t, rt, "orders")
	groups := 0
	given := func(values ...string) func(*tested) *penstocktest.Probe[penstock.Delivery] {
		groups++
		name := fmt.Sprint("group-", groups)
		if err := rt.DeclareGroup(bounded(t), "orders", name); err != nil {
			t.Fatal(err)
		}
		return func(in *tested) *penstocktest.Probe[penstock.Delivery] {
			p := penstocktest.JoinProbe(in, rt, "orders", name).Within(long)
			send(t, orders, values...)
			p.Fish(func(d penstock.Delivery) bool { return string(d.Value) == values[0] })
			return p.Within(20 * time.Millisecond)
		}
	}
	probe := given("tea")
	fails(t, func(t *tested) { probe(t).Next() }, `probe in group "group-1" of "orders": want 1 delivery, got 0: nothing more came within 20ms`)
	probe = given("tea", "milk")
	fails(t, func(t *tested) { probe(t).Within(long).ExpectValues("sugar") }, `want "sugar" after 0, got "milk" (attempt 1)`)
	probe = given("tea", "milk")
	fails(t, func(t *tested) { probe(t).Within(long).ExpectMatch(func(penstock.Delivery) bool { return false }) }, `does not match: "milk" (attempt 1)`)
	probe = given("tea", "milk")
	fails(t, func(t *tested) { probe(t).ExpectNone(long) }, `want nothing, got 1: "milk" (attempt 1)`)
	probe = given("tea", "milk")
	fails(t, func(t *tested) {
		p := probe(t)
		p.Fish(func(d penstock.Delivery) bool { return d.Deaths > 0 })
	}, `none of `, `matches`)
	probe = given("tea")
	fails(t, func(t *tested) {
		p := probe(t)
		p.Ack()
		p.Ack()
	}, "nothing is in hand to ack; 0 came and were not taken")
	probe = given("tea")
	fails(t, func(t *tested) {
		p := probe(t).Within(long)
		p.Close()
		p.Next()
	}, "it was closed")
}

// Promise: a test that leaves messages unsettled ends at once, its log names them, and
// with MustSettle it fails; they are released, so no attempt counts.
func TestUnsettledEndsAtOnce(t *testing.T) {
	etcd, space := penstocktest.Etcd(t), penstock.Prefix(penstocktest.Space(t))
	rt := penstocktest.Runtime(t, etcd, space)
	orders := register(t, rt, "orders")
	said := passes(t, func(in *tested) {
		p := penstocktest.JoinProbe(in, rt, "orders", "billing").Within(long)
		send(t, orders, "tea")
		p.Next()
	})
	if want := `not settled when the test ended, and released: 1 delivery: "tea" (attempt 1)`; !strings.Contains(said, want) {
		t.Errorf("it said %q, want %q", said, want)
	}
	fails(t, func(in *tested) {
		d := penstocktest.JoinProbe(in, rt, "orders", "billing").Within(long).MustSettle().Next()
		if d.Attempt != 1 || d.Deaths != 0 {
			t.Errorf("attempt %d, deaths %d", d.Attempt, d.Deaths)
		}
	}, `"tea" (attempt 1)`)

	began := time.Now()
	passes(t, func(in *tested) {
		rt := penstocktest.Runtime(in, etcd, penstock.Prefix(penstocktest.Space(t)))
		milk, err := rt.Register(bounded(t), "milk")
		if err != nil {
			in.Fatal(err)
		}
		p := penstocktest.JoinProbe(in, rt, "milk", "billing").Within(long)
		send(t, milk, "one")
		p.Next()
		began = time.Now()
	})
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// Promise: records of a topic are settled on command as deliveries are, one at a time of
// each partition, and what is acked is committed when the probe ends.
func TestProbeOfATopic(t *testing.T) {
	ctx, rt := bounded(t), penstocktest.Runtime(t, penstocktest.Etcd(t))
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"a", "b"} {
		for partition := range 2 {
			if _, err := audit.PutTo(ctx, partition, penstock.Message{Value: fmt.Append(nil, v, partition)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	dead := make(chan string, 1)
	said := passes(t, func(in *tested) {
		p := penstocktest.SubscribeProbe(in, rt, "audit", "billing", penstock.RecordRetry(10*time.Millisecond, 10*time.Millisecond),
			penstock.RecordDeadLetters(9, func(_ context.Context, r penstock.Record, _ error) error {
				dead <- string(r.Value)
				return nil
			})).Within(long)
		first := p.Expect(2)
		p.ExpectNone(20 * time.Millisecond)
		first[0].Nack(errBank)
		if d := p.Next(); d.Attempt != 2 || d.Partition != first[0].Partition {
			t.Errorf("after a nack: attempt %d in partition %d", d.Attempt, d.Partition)
		}
		first[1].Release()
		if d := p.Next(); d.Attempt != 1 || d.Partition != first[1].Partition {
			t.Errorf("after a release: attempt %d in partition %d", d.Attempt, d.Partition)
		}
		p.Ack()
		p.Expect(2)[0].Reject(errBank)
		<-dead
	})
	if strings.Count(said, "(partition") != 1 {
		t.Errorf("it said %q, want one record that was not settled", said)
	}
	p := penstocktest.SubscribeProbe(t, rt, "audit", "billing").AutoAck().Within(long).MustSettle()
	if d := p.Next(); d.Offset != 1 {
		t.Errorf("the next probe begins at offset %d of partition %d, want what was left", d.Offset, d.Partition)
	}
	p.ExpectNone(20 * time.Millisecond)
}

// Promise: a probe is the receiver of an actor of pipes, with batches and without, and of
// topics.
func TestProbeActors(t *testing.T) {
	ctx := bounded(t)
	sys := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond)) // its goroutine lives for so long
	t.Cleanup(sys.Shutdown)
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t), penstock.ActorSystem(sys))
	for batch, name := range []string{"singly", "batches"} {
		orders := register(t, rt, name)
		p := penstocktest.ProbeActor(t, sys).Within(long).MustSettle()
		sys.Root.Spawn(penstock.MemberProps(rt, name, "billing", penstock.Receiver{To: p.PID(), Batch: batch * 8}))
		send(t, orders, "tea", "milk")
		p.ExpectValues("tea", "milk")
		p.Nack(errBank)
		for _, d := range p.Expect(2) {
			if d.Attempt != 2 {
				t.Errorf("%s: attempt %d of %s", name, d.Attempt, d.Value)
			}
		}
		p.Ack()
		flushed(t, orders)
	}
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"a", "b"} {
		if _, _, err := audit.Put(ctx, penstock.Message{Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	p := penstocktest.RecordProbeActor(t, sys).Within(long).MustSettle()
	sys.Root.Spawn(penstock.SubscriptionProps(rt, "audit", "billing", penstock.Receiver{To: p.PID()},
		penstock.RecordRetry(10*time.Millisecond, 10*time.Millisecond)))
	p.Next().Nack(errBank)
	if d := p.Next(); d.Attempt != 2 {
		t.Errorf("attempt %d", d.Attempt)
	}
	p.Ack()
	p.ExpectValues("b")
	p.Ack()
}

// Promise: the sender of a message sees what became of it, and each attempt at it.
func TestOutcomes(t *testing.T) {
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	orders := register(t, rt, "orders", penstock.MaxAttempts(2), penstock.DeadLetters(func(context.Context, penstock.DeadLetter) error { return nil }))
	out := penstocktest.Watch(t, orders).Within(long)
	billing, err := rt.Join(bounded(t), "orders", "billing", out.Handler())
	if err != nil {
		t.Fatal(err)
	}
	consumed := make(chan error, 1)
	go func() {
		consumed <- billing.Consume(t.Context(), func(_ context.Context, d penstock.Delivery) error {
			switch {
			case string(d.Key) == "late" && d.Attempt == 1, string(d.Key) == "failed":
				return errBank
			case string(d.Key) == "wrong":
				return fmt.Errorf("no order: %w", penstock.ErrReject)
			case string(d.Key) == "panic" && d.Attempt == 1:
				panic("no")
			}
			return nil
		})
	}()
	t.Cleanup(func() { <-consumed })
	for _, key := range []string{"good", "late", "failed", "wrong", "panic"} {
		out.Send(penstock.Message{Key: []byte(key)})
	}
	out.Acked("good")
	out.NackedWith("late", errBank)
	out.Acked("late")
	if h := out.Attempt("late", 2); h.Err != nil || h.Group != "billing" || h.Where != "orders" {
		t.Errorf("got %+v", h)
	}
	if err := out.DeadLettered("failed"); errors.Is(err, penstock.ErrReject) {
		t.Errorf("what failed was given up with %v", err)
	}
	out.GivenUp("wrong", penstock.ErrReject)
	out.NackedWith("panic", penstocktest.ErrPanicked)
	out.Acked("panic")

	watch := func(f func(*penstocktest.Outcomes)) func(*tested) {
		return func(in *tested) {
			o := penstocktest.Watch(in, orders).Within(long)
			o.Send(penstock.Message{Key: []byte("good")})
			o.Send(penstock.Message{Key: []byte("wrong")})
			f(o)
		}
	}
	fails(t, watch(func(o *penstocktest.Outcomes) { o.Acked("wrong") }), `"wrong" was given up, want acked`)
	fails(t, watch(func(o *penstocktest.Outcomes) { o.DeadLettered("good") }), `"good" was acked, want it given up`, "no handler that is watched")
	fails(t, watch(func(o *penstocktest.Outcomes) { o.GivenUp("wrong", penstock.ErrExpired) }), "with another error")
	fails(t, watch(func(o *penstocktest.Outcomes) { o.Acked("none") }), "nothing with that key was sent")
	fails(t, watch(func(o *penstocktest.Outcomes) {
		o.Acked("good")
		o.Within(time.Millisecond).Attempt("good", 7)
	}), `want "good" attempt 7: not within 1ms`, "settled: every group acked it")
}

// Promise: the handlers of a subscription are watched, too.
func TestOutcomesOfRecords(t *testing.T) {
	ctx, rt := bounded(t), penstocktest.Runtime(t, penstocktest.Etcd(t))
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	out := penstocktest.Watch(t, nil).Within(long)
	sub, err := audit.Subscribe(ctx, "billing", out.RecordHandler("billing"), penstock.RecordRetry(10*time.Millisecond, 10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	consumed := make(chan error, 1)
	go func() {
		consumed <- sub.Consume(t.Context(), func(_ context.Context, r penstock.Record) error {
			if r.Attempt == 1 {
				return errBank
			}
			return nil
		})
	}()
	t.Cleanup(func() { <-consumed })
	if _, _, err := audit.Put(ctx, penstock.Message{Value: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	out.NackedWith("a", errBank)
	if h := out.Attempt("a", 2); h.Err != nil || h.Where != "audit" || h.Group != "billing" {
		t.Errorf("got %+v", h)
	}
}
