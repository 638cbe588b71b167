package props_test

// Messages and records over which their receiver fails each time: they come to an end,
// and the others are handled.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// A message that its receiver panics over each time counts a death each time, and no
// attempt; after MaxDeaths it is a dead letter. No other message is, and each of them
// counts one death at most.
func TestAMessageThatItsReceiverPanicsOver(t *testing.T) {
	const n, poison, deaths = 40, "17", 3
	decide := func(d actor.Directive) actor.PropsOption {
		return actor.WithGuardian(actor.NewOneForOneStrategy(1000, 0, func(any) actor.Directive { return d }))
	}
	quick := supervisor.Policy{Backoff: supervisor.Backoff{Min: 1, Max: 1}}
	for _, test := range []struct {
		name  string
		batch int
		ends  bool // the receiver does, each time
		props func(actor.ReceiveFunc) *actor.Props
	}{
		{"restarts", 0, false, func(f actor.ReceiveFunc) *actor.Props { return actor.PropsFromFunc(f, decide(actor.RestartDirective)) }},
		{"resumes", 0, false, func(f actor.ReceiveFunc) *actor.Props { return actor.PropsFromFunc(f, decide(actor.ResumeDirective)) }},
		{"stops", 0, true, func(f actor.ReceiveFunc) *actor.Props { return actor.PropsFromFunc(f, decide(actor.StopDirective)) }},
		{"guarded", 0, false, func(f actor.ReceiveFunc) *actor.Props {
			return supervisor.Props(func() actor.Actor { return f }, supervisor.WithGuardian(quick))
		}},
		{"guarded, stops", 0, true, func(f actor.ReceiveFunc) *actor.Props {
			return supervisor.Props(func() actor.Actor { return f }, supervisor.WithGuardian(supervisor.Policy{Default: supervisor.Terminate}))
		}},
		{"batches", 8, false, func(f actor.ReceiveFunc) *actor.Props { return actor.PropsFromFunc(f, decide(actor.RestartDirective)) }},
		{"batches, stops", 8, true, func(f actor.ReceiveFunc) *actor.Props { return actor.PropsFromFunc(f, decide(actor.StopDirective)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			letters := make(chan messages.DeadLetter, n)
			acked := make(chan messages.Delivery, 2*n)
			handle := func(ds ...messages.Delivery) {
				for _, d := range ds {
					if d.Attempt != 1 {
						t.Errorf("%s: attempt %d", d.Value, d.Attempt)
					}
					if string(d.Value) == poison {
						panic(errors.New("a bug"))
					}
				}
				for _, d := range ds {
					d.Ack()
					acked <- d
				}
			}
			props := test.props(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case *messages.Delivery:
					handle(*m)
				case *messages.Deliveries:
					handle(m.Deliveries...)
				}
			})
			billing := func() (p *parent, end func()) {
				to := e.System().Root.Spawn(props)
				p, pid, _ := family(t, e, map[string]*actor.Props{
					"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to, Batch: test.batch}),
				})
				return p, func() {
					for _, pid := range []*actor.PID{pid, to} {
						_ = supervisor.Stop(enginetest.Within(t), e.System(), pid)
					}
				}
			}
			p, end := billing()
			hears[*messages.Joined](t, p)
			q, _, pids := family(t, e, map[string]*actor.Props{
				"orders": e.Destination(actors.DestinationConfig{
					Name: "orders", MaxDeaths: deaths, Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond},
					DeadLetter: func(_ context.Context, d messages.DeadLetter) error { letters <- d; return nil },
				}),
			})
			hears[*messages.Registered](t, q)
			publish(t, e, pids["orders"], n)
			flushed := enginetest.Aside(func() error {
				_, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), e.System(), pids["orders"], &messages.Flush{})
				return err
			})
			var letter messages.DeadLetter
			for letter.Group == "" {
				select {
				case letter = <-letters:
				case m := <-p.told:
					if failed, ok := m.(*supervisor.Failed); ok && test.ends && errors.Is(failed.Err, messages.ErrClosed) {
						end()
						p, end = billing()
					}
				case <-enginetest.Within(t).Done():
					t.Fatal("the message is no dead letter")
				}
			}
			if string(letter.Message.Value) != poison || letter.Deaths != deaths || letter.Attempts != 0 || !strings.Contains(letter.Cause, "its receiver failed") {
				t.Errorf("the dead letter %+v", letter)
			}
			got := make(map[string]bool)
			for len(got) < n-1 {
				select {
				case d := <-acked:
					if got[string(d.Value)] || d.Deaths > 1 {
						t.Errorf("%s was acked before: %t, and counted %d deaths", d.Value, got[string(d.Value)], d.Deaths)
					}
					got[string(d.Value)] = true
				case m := <-p.told:
					if _, ok := m.(*supervisor.Failed); ok {
						end()
						p, end = billing()
					}
				case <-enginetest.Within(t).Done():
					t.Fatalf("%d were acked", len(got))
				}
			}
			if err := enginetest.Outcome(t, "the flush", flushed); err != nil {
				t.Error(err)
			}
			select {
			case more := <-letters:
				t.Errorf("another dead letter %+v", more)
			default:
			}
			end()
		})
	}
}

// A record that its receiver panics over each time counts an attempt each time, and is a
// dead letter after as many as RecordDeadLetters allows. No other record is.
func TestARecordThatItsReceiverPanicsOver(t *testing.T) {
	const n, poison, attempts = 40, "17", 3
	for name, batch := range map[string]int{"one by one": 0, "in batches": 8} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			topic(t, e, "audit", 1)
			handled := make(chan messages.Record, 2*n)
			to := receiver(t, e, func(r messages.Record) error {
				if string(r.Value) == poison {
					panic("a bug")
				}
				handled <- r
				return nil
			})
			letters := make(chan messages.Record, n)
			_, child := report(t, e, &household{}, actors.SubscriptionConfig{
				Retry:       messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1},
				MaxAttempts: attempts,
				DeadLetter: func(_ context.Context, r messages.Record, cause error) error {
					if cause == nil || !strings.Contains(cause.Error(), "its receiver failed") {
						t.Errorf("a dead letter because of %v", cause)
					}
					letters <- r
					return nil
				},
			}, actors.Receiver{To: to, Batch: batch})
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			put(t, e, producer, 0, n)
			for got := make(map[string]bool); len(got) < n-1; {
				got[string(enginetest.Await(t, "a record", handled).Value)] = true
			}
			if r := enginetest.Await(t, "the dead letter", letters); string(r.Value) != poison || r.Attempt != attempts {
				t.Errorf("record %s is a dead letter at attempt %d", r.Value, r.Attempt)
			}
			if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
				t.Error(got.Err)
			}
			if len(letters) > 0 {
				t.Errorf("another dead letter %+v", <-letters)
			}
		})
	}
}
