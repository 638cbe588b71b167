package props_test

// A user's actors that live with topics: a parent, a receiver, and what it saw.

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// household is a user's actor that hands everything it is told to a channel, and
// replies to Revoking when it is asked to.
type household struct {
	children map[string]*actor.Props
	pids     chan map[string]*actor.PID
	told     chan any
	release  func(*messages.Revoking) *messages.Released // nil does not reply
	passed   []any                                       // told, and passed over by expect
}

func (h *household) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		pids := make(map[string]*actor.PID)
		for name, props := range h.children {
			pid, err := ctx.SpawnNamed(props, name)
			if err != nil {
				panic(err)
			}
			pids[name] = pid
		}
		h.pids <- pids
	case error:
		panic(m)
	case *messages.Revoking:
		h.told <- m
		if h.release != nil {
			ctx.Respond(h.release(m))
		}
	case *supervisor.Failed, *messages.Opened, *messages.Subscribed, *messages.Assigned, *messages.Lost, *messages.Joined, *messages.PutDone, *messages.PutsFlushed:
		h.told <- m
	}
}

func settle(t *testing.T, e *actors.Engine, h *household) (pid *actor.PID, pids map[string]*actor.PID) {
	t.Helper()
	h.pids, h.told = make(chan map[string]*actor.PID, 10), make(chan any, 1000)
	pid = e.System().Root.Spawn(supervisor.Props(func() actor.Actor { return h }))
	t.Cleanup(func() { stop(t, e, pid) })
	return pid, enginetest.Await(t, "the children", h.pids)
}

// expect waits for what the parent is told of type T, or for its child's failure.
func expect[T any](t *testing.T, h *household) T {
	t.Helper()
	for {
		m := enginetest.Await(t, fmt.Sprintf("a %T", *new(T)), h.told)
		if got, ok := m.(T); ok {
			return got
		}
		if f, ok := m.(*supervisor.Failed); ok {
			t.Fatalf("failed: %v", f.Err)
		}
		h.passed = append(h.passed, m)
	}
}

// ask is supervisor.Ask that succeeds.
func ask[R any](t *testing.T, e *actors.Engine, to *actor.PID, m any) R {
	t.Helper()
	r, err := supervisor.Ask[R](enginetest.Within(t), e.System(), to, m)
	if err != nil {
		t.Fatalf("%T: %v", m, err)
	}
	return r
}

// topic makes a topic.
func topic(t *testing.T, e *actors.Engine, name string, partitions int) {
	t.Helper()
	h, err := e.CreateTopic(enginetest.Within(t), name, messages.TopicConfig{Partitions: partitions}, actors.ProducerConfig{})
	if err == nil {
		err = h.Close(enginetest.Within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func numbered(from, to int) (ms []messages.Message) {
	for i := from; i < to; i++ {
		ms = append(ms, messages.Message{Key: fmt.Append(nil, i%17), Value: fmt.Append(nil, i)})
	}
	return ms
}

// put has a producer put numbered messages.
func put(t *testing.T, e *actors.Engine, to *actor.PID, from, until int) {
	t.Helper()
	if done := ask[*messages.PutDone](t, e, to, &messages.Put{Messages: numbered(from, until)}); done.Err != nil || len(done.Results) != until-from {
		t.Fatalf("%d results of %d, %v", len(done.Results), until-from, done.Err)
	}
}

// ledger is what a receiver saw. It fails the test when records of a partition overtake
// one another.
type ledger struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[int]int64  // the last offset of each partition
	vals map[string]int // how often each value came
	news chan struct{}
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, seen: make(map[int]int64), vals: make(map[string]int), news: make(chan struct{}, 1)}
}

func (l *ledger) note(r messages.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.seen[r.Partition]
	if ok && r.Offset > last+1 || !ok && r.Offset > 0 {
		l.t.Errorf("partition %d: offset %d follows %d", r.Partition, r.Offset, last)
	}
	l.seen[r.Partition] = max(last, r.Offset)
	l.vals[string(r.Value)]++
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// await waits until n different values came.
func (l *ledger) await(n int) {
	l.t.Helper()
	for {
		l.mu.Lock()
		got := len(l.vals)
		l.mu.Unlock()
		if got >= n {
			return
		}
		enginetest.Await(l.t, fmt.Sprintf("record %d of %d", got+1, n), l.news)
	}
}

// mailDepth counts what is in a mailbox or in hand.
type mailDepth struct{ now, most atomic.Int64 }

func (d *mailDepth) MailboxStarted()     {}
func (d *mailDepth) MessageReceived(any) {}
func (d *mailDepth) MailboxEmpty()       {}
func (d *mailDepth) MessagePosted(m any) { d.add(size(m)) }
func (d *mailDepth) settled(n int)       { d.now.Add(-int64(n)) }
func (d *mailDepth) add(n int) {
	now := d.now.Add(int64(n))
	for most := d.most.Load(); now > most && !d.most.CompareAndSwap(most, now); most = d.most.Load() {
	}
}

func size(m any) int {
	switch m := m.(type) {
	case *actor.MessageEnvelope:
		return size(m.Message)
	case *messages.RecordDelivery:
		return 1
	case *messages.Records:
		return len(m.Records)
	}
	return 0
}

// receiver spawns an actor that settles what handle returns nil for.
func receiver(t *testing.T, e *actors.Engine, handle func(messages.Record) error, opts ...supervisor.Option) *actor.PID {
	t.Helper()
	to := e.System().Root.Spawn(supervisor.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *messages.RecordDelivery:
				if err := handle(m.Record); err != nil {
					m.Nack(err)
				} else {
					m.Ack()
				}
			case *messages.Records:
				for i, r := range m.Records {
					if err := handle(r); err != nil {
						m.Nack(i, err)
						return
					}
				}
				m.Ack()
			}
		})
	}, append(opts, supervisor.WithGuardian(quick))...))
	t.Cleanup(func() { stop(t, e, to) })
	return to
}

// quick restarts a receiver soon, and never gives it up.
var quick = supervisor.Policy{Default: supervisor.Restart, Backoff: supervisor.Backoff{Min: time.Millisecond, Max: time.Millisecond, Factor: 1}}

// stop ends an actor, also when its test is over.
func stop(t *testing.T, e *actors.Engine, pid *actor.PID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), enginetest.Patience)
	defer cancel()
	if err := supervisor.Stop(ctx, e.System(), pid); err != nil {
		t.Errorf("stop %s: %v", pid.Id, err)
	}
}

// report spawns a parent of one subscription to the topic audit, and waits for it.
func report(t *testing.T, e *actors.Engine, h *household, cfg actors.SubscriptionConfig, to actors.Receiver) (parent, child *actor.PID) {
	t.Helper()
	cfg.Group = "report"
	h.children = map[string]*actor.Props{"report": e.Subscription("audit", cfg, to)}
	parent, pids := settle(t, e, h)
	expect[*messages.Subscribed](t, h)
	return parent, pids["report"]
}

// audit spawns a parent of a producer of the topic audit, and waits for it.
func audit(t *testing.T, e *actors.Engine, h *household, cfg actors.ProducerConfig) (parent, child *actor.PID) {
	t.Helper()
	h.children = map[string]*actor.Props{"audit": e.Producer("audit", nil, cfg)}
	parent, pids := settle(t, e, h)
	expect[*messages.Opened](t, h)
	return parent, pids["audit"]
}

// awaitUp waits for a child that is up, or failed.
func awaitUp(t *testing.T, h *household) any {
	t.Helper()
	for {
		switch m := enginetest.Await(t, "a child", h.told).(type) {
		case *messages.Opened, *messages.Subscribed, *supervisor.Failed:
			return m
		}
	}
}

func quiet(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }
