package props_test

// Workers that lose what they were handed, in ways that nothing in their Receive shows.

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// away is how a user's middleware loses what it should pass on.
var away = map[string]func(){
	"panics":   func() { panic("a bug of the middleware's") },
	"swallows": func() {},
}

// losing is a middleware that loses what is of some value, the first time that it comes.
func losing(t *testing.T, value string, lose func(), losses *atomic.Int64) actor.PropsOption {
	return actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, m *actor.MessageEnvelope) {
			var v []byte
			switch d := m.Message.(type) {
			case *messages.Delivery:
				v = d.Value
			case *messages.RecordDelivery:
				v = d.Value
			}
			if string(v) == value && losses.Add(1) == 1 {
				lose()
				return
			}
			next(ctx, m)
		}
	})
}

// What a middleware of the user's panics over, or does not pass on, has failed, and its
// worker gets the next.
func TestAMiddlewareLosesADelivery(t *testing.T) {
	for what, lose := range away {
		t.Run(what, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			var losses atomic.Int64
			got := make(chan messages.Delivery, 100)
			handler := actor.PropsFromFunc(func(ctx actor.Context) {
				if d, ok := ctx.Message().(*messages.Delivery); ok {
					d.Ack()
					got <- *d
				}
			}, losing(t, "3", lose, &losses))
			p, _, pids := family(t, e, map[string]*actor.Props{
				"orders": e.Destination(actors.DestinationConfig{Name: "orders"}),
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Concurrency: 1, AckWait: -1},
					actors.Receiver{Handler: handler}),
			})
			hears[*messages.Registered](t, p)
			hears[*messages.Joined](t, p)
			publish(t, e, pids["orders"], 10)
			for range 10 {
				want := 1
				d := enginetest.Await(t, "a message", got)
				if string(d.Value) == "3" {
					want = 2
				}
				if d.Attempt != want {
					t.Errorf("%s at attempt %d", d.Value, d.Attempt)
				}
			}
			if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), e.System(), pids["orders"], &messages.Flush{}); err != nil || flush.Err != nil {
				t.Error(flush, err)
			}
		})
	}
}

// It is so for records, which are tried again as the subscription's settings say.
func TestAMiddlewareLosesARecord(t *testing.T) {
	for what, lose := range away {
		t.Run(what, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			topic(t, e, "audit", 1)
			a := &household{}
			_, producer := audit(t, e, a, actors.ProducerConfig{})
			put(t, e, producer, 0, 10)
			var losses atomic.Int64
			got := newLedger(t)
			handler := actor.PropsFromFunc(func(ctx actor.Context) {
				if d, ok := ctx.Message().(*messages.RecordDelivery); ok {
					got.note(d.Record)
					d.Ack()
				}
			}, losing(t, "3", lose, &losses))
			r := &household{}
			_, child := report(t, e, r, actors.SubscriptionConfig{Start: messages.Earliest()}, actors.Receiver{Handler: handler})
			got.await(10)
			if losses.Load() != 2 {
				t.Errorf("it came %d times", losses.Load())
			}
			if left := ask[*messages.Left](t, e, child, &messages.Leave{}); left.Err != nil {
				t.Error(left.Err)
			}
		})
	}
}

// keeper is a worker that settles later what it is handed, and fails before that.
type keeper struct {
	kept []messages.Delivery
	came chan<- messages.Delivery
	fail *atomic.Bool
}

func (k *keeper) Receive(ctx actor.Context) {
	d, ok := ctx.Message().(*messages.Delivery)
	if !ok {
		return
	}
	k.kept = append(k.kept, *d)
	k.came <- *d
	if k.fail.Load() {
		if string(d.Value) == "9" {
			panic("a bug")
		}
		return
	}
	for _, d := range k.kept {
		d.Ack()
	}
	k.kept = nil
}

// What a worker keeps to settle it later goes back when it fails, without an attempt
// counted; but for the one that it failed over.
func TestAWorkerFailsThatKeeps(t *testing.T) {
	const n = 10
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	came := make(chan messages.Delivery, 10*n)
	var fail atomic.Bool
	fail.Store(true)
	handler := actor.PropsFromProducer(func() actor.Actor { return &keeper{came: came, fail: &fail} })
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders": e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Window: n, Concurrency: 1, AckWait: -1},
			actors.Receiver{Handler: handler}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	publish(t, e, pids["orders"], n)
	for range n - 1 {
		enginetest.Await(t, "a message", came)
	}
	if d := enginetest.Await(t, "the one it fails over", came); string(d.Value) != "9" {
		t.Fatalf("%s", d.Value)
	}
	fail.Store(false)
	again := make(map[string]int)
	for len(again) < n {
		d := enginetest.Await(t, "a message again", came)
		again[string(d.Value)] = d.Attempt
	}
	for value, attempt := range again {
		if want := 1 + strings.Count(value, "9"); attempt != want {
			t.Errorf("%s at attempt %d, want %d", value, attempt, want)
		}
	}
	if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), e.System(), pids["orders"], &messages.Flush{}); err != nil || flush.Err != nil {
		t.Error(flush, err)
	}
}

// A member whose receiver is stuck while it takes back hears of its own end all the same.
func TestAMemberEndsWhileItsReceiverIsStuck(t *testing.T) {
	s := enginetest.NewSpace(t)
	sys := actor.NewActorSystem(actor.WithLoggerFactory(silent), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	defer sys.Shutdown()
	e, err := actors.Start(enginetest.Within(t), sys, actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys), Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	stuck, release := make(chan struct{}), make(chan struct{})
	to := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(string); ok {
			close(stuck)
			<-release
		}
	}))
	defer func() { _ = supervisor.Stop(enginetest.Within(t), sys, to) }()
	defer close(release)
	p, _, pids := family(t, e, map[string]*actor.Props{
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: to}),
	})
	hears[*messages.Joined](t, p)
	awaitState(t, e, pids["billing"], "delivering")
	sys.Root.Send(to, "be stuck")
	enginetest.Await(t, "the receiver", stuck)
	sys.EventStream.Publish(&supervisor.Restarted{Who: to})
	awaitState(t, e, pids["billing"], "taking back")
	ended := enginetest.Aside(func() error { return e.Stop(enginetest.Within(t)) })
	fails(t, p, messages.ErrClosed)
	if err := enginetest.Outcome(t, "stop", ended); err != nil {
		t.Error(err)
	}
}
