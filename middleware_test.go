package penstock_test

// Middleware on real pipes and topics, through both faces.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

// notes are what middleware notes, in order.
type notes struct {
	mu  sync.Mutex
	all []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, fmt.Sprintf(format, args...))
}

func (n *notes) expect(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.all, want) {
		t.Errorf("noted %q, want %q", n.all, want)
	}
	n.all = nil
}

// stamp is send middleware that writes a header, and refuses what says "no".
func (n *notes) stamp(name string) func(penstock.Send) penstock.Send {
	return func(next penstock.Send) penstock.Send {
		return func(ctx context.Context, m penstock.Message) error {
			switch string(m.Value) {
			case "no":
				return errNo
			case "back":
				return nil
			case "panic":
				panic(name)
			}
			m.Headers = append(slices.Clip(m.Headers), penstock.Header{Name: name, Value: []byte("1")})
			err := next(ctx, m)
			n.add("%s %s %v", name, m.Value, err)
			return err
		}
	}
}

var errNo = errors.New("no")

// headers are the names in a payload.
func headers(p penstock.Payload) (names []string) {
	for name := range p.Headers() {
		names = append(names, name)
	}
	return names
}

// Promise: middleware surrounds the handler of Consume, in the order of all options. Its
// panic is an attempt that failed.
func TestUse(t *testing.T) {
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)))
	ctx := harness.Context(t)
	var n notes
	use := func(name string) func(penstock.Handler) penstock.Handler {
		return func(next penstock.Handler) penstock.Handler {
			return func(ctx context.Context, d penstock.Delivery) error {
				n.add("%s %d", name, d.Attempt)
				if name == "b" && d.Attempt == 1 {
					panic("a bug in the middleware")
				}
				return next(ctx, d)
			}
		}
	}
	orders := harness.Register(t, rt, "orders", penstock.RetryDelay(time.Millisecond, time.Millisecond))
	billing := harness.Join(t, rt, "orders", "billing",
		penstock.Use(use("a"), use("b")), penstock.Recover(), penstock.Timeout(time.Minute), penstock.Use(use("c")))
	consumed := make(chan error, 1)
	go func() {
		consumed <- billing.Consume(ctx, func(ctx context.Context, d penstock.Delivery) error {
			_, bounded := ctx.Deadline()
			n.add("handler, with a time: %v", bounded)
			if d.Attempt == 2 {
				panic("a bug in the handler")
			}
			return nil
		})
	}()
	if err := errors.Join(orders.Send(ctx, penstock.Message{}), orders.Flush(ctx), billing.Leave(ctx), harness.Await(t, "Consume", consumed)); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "a 1", "b 1", "a 2", "b 2", "c 2", "handler, with a time: true", "a 3", "b 3", "c 3", "handler, with a time: true")
	if panics := rt.Stats().Events["handler_panicked"]; panics != 1 {
		t.Errorf("%d panics were told, want that of the middleware before Recover", panics)
	}
}

// Promise: a message that waits for a limiter when its member leaves goes to another one
// as one that nobody tried.
func TestThrottledMessagesGoBackUntried(t *testing.T) {
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)))
	ctx := harness.Context(t)
	orders := harness.Register(t, rt, "orders")
	limiter := rate.NewLimiter(rate.Every(time.Hour), 1)
	limiter.Allow() // lets nothing pass for an hour
	slow := harness.Join(t, rt, "orders", "billing", penstock.Throttle(limiter))
	consuming, stop := context.WithCancel(ctx)
	consumed := make(chan error, 1)
	go func() {
		consumed <- slow.Consume(consuming, func(context.Context, penstock.Delivery) error {
			t.Error("a message passed the limiter")
			return nil
		})
	}()
	if err := orders.Send(ctx, penstock.Message{}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the message waits", func() bool {
		return slices.ContainsFunc(rt.Stats().Members, func(m penstock.MemberStats) bool { return m.Delivered == 1 })
	})
	stop()
	if err := harness.Await(t, "Consume", consumed); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := slow.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	for d, err := range harness.Join(t, rt, "orders", "billing").Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Attempt != 1 {
			t.Errorf("attempt %d", d.Attempt)
		}
		d.Ack()
		break
	}
}

// Promise: what a Timeout cuts short while it waits for a limiter was not tried.
func TestWaitingForALimiterIsNoAttempt(t *testing.T) {
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)))
	ctx, cancel := context.WithCancel(harness.Context(t))
	defer cancel()
	busy := func() *rate.Limiter {
		limiter := rate.NewLimiter(rate.Every(100*time.Millisecond), 1)
		limiter.Allow()
		return limiter
	}
	attempts := make(chan int, 2)
	orders := harness.Register(t, rt, "orders")
	billing := harness.Join(t, rt, "orders", "billing", penstock.Timeout(5*time.Millisecond), penstock.Throttle(busy()))
	go func() {
		_ = billing.Consume(ctx, func(_ context.Context, d penstock.Delivery) error { attempts <- d.Attempt; return nil })
	}()
	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	export, err := audit.Subscribe(ctx, "export", penstock.Timeout(5*time.Millisecond), penstock.Throttle(busy()))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = export.Consume(ctx, func(_ context.Context, r penstock.Record) error { attempts <- r.Attempt; return nil })
	}()
	if _, _, err := audit.Put(ctx, penstock.Message{}); err != nil {
		t.Fatal(err)
	}
	if err := orders.Send(ctx, penstock.Message{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := harness.Await(t, "a handler", attempts); got != 1 {
			t.Errorf("attempt %d", got)
		}
	}
	if err := orders.Flush(ctx); err != nil {
		t.Error(err)
	}
}

// Promise: middleware that cannot be is refused where it is given.
func TestMiddlewareWithFaultsIsRefused(t *testing.T) {
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)))
	ctx := harness.Context(t)
	for name, opt := range map[string]penstock.JoinOption{
		"a nil function": penstock.Use(nil), "no time": penstock.Timeout(0), "a nil limiter": penstock.Throttle(nil),
	} {
		if _, err := rt.Join(ctx, "orders", "billing", opt); !errors.Is(err, penstock.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := func(penstock.Send) penstock.Send { return nil }
	if _, err := rt.Register(ctx, "orders", penstock.UseSend(none)); !errors.Is(err, penstock.ErrInvalid) {
		t.Error(err)
	}
	if _, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{}, penstock.UseSend(none)); !errors.Is(err, penstock.ErrInvalid) {
		t.Error(err)
	}
}

// Promise: middleware surrounds each message that is sent or put, also those of batches
// and of PutAsync, and its error is the message's.
func TestUseSend(t *testing.T) {
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)))
	ctx := harness.Context(t)
	var n notes
	orders := harness.Register(t, rt, "orders", penstock.UseSend(n.stamp("a"), n.stamp("b")))
	billing := harness.Join(t, rt, "orders", "billing")
	own := make([]penstock.Header, 1, 8)
	own[0].Name = "own"
	if err := orders.Send(ctx, penstock.Message{Value: []byte("yes"), Headers: own}); err != nil {
		t.Fatal(err)
	}
	if spare := own[:2][1].Name; spare != "" {
		t.Errorf("the caller's slice got %q", spare)
	}
	if err := orders.Send(ctx, penstock.Message{Value: []byte("no")}); !errors.Is(err, errNo) {
		t.Errorf("refused: %v", err)
	}
	if err := orders.Send(ctx, penstock.Message{Value: []byte("back")}); err != nil {
		t.Errorf("kept back: %v", err)
	}
	for d, err := range billing.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if got := headers(d.Payload); !slices.Equal(got, []string{"own", "a", "b"}) {
			t.Errorf("headers %q", got)
		}
		d.Ack()
		break
	}
	n.expect(t, "b yes <nil>", "a yes <nil>")

	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1}, penstock.UseSend(n.stamp("a")))
	if err != nil {
		t.Fatal(err)
	}
	if p, o, err := audit.Put(ctx, penstock.Message{Value: []byte("zero")}); p != 0 || o != 0 || err != nil {
		t.Error(p, o, err)
	}
	if o, err := audit.PutTo(ctx, 0, penstock.Message{Value: []byte("one")}); o != 1 || err != nil {
		t.Error(o, err)
	}
	if p, o, err := audit.Put(ctx, penstock.Message{Value: []byte("no")}); p != -1 || o != -1 || !errors.Is(err, errNo) {
		t.Error(p, o, err)
	}
	if p, o, err := audit.Put(ctx, penstock.Message{Value: []byte("back")}); p != -1 || o != -1 || err != nil {
		t.Error(p, o, err)
	}
	results, err := audit.PutBatch(ctx, []penstock.Message{{Value: []byte("two")}, {Value: []byte("no")}, {Value: []byte("back")}, {Value: []byte("three")}})
	if !errors.Is(err, errNo) || len(results) != 4 || results[0].Offset != 2 || !errors.Is(results[1].Err, errNo) ||
		results[2] != (penstock.PutResult{Partition: -1, Offset: -1}) || results[3].Offset != 3 {
		t.Error(results, err)
	}
	done := make(chan penstock.PutResult, 6)
	for _, value := range []string{"four", "no", "back"} {
		m := penstock.Message{Value: []byte(value)}
		tell := func(r penstock.PutResult) { done <- r }
		for _, err := range []error{audit.PutAsync(ctx, m, tell), audit.TryPut(m, tell)} {
			if (value == "no") != errors.Is(err, errNo) {
				t.Errorf("%s: %v", value, err)
			}
		}
	}
	if err := audit.Close(ctx); err != nil {
		t.Error(err)
	}
	var offsets []int64
	for range 4 {
		offsets = append(offsets, harness.Await(t, "PutAsync", done).Offset)
	}
	if slices.Sort(offsets); !slices.Equal(offsets, []int64{-1, -1, 4, 5}) || len(done) != 0 {
		t.Errorf("%d and %d more were done", offsets, len(done))
	}
	n.expect(t, "a zero <nil>", "a one <nil>", "a two <nil>", "a three <nil>", "a four <nil>", "a four <nil>")
}

// Promise: what actors publish and put passes the middleware of their options, a panic in
// it is the message's error, and records that actors receive pass UseRecords.
func TestMiddlewareOfActors(t *testing.T) {
	system := actor.NewActorSystem(actor.WithDeadLetterThrottleInterval(time.Millisecond))
	t.Cleanup(system.Shutdown)
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)), penstock.ActorSystem(system))
	ctx := harness.Context(t)
	if _, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	var n notes
	billing := harness.Join(t, rt, "orders", "billing")
	records := make(chan []string, 1)
	receiver := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if r, ok := ctx.Message().(*penstock.RecordDelivery); ok {
			n.add("receiver")
			records <- headers(r.Payload)
			r.Ack()
		}
	}))
	around := func(next penstock.RecordHandler) penstock.RecordHandler {
		return func(ctx context.Context, r penstock.Record) error {
			n.add("before")
			err := next(ctx, r)
			n.add("after %v", err)
			return err
		}
	}
	failed := make(chan error, 10)
	pids := make(chan *actor.PID, 2)
	parent := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			pids <- c.Spawn(penstock.DestinationProps(rt, "orders", penstock.UseSend(n.stamp("a"))))
			pids <- c.Spawn(penstock.ProducerProps(rt, "audit", penstock.UseSend(n.stamp("a"))))
			c.Spawn(penstock.SubscriptionProps(rt, "audit", "export", penstock.Receiver{To: receiver}, penstock.UseRecords(around)))
			c.Spawn(penstock.SubscriptionProps(rt, "audit", "export", penstock.Receiver{To: receiver, Batch: 5}, penstock.UseRecords(around)))
			c.Spawn(penstock.MemberProps(rt, "orders", "billing", penstock.Receiver{To: receiver}, penstock.Recover()))
		case *supervisor.Failed:
			failed <- m.Err
		}
	}))
	for range 2 {
		if err := harness.Await(t, "a refusal", failed); !errors.Is(err, penstock.ErrInvalid) {
			t.Error(err)
		}
	}
	dest, producer := <-pids, <-pids
	some := []penstock.Message{{Value: []byte("yes")}, {Value: []byte("panic")}}
	published, err := supervisor.Ask[*messages.Published](ctx, system, dest, &penstock.Publish{Messages: some})
	var bug *supervisor.PanicError
	if err != nil || published.Accepted != 1 || !errors.As(published.Err, &bug) {
		t.Errorf("%+v, %v", published, err)
	}
	for d, err := range billing.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if got := headers(d.Payload); !slices.Equal(got, []string{"a"}) {
			t.Errorf("headers %q", got)
		}
		d.Ack()
		break
	}
	n.expect(t, "a yes <nil>")
	put, err := supervisor.Ask[*messages.PutDone](ctx, system, producer, &penstock.Put{Messages: some})
	if err != nil || len(put.Results) != 2 || put.Results[0].Err != nil || !errors.As(put.Results[1].Err, &bug) {
		t.Errorf("%+v, %v", put, err)
	}
	if got := harness.Await(t, "the record", records); !slices.Equal(got, []string{"a"}) {
		t.Errorf("headers %q", got)
	}
	if err := supervisor.Stop(ctx, system, parent); err != nil {
		t.Error(err)
	}
	if err := rt.Stop(ctx); err != nil {
		t.Error(err)
	}
	n.expect(t, "a yes <nil>", "before", "receiver", "after <nil>")
}
