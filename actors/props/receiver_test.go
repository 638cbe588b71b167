package props_test

// Receivers that fail: nothing is lost, and their mailboxes never hold more than their
// window.

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// A receiver that crashes at every 100th delivery gets each, and but for those that it
// crashed over each once.
func TestAReceiverCrashesAtEvery100thDelivery(t *testing.T) {
	const n, window = 3000, 64
	decide := func(d actor.Directive) actor.PropsOption {
		return actor.WithGuardian(actor.NewOneForOneStrategy(1000, 0, func(any) actor.Directive { return d }))
	}
	quick := supervisor.Policy{Backoff: supervisor.Backoff{Min: 1, Max: 1}}
	for name, props := range map[string]func(actor.ReceiveFunc, actor.MailboxProducer) *actor.Props{
		"plain, restarts": func(f actor.ReceiveFunc, m actor.MailboxProducer) *actor.Props {
			return actor.PropsFromFunc(f, decide(actor.RestartDirective), actor.WithMailbox(m))
		},
		"plain, resumes": func(f actor.ReceiveFunc, m actor.MailboxProducer) *actor.Props {
			return actor.PropsFromFunc(f, decide(actor.ResumeDirective), actor.WithMailbox(m))
		},
		"guarded": func(f actor.ReceiveFunc, m actor.MailboxProducer) *actor.Props {
			return supervisor.Props(func() actor.Actor { return f }, supervisor.WithGuardian(quick), supervisor.WithMailbox(m))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			var box depth
			var handled, crashes atomic.Int64
			seen := make(chan string, 2*n)
			receive := func(ctx actor.Context) {
				d, ok := ctx.Message().(*messages.Delivery)
				if !ok {
					return
				}
				if d.Attempt != 1 {
					t.Errorf("attempt %d", d.Attempt)
				}
				if handled.Add(1)%100 == 0 {
					crashes.Add(1)
					box.now.Add(-1)
					panic(errors.New("a bug"))
				}
				seen <- string(d.Value)
				box.ack(*d)
			}
			to := e.System().Root.Spawn(props(receive, actor.Unbounded(&box)))
			defer func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), to) }()
			p, _, pids := family(t, e, map[string]*actor.Props{
				"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Window: window}, actors.Receiver{To: to}),
			})
			hears[*messages.Registered](t, p)
			hears[*messages.Joined](t, p)
			publish(t, e, pids["orders"], n)
			got := make(map[string]int)
			for len(got) < n {
				got[enginetest.Await(t, "a message", seen)]++
			}
			if crashes.Load() < n/100 {
				t.Errorf("%d crashes", crashes.Load())
			}
			if box.most.Load() > window {
				t.Errorf("%d in the mailbox, the window is %d", box.most.Load(), window)
			}
			for id, times := range got {
				if times > 1 {
					t.Errorf("%s came %d times", id, times)
				}
			}
			if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), e.System(), pids["orders"], &messages.Flush{}); err != nil || flush.Err != nil {
				t.Error(flush, err)
			}
		})
	}
}

// publish publishes n messages in order, in batches.
func publish(t *testing.T, e *actors.Engine, to *actor.PID, n int) {
	t.Helper()
	for sent := 0; sent < n; {
		var batch []messages.Message
		for ; len(batch) < 100 && sent < n; sent++ {
			batch = append(batch, messages.Message{Value: []byte(fmt.Sprint(sent))})
		}
		ack, err := supervisor.Ask[*messages.Published](enginetest.Within(t), e.System(), to, &messages.Publish{Messages: batch})
		if err != nil || ack.Err != nil || ack.Accepted != len(batch) {
			t.Fatal(ack, err)
		}
	}
}

// worker is a handler: it takes one delivery at a time, and fails over some.
type worker struct {
	at      *atomic.Int64 // how many deliveries are being handled
	most    *atomic.Int64
	handled *atomic.Int64
	done    chan<- messages.Delivery
}

func (w *worker) Receive(ctx actor.Context) {
	d, ok := ctx.Message().(*messages.Delivery)
	if !ok {
		return
	}
	now := w.at.Add(1)
	for most := w.most.Load(); now > most && !w.most.CompareAndSwap(most, now); most = w.most.Load() {
	}
	defer w.at.Add(-1)
	if d.Attempt == 1 && w.handled.Add(1)%100 == 0 {
		panic(errors.New("a bug"))
	}
	d.Ack()
	w.done <- *d
}

// Workers of a member: each has one delivery at a time, and what one panics over comes
// again, with an attempt counted.
func TestWorkersOfAMember(t *testing.T) {
	const n, concurrency = 2000, 4
	for _, kind := range []string{"plain", "guarded"} {
		t.Run(kind, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e, c := s.Begin(t), s.Client(t)
			done := make(chan messages.Delivery, 2*n)
			var at, most, handled atomic.Int64
			producer := func() actor.Actor { return &worker{at: &at, most: &most, handled: &handled, done: done} }
			handler := actor.PropsFromProducer(producer)
			if kind == "guarded" {
				handler = supervisor.Props(producer)
			}
			panics := make(chan messages.HandlerPanicked, n)
			go func() {
				for event := range e.Events(t.Context()) {
					if p, ok := event.(messages.HandlerPanicked); ok {
						panics <- p
					}
				}
			}()
			p, _, pids := family(t, e, map[string]*actor.Props{
				"orders": e.Destination(actors.DestinationConfig{Name: "orders", Retry: messages.Retry{Min: time.Millisecond}}),
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Concurrency: concurrency},
					actors.Receiver{Handler: handler}),
			})
			hears[*messages.Registered](t, p)
			hears[*messages.Joined](t, p)
			publish(t, e, pids["orders"], n)
			got, again := make(map[string]bool), 0
			for len(got) < n {
				d := enginetest.Await(t, "a message", done)
				if got[string(d.Value)] {
					t.Errorf("%s came twice", d.Value)
				}
				got[string(d.Value)] = true
				if d.Attempt == 2 {
					again++
				}
			}
			if again != n/100 {
				t.Errorf("%d came again after a panic, want %d", again, n/100)
			}
			if most.Load() > concurrency {
				t.Errorf("%d at once, want %d", most.Load(), concurrency)
			}
			if p := enginetest.Await(t, "the event", panics); p.Value != "a bug" || p.Destination != "orders" {
				t.Errorf("%+v", p)
			}
			askAll(t, e, pids)
			nothingLeft(t, s, c)
		})
	}
}

// A worker that stops ends its member; what it had goes back.
func TestAWorkerStops(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	handler := actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*messages.Delivery); ok {
			ctx.Stop(ctx.Self())
		}
	})
	p, pid, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{Handler: handler}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	publish(t, e, pids["orders"], 10)
	fails(t, p, messages.ErrClosed)
	got := make(chan messages.Delivery, 10)
	q, _, _ := family(t, e, map[string]*actor.Props{
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b", Concurrency: 2},
			actors.Receiver{Handler: actor.PropsFromFunc(func(ctx actor.Context) {
				if d, ok := ctx.Message().(*messages.Delivery); ok {
					d.Ack()
					got <- *d
				}
			})}),
	})
	hears[*messages.Joined](t, q)
	for range 10 {
		if d := enginetest.Await(t, "a message", got); d.Attempt != 1 {
			t.Errorf("attempt %d", d.Attempt)
		}
	}
	if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), e.System(), pids["orders"], &messages.Flush{}); err != nil || flush.Err != nil {
		t.Error(flush, err)
	}
	if err := supervisor.Stop(enginetest.Within(t), e.System(), pid); err != nil {
		t.Error(err)
	}
}
