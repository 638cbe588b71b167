package actors

// Actors that are told, and asked.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
	"github.com/penstock-io/penstock/supervisor"
)

func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond))
}

// told is what an actor is told or asked: whose message, and which.
type told struct{ sender, seq uint64 }

// ahead is how many messages may wait in a mailbox, which has no bound of its own;
// each quarter of them the actor says how far it is.
const ahead = 1 << 14

// listener is told, and asked by whoever is known as sender.
type listener struct {
	journals []*journal.Journal // by sender
	handled  *atomic.Uint64
	room     chan struct{}
	since    uint64
}

func (l *listener) Receive(ctx actor.Context) {
	m, ok := ctx.Message().(*told)
	if !ok {
		return
	}
	l.journals[m.sender].Note(m.seq, false)
	if ctx.Sender() != nil {
		ctx.Respond(m)
	}
	l.handled.Add(1)
	if l.since++; l.since == ahead/4 {
		l.since = 0
		select {
		case l.room <- struct{}{}:
		default:
		}
	}
}

// talker tells or asks actors of its own, in turn.
type talker struct {
	id    uint64
	pids  []*actor.PID
	to    []*listener
	count atomic.Uint64
	done  atomic.Uint64 // of its actors
	room  chan struct{}
	asked *results.Histogram
}

// chat is a scenario of telling or asking that is set up.
type chat struct {
	Scenario
	sys     *actor.ActorSystem
	talkers []*talker
}

// talk performs a scenario of telling or asking.
func (s Scenario) talk(ctx context.Context, tell scenario.Progress, r *scenario.Result) error {
	c := &chat{Scenario: s, sys: newSystem()}
	defer c.sys.Shutdown()
	for i := range s.Senders {
		t := &talker{id: uint64(i), room: make(chan struct{}, 1), asked: results.NewHistogram()}
		for range s.Members {
			l := &listener{handled: &t.done, room: t.room}
			for range s.Senders {
				l.journals = append(l.journals, &journal.Journal{})
			}
			t.to = append(t.to, l)
			producer := func() actor.Actor { return l }
			props := supervisor.Props(producer)
			if s.Bare {
				props = actor.PropsFromProducer(producer)
			}
			t.pids = append(t.pids, c.sys.Root.Spawn(props))
		}
		c.talkers = append(c.talkers, t)
	}
	err := c.perform(ctx, tell, r)
	if err = errors.Join(err, c.stop()); err != nil {
		return err
	}
	for _, t := range c.talkers {
		r.Check.Sent += t.count.Load()
		var journals []*journal.Journal
		for _, l := range t.to {
			journals = append(journals, l.journals[t.id])
		}
		r.Check.Add(journal.Judge(journals, t.count.Load()))
	}
	if s.Do == Ask {
		asked := results.NewHistogram()
		for _, t := range c.talkers {
			asked.Merge(t.asked)
		}
		r.Latencies = map[string]*results.Histogram{scenario.Asked: asked}
	}
	return nil
}

func (c *chat) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, t := range c.talkers {
		for _, pid := range t.pids {
			if c.Bare {
				errs = append(errs, c.sys.Root.StopFuture(pid).Wait())
			} else {
				errs = append(errs, supervisor.Stop(ctx, c.sys, pid))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *chat) totals() (sent, received uint64) {
	for _, t := range c.talkers {
		sent += t.count.Load()
		received += t.done.Load()
	}
	return sent, received
}

func (c *chat) perform(ctx context.Context, tell scenario.Progress, r *scenario.Result) error {
	runtime.GC()
	defer scenario.Telling(ctx, tell, c.totals)()
	ctx, cancel := context.WithTimeout(ctx, c.Warmup+c.Duration+patience)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, len(c.talkers))
	for i, t := range c.talkers {
		wg.Go(func() { errs[i] = c.feed(ctx, t, began) })
	}
	if err := scenario.Pause(ctx, c.Warmup); err != nil {
		wg.Wait()
		return errors.Join(append(errs, err)...)
	}
	meter := scenario.NewMeter()
	_, before := c.totals()
	wg.Wait()
	_, after := c.totals()
	meter.Read(r.Figures, after-before, 0)
	delete(r.Figures, results.MBPerSecond) // what is passed is a pointer
	return errors.Join(errs...)
}

// feed tells or asks until the scenario is over and everything was handled.
func (c *chat) feed(ctx context.Context, t *talker, began time.Time) error {
	warm, end := began.Add(c.Warmup), began.Add(c.Warmup+c.Duration)
	for seq := uint64(0); ; seq++ {
		now := time.Time{}
		if seq%64 == 0 || c.Do == Ask {
			if now = time.Now(); now.After(end) {
				break
			}
		}
		pid, m := t.pids[seq%uint64(len(t.pids))], &told{t.id, seq}
		if c.Do == Ask {
			if err := c.ask(ctx, pid, m); err != nil {
				return err
			}
			if now.After(warm) {
				t.asked.Note(time.Since(now))
			}
		} else {
			if err := t.ready(ctx, seq); err != nil {
				return err
			}
			c.sys.Root.Send(pid, m)
		}
		t.count.Add(1)
	}
	if err := scenario.Until(ctx, func() bool { return t.done.Load() == t.count.Load() }); err != nil {
		return fmt.Errorf("%d messages were handled of %d: %w", t.done.Load(), t.count.Load(), err)
	}
	return nil
}

// ready waits for room in the mailboxes.
func (t *talker) ready(ctx context.Context, seq uint64) error {
	most := ahead * uint64(len(t.pids))
	for seq-t.done.Load() >= most {
		select {
		case <-t.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (c *chat) ask(ctx context.Context, pid *actor.PID, m *told) error {
	var reply *told
	var err error
	if c.Bare {
		var got any
		if got, err = c.sys.Root.RequestFuture(pid, m, patience).Result(); err == nil {
			reply, _ = got.(*told)
		}
	} else {
		reply, err = supervisor.Ask[*told](ctx, c.sys, pid, m)
	}
	if err == nil && reply != m {
		err = fmt.Errorf("question %d of sender %d got another answer", m.seq, m.sender)
	}
	return err
}
