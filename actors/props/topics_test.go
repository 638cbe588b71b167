package props_test

// Topics among a user's own actors.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/props"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Records that are put through a child reach a receiver in the order of their
// partitions, never more than were settled by it before, and what it has settled is
// committed when the subscription leaves.
func TestRecordsReachAReceiver(t *testing.T) {
	const n, partitions, atOnce = 5000, 4, 2
	for name, batch := range map[string]int{"one by one": 0, "in batches": 16} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			l, d := newLedger(t), &mailDepth{}
			to := receiver(t, e, func(r messages.Record) error {
				l.note(r)
				d.settled(1)
				return nil
			}, supervisor.WithMailbox(actor.Unbounded(d)))
			h := &household{children: map[string]*actor.Props{
				"audit": e.Producer("audit", &messages.TopicConfig{Partitions: partitions}, actors.ProducerConfig{}),
			}}
			_, pids := settle(t, e, h)
			if got := expect[*messages.Opened](t, h); got.Topic != "audit" {
				t.Errorf("opened %q", got.Topic)
			}
			in := &household{children: map[string]*actor.Props{
				"report": e.Subscription("audit", actors.SubscriptionConfig{Group: "report", ID: "r", PartitionsAtOnce: atOnce}, actors.Receiver{To: to, Batch: batch}),
			}}
			_, reports := settle(t, e, in)
			for left := partitions; left > 0; {
				got := expect[*messages.Assigned](t, in)
				if left -= len(got.Partitions); got.Topic != "audit" || got.Group != "report" {
					t.Errorf("%+v", got)
				}
			}
			if got := expect[*messages.Subscribed](t, in); got.Member != "r" {
				t.Errorf("%+v", got)
			}
			for i := 0; i < n; i += 50 {
				put(t, e, pids["audit"], i, i+50)
			}
			if got := ask[*messages.PutsFlushed](t, e, pids["audit"], &messages.FlushPuts{}); got.Err != nil {
				t.Error(got.Err)
			}
			l.await(n)
			if got := ask[*messages.Left](t, e, reports["report"], &messages.Leave{}); got.Err != nil {
				t.Error(got.Err)
			}
			for left := partitions; left > 0; {
				left -= len(expect[*messages.Revoking](t, in).Partitions)
			}
			group, err := e.DescribeConsumerGroup(enginetest.Within(t), "audit", "report")
			if err != nil || group.Lag != 0 || len(group.Members) != 0 {
				t.Errorf("%+v, %v", group, err)
			}
			if got := ask[*messages.ProducerClosed](t, e, pids["audit"], &messages.CloseProducer{}); got.Err != nil {
				t.Error(got.Err)
			}
			if most := d.most.Load(); most > int64(atOnce*max(batch, 1)) {
				t.Errorf("%d records were in hand", most)
			}
			for v, times := range l.vals {
				if times != 1 {
					t.Errorf("record %s came %d times", v, times)
				}
			}
		})
	}
}

// A receiver that crashes at every 100th record gets that one again, and loses none. The
// record counts an attempt, unless the receiver had crashed over another one just before.
func TestAReceiverThatCrashesLosesNoRecord(t *testing.T) {
	const n = 1000
	for name, batch := range map[string]int{"one by one": 0, "in batches": 16} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			topic(t, e, "audit", 2)
			l := newLedger(t)
			crashed := make(map[string]bool) // of the receiver's goroutine
			count, counted := 0, 0
			to := receiver(t, e, func(r messages.Record) error {
				if count++; count%100 == 0 && !crashed[string(r.Value)] {
					crashed[string(r.Value)] = true
					panic("at every 100th")
				}
				if r.Attempt == 2 && crashed[string(r.Value)] {
					counted++
				}
				if own := crashed[string(r.Value)]; batch == 0 && r.Attempt == 2 && !own || r.Attempt > 2 {
					t.Errorf("attempt %d of record %s, over which it crashed: %t", r.Attempt, r.Value, own)
				}
				l.note(r)
				return nil
			})
			_, child := report(t, e, &household{}, actors.SubscriptionConfig{
				PartitionsAtOnce: 2, Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1},
			}, actors.Receiver{To: to, Batch: batch})
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			for i := 0; i < n; i += 50 {
				put(t, e, producer, i, i+50)
			}
			l.await(n)
			if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
				t.Error(got.Err)
			}
			if len(crashed) == 0 || batch == 0 && counted == 0 {
				t.Errorf("it crashed over %d records, and %d came again with an attempt counted", len(crashed), counted)
			}
		})
	}
}

// Workers of a subscription share its partitions. One that panics fails its record,
// which comes again.
func TestWorkersOfASubscription(t *testing.T) {
	const n = 1000
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 4)
	l := newLedger(t)
	var count, crashes atomic.Int64
	_, child := report(t, e, &household{}, actors.SubscriptionConfig{
		PartitionsAtOnce: 3, Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1},
	}, actors.Receiver{Handler: actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.RecordDelivery); ok {
			if count.Add(1)%300 == 0 {
				crashes.Add(1)
				panic("at every 300th")
			}
			l.note(d.Record)
			d.Ack()
		}
	})})
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	put(t, e, producer, 0, n)
	l.await(n)
	if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
		t.Error(got.Err)
	}
	if crashes.Load() == 0 || count.Load() != n+crashes.Load() {
		t.Errorf("%d records, %d crashes", count.Load(), crashes.Load())
	}
}

// A receiver has the verbs of a delivery for a record, and for the next one of a batch.
func TestVerbsOfRecords(t *testing.T) {
	errNo := errors.New("no")
	type verbs interface {
		Ack()
		Nack(error)
		NackAfter(time.Duration, error)
		Release()
		Reject(error)
	}
	for _, batch := range []int{0, 4} {
		t.Run(fmt.Sprint("batches of ", batch), func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			topic(t, e, "audit", 1)
			letters, over := make(chan messages.Record, 10), make(chan struct{})
			var tries []int
			var said []int
			to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				var r messages.Record
				var v verbs
				switch m := ctx.Message().(type) {
				case *messages.RecordDelivery:
					r, v = m.Record, m
				case *messages.Records:
					r, v = m.Records[0], firstOf{m}
				default:
					return
				}
				tries, said = append(tries, r.Attempt), append(said, int(r.Offset))
				switch len(tries) {
				case 1, 2:
					v.Release()
				case 3:
					v.NackAfter(time.Millisecond, errNo)
				case 4:
					v.Nack(messages.RetryAfter(time.Millisecond, errNo))
				case 5:
					v.Reject(errNo)
				case 6:
					v.Nack(fmt.Errorf("%w: as an error", messages.ErrReject))
				case 7:
					v.Reject(nil)
					v.Ack() // the first one counts
				case 8:
					v.Ack()
					close(over)
				}
			}))
			t.Cleanup(func() { stop(t, e, to) })
			report(t, e, &household{}, actors.SubscriptionConfig{
				Retry: messages.Retry{Min: 20 * time.Millisecond, Max: time.Hour, Factor: 1e6}, MaxAttempts: 10,
				DeadLetter: func(_ context.Context, r messages.Record, cause error) error {
					if !errors.Is(cause, messages.ErrReject) {
						t.Errorf("the cause is %v", cause)
					}
					letters <- r
					return nil
				},
			}, actors.Receiver{To: to, Batch: batch})
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			put(t, e, producer, 0, 4)
			enginetest.Await(t, "the last verb", over)
			if want := []int{1, 1, 1, 2, 3, 1, 1, 1}; !slices.Equal(tries, want) {
				t.Errorf("the attempts are %v, want %v", tries, want)
			}
			if want := []int{0, 0, 0, 0, 0, 1, 2, 3}; !slices.Equal(said, want) {
				t.Errorf("the offsets are %v, want %v", said, want)
			}
			if len(letters) != 3 {
				t.Errorf("%d dead letters", len(letters))
			}
		})
	}
}

// firstOf says something of a batch's first record.
type firstOf struct{ *messages.Records }

func (f firstOf) Nack(err error)                       { f.Records.Nack(0, err) }
func (f firstOf) NackAfter(d time.Duration, err error) { f.Records.NackAfter(0, d, err) }
func (f firstOf) Release()                             { f.Records.Release(0) }
func (f firstOf) Reject(err error)                     { f.Records.Reject(0, err) }

// When a receiver terminates, its subscription ends with the cause, and what it had in
// hand is handled by the next.
func TestAReceiverTerminates(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 1)
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	put(t, e, producer, 0, 20)
	got := make(chan *messages.RecordDelivery, 100)
	to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.RecordDelivery); ok {
			got <- d
		}
	}))
	h := &household{}
	_, child := report(t, e, h, actors.SubscriptionConfig{ID: "r"}, actors.Receiver{To: to})
	first := enginetest.Await(t, "a record", got)
	first.Ack()
	second := enginetest.Await(t, "a record", got)
	stop(t, e, to)
	failed := enginetest.Await(t, "what became of the subscription", func() <-chan *supervisor.Failed {
		c := make(chan *supervisor.Failed, 1)
		for {
			if f, ok := enginetest.Await(t, "the failure", h.told).(*supervisor.Failed); ok {
				c <- f
				return c
			}
		}
	}())
	if !errors.Is(failed.Err, messages.ErrClosed) || !failed.Who.Equal(child) {
		t.Errorf("%s failed for %v", failed.Who, failed.Err)
	}
	enginetest.Await(t, "the end of the second record", second.Context().Done())
	second.Ack() // it is not this receiver's any more
	var offsets []int64
	l := newLedger(t)
	l.seen[0] = 0
	next := receiver(t, e, func(r messages.Record) error {
		if len(offsets) == 0 {
			offsets = append(offsets, r.Offset)
		}
		l.note(r)
		return nil
	})
	_, child = report(t, e, &household{}, actors.SubscriptionConfig{ID: "r"}, actors.Receiver{To: next})
	l.await(19)
	if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
		t.Error(got.Err)
	}
	if !slices.Equal(offsets, []int64{1}) {
		t.Errorf("the next began at %d", offsets)
	}
}

// A record that a receiver fails comes again, behind nothing of its partition, until
// the dead-letter handler has it.
func TestARecordThatFailsComesAgain(t *testing.T) {
	for name, batch := range map[string]int{"one by one": 0, "in batches": 16} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			topic(t, e, "audit", 1)
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			put(t, e, producer, 0, 20)
			no := errors.New("no")
			var attempts []int
			l := newLedger(t)
			to := receiver(t, e, func(r messages.Record) error {
				if string(r.Value) == "7" {
					attempts = append(attempts, r.Attempt)
					return no
				}
				l.note(r)
				return nil
			})
			l.seen[0] = -1
			dead := make(chan error, 1)
			_, child := report(t, e, &household{}, actors.SubscriptionConfig{
				Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1}, MaxAttempts: 3,
				DeadLetter: func(_ context.Context, r messages.Record, cause error) error {
					l.note(r)
					dead <- cause
					return nil
				},
			}, actors.Receiver{To: to, Batch: batch})
			if err := enginetest.Await(t, "the dead letter", dead); !errors.Is(err, no) {
				t.Error(err)
			}
			l.await(20)
			if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
				t.Error(got.Err)
			}
			if !slices.Equal(attempts, []int{1, 2, 3}) {
				t.Errorf("attempts %d", attempts)
			}
		})
	}
}

// A parent that awaits Released decides when a partition is released, and its error
// keeps what is finished from being committed.
func TestAParentReleases(t *testing.T) {
	for name, err := range map[string]error{"done": nil, "failed": errors.New("disk full")} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.NewSpace(t).Begin(t)
			topic(t, e, "audit", 1)
			_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
			put(t, e, producer, 0, 20)
			l := newLedger(t)
			to := receiver(t, e, func(r messages.Record) error { l.note(r); return nil })
			h := &household{release: func(*messages.Revoking) *messages.Released { return &messages.Released{Err: err} }}
			_, child := report(t, e, h, actors.SubscriptionConfig{ManualCommit: true}, actors.Receiver{To: to, AwaitReleased: true})
			l.await(20)
			if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
				t.Error(got.Err)
			}
			if got := expect[*messages.Revoking](t, h); !slices.Equal(got.Partitions, []int{0}) || got.Topic != "audit" || got.Group != "report" {
				t.Errorf("%+v", got)
			}
			group, derr := e.DescribeConsumerGroup(enginetest.Within(t), "audit", "report")
			want := int64(0)
			if err != nil {
				want = 20
			}
			if derr != nil || group.Lag != want {
				t.Errorf("lag %d, want %d; %v", group.Lag, want, derr)
			}
		})
	}
}

// A parent that restarts begins its children again, in the same place.
func TestAParentOfTopicsRestarts(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 2)
	l := newLedger(t)
	to := receiver(t, e, func(r messages.Record) error { l.note(r); return nil })
	h := &household{children: map[string]*actor.Props{
		"audit":  e.Producer("audit", nil, actors.ProducerConfig{}),
		"report": e.Subscription("audit", actors.SubscriptionConfig{Group: "report", ID: "r"}, actors.Receiver{To: to}),
	}}
	parent, pids := settle(t, e, h)
	for i := range 3 {
		for range 2 { // in either order
			switch m := awaitUp(t, h).(type) {
			case *supervisor.Failed:
				t.Fatal(m.Err)
			}
		}
		put(t, e, pids["audit"], i*100, i*100+100)
		l.await(i*100 + 100)
		e.System().Root.Send(parent, errors.New("a bug"))
		pids = enginetest.Await(t, "the children", h.pids)
	}
}

// Children that are stopped leave nothing in etcd; what a producer has taken is put and
// replied to.
func TestChildrenOfTopicsAreStopped(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	topic(t, e, "audit", 2)
	l := newLedger(t)
	to := receiver(t, e, func(r messages.Record) error { l.note(r); return nil })
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	_, child := report(t, e, &household{}, actors.SubscriptionConfig{ID: "r"}, actors.Receiver{To: to})
	done := make(chan *messages.PutDone, 100)
	asker := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *messages.PutDone:
			done <- m
		case []messages.Message:
			ctx.Request(producer, &messages.Put{Messages: m})
			if string(m[0].Value) == "90" {
				ctx.Poison(producer)
			}
		}
	}))
	defer stop(t, e, asker)
	for i := 0; i < 100; i += 10 {
		e.System().Root.Send(asker, numbered(i, i+10))
	}
	stored := 0
	for i := 0; i < 100; i += 10 {
		m := enginetest.Await(t, "a reply", done)
		if len(m.Results) != 10 {
			t.Fatalf("%d results, %v", len(m.Results), m.Err)
		}
		for _, r := range m.Results {
			if r.Err == nil {
				stored++
			} else if !errors.Is(r.Err, messages.ErrClosed) {
				t.Error(r.Err)
			}
		}
	}
	l.await(stored)
	c := s.Client(t)
	if got := s.With(t, c, "/members/"); len(got) == 0 {
		t.Errorf("the member's key is not found: %q", s.With(t, c, ""))
	}
	stop(t, e, child)
	enginetest.Until(t, "the member's key is gone", func() bool { return len(s.With(t, c, "/members/")) == 0 })
}

// When the engine stops, or the topic is deleted, the children end, and their parents
// are told why.
func TestChildrenOfTopicsOutliveNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		end func(ctx context.Context, e *actors.Engine) error
		why error
	}{
		"the engine stops":     {func(ctx context.Context, e *actors.Engine) error { return e.Stop(ctx) }, messages.ErrClosed},
		"the topic is deleted": {func(ctx context.Context, e *actors.Engine) error { return e.DeleteTopic(ctx, "audit") }, messages.ErrTopicDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			sys := actor.NewActorSystem(actor.WithLoggerFactory(quiet), actor.WithDeadLetterThrottleInterval(time.Millisecond))
			defer sys.Shutdown()
			e, err := actors.Start(enginetest.Within(t), sys, actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys), Listen: "tcp://127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := e.Stop(enginetest.Within(t)); err != nil {
					t.Error(err)
				}
			}()
			topic(t, e, "audit", 2)
			l := newLedger(t)
			to := receiver(t, e, func(r messages.Record) error { l.note(r); return nil })
			puts, reports := &household{}, &household{}
			_, producer := audit(t, e, puts, actors.ProducerConfig{})
			report(t, e, reports, actors.SubscriptionConfig{}, actors.Receiver{To: to})
			put(t, e, producer, 0, 100)
			l.await(100)
			if err := tc.end(enginetest.Within(t), e); err != nil {
				t.Error(err)
			}
			for _, h := range []*household{puts, reports} {
				for {
					if f, ok := enginetest.Await(t, "the failure", h.told).(*supervisor.Failed); ok {
						if !errors.Is(f.Err, tc.why) || tc.why == messages.ErrClosed && !strings.HasSuffix(f.Err.Error(), `"audit": the runtime was stopped: closed`) {
							t.Errorf("%s failed for %v", f.Who.Id, f.Err)
						}
						break
					}
				}
			}
		})
	}
}

// What waits for room in a producer's buffer is bounded; replies come in the order of
// the puts, and a partitioner that panics fails its message alone.
func TestPutsAreBoundedAndInOrder(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 1)
	held := make(chan struct{})
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{Partitioner: actors.Manual(func(m *messages.Message, _ int) int {
		<-held
		if string(m.Value) == "2" {
			panic("at 2")
		}
		return 0
	})})
	done := make(chan *messages.PutDone, 10)
	puts := [][]messages.Message{numbered(0, 1), numbered(1, props.MaxWaiting-1), nil, numbered(0, 2)}
	asker := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			for _, ms := range puts {
				ctx.Request(producer, &messages.Put{Messages: ms})
			}
		case *messages.PutDone:
			done <- m
		}
	}))
	defer stop(t, e, asker)
	if m := enginetest.Await(t, "the refusal", done); !errors.Is(m.Err, messages.ErrGroupFull) || m.Results != nil {
		t.Errorf("the refusal is %v, with %d results", m.Err, len(m.Results))
	}
	close(held)
	for i, ms := range puts[:3] {
		m := enginetest.Await(t, "a reply", done)
		if len(m.Results) != len(ms) {
			t.Fatalf("reply %d has %d results, want %d", i, len(m.Results), len(ms))
		}
		var bug *supervisor.PanicError
		for j, r := range m.Results {
			if spoiled := i == 1 && j == 1; (r.Err != nil) != spoiled || spoiled && !errors.As(r.Err, &bug) {
				t.Errorf("reply %d, result %d: %v", i, j, r.Err)
			}
		}
	}
}

// A crash of the actor itself changes nothing for those who use it.
func TestActorsOfTopicsRestart(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 2)
	l := newLedger(t)
	to := receiver(t, e, func(r messages.Record) error { l.note(r); return nil })
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	_, child := report(t, e, &household{}, actors.SubscriptionConfig{}, actors.Receiver{To: to})
	for i := 0; i < 500; i += 50 {
		put(t, e, producer, i, i+50)
		for _, pid := range []*actor.PID{producer, child} {
			e.System().Root.Send(pid, &actor.Restart{})
		}
	}
	l.await(500)
	if got := ask[*messages.Left](t, e, child, &messages.Leave{}); got.Err != nil {
		t.Error(got.Err)
	}
	if got := ask[*messages.ProducerClosed](t, e, producer, &messages.CloseProducer{}); got.Err != nil {
		t.Error(got.Err)
	}
}

// What cannot begin tells its parent why.
func TestChildrenOfTopicsAreRefused(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	to := receiver(t, e, func(messages.Record) error { return nil })
	for name, tc := range map[string]struct {
		child *actor.Props
		why   error
	}{
		"a producer of no topic":          {e.Producer("audit", nil, actors.ProducerConfig{}), messages.ErrNoTopic},
		"a subscription to no topic":      {e.Subscription("audit", actors.SubscriptionConfig{Group: "report"}, actors.Receiver{To: to}), messages.ErrNoTopic},
		"a subscription with no receiver": {e.Subscription("audit", actors.SubscriptionConfig{Group: "report"}, actors.Receiver{}), messages.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			h := &household{children: map[string]*actor.Props{"child": tc.child}}
			settle(t, e, h)
			if f, ok := enginetest.Await(t, "the failure", h.told).(*supervisor.Failed); !ok || !errors.Is(f.Err, tc.why) {
				t.Errorf("%v", f)
			}
		})
	}
}
