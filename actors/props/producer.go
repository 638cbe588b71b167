package props

// A producer of a topic as a child of a user's actor.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// producer opens a topic and puts what it is asked to.
//
//	opening ──opened──▶ open ──CloseProducer──▶ closing ──closed──▶ (stopped)
//	   │                 │ the topic or the engine ended
//	   └──refused──▶ (stopped) ◀┘
type producer struct {
	face   *Face
	topic  string
	ensure *messages.TopicConfig
	cfg    *topics.ProducerConfig

	host  supervisor.Host
	state producerState
	*producerPart
}

// producerPart outlives the incarnations of the actor.
type producerPart struct {
	came   atomic.Pointer[topics.Topic] // what was opened and nobody took
	handle *topics.Topic                // nil before it is opened, and once it is closed
	told   bool                         // the parent knows
	queue  *publishes                   // what the handle has not taken
	puts   *puts                        // what was asked and is not decided
	marks
	why error // why it gave up
}

type producerState string

const producerOpening, producerOpen, producerClosing producerState = "opening", "open", "closing"

var producerMoves = supervisor.Moves[producerState]{
	"":              {producerOpening},
	producerOpening: {producerOpen},
	producerOpen:    {producerClosing},
}

// What the actor tells itself; marked as well.
type (
	opened      struct{ err error }
	putsFlushed struct {
		p   *publish
		err error
	}
	producerClosed struct {
		p   *publish
		err error
	}
)

// putting names the hosted work.
const putting = "put"

// Producer describes an actor that opens a topic when it starts, and with ensure makes
// it first where there is none. It takes *messages.Put, *messages.FlushPuts and
// *messages.CloseProducer, and tells its parent *messages.Opened. When it is stopped,
// what its handle has taken is still appended and replied to; the rest is refused.
func (f *Face) Producer(topic string, ensure *messages.TopicConfig, cfg topics.ProducerConfig) *actor.Props {
	return supervisor.Props(func() actor.Actor { return &producer{face: f, topic: topic, ensure: ensure, cfg: &cfg} })
}

func (a *producer) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case opened:
		a.opened(ctx, m)
	case *messages.Put:
		a.put(ctx, m)
	case *messages.FlushPuts:
		a.mark(ctx, m)
	case *messages.CloseProducer:
		a.mark(ctx, m)
	case marked:
		a.marked(ctx, m.p)
	case putsFlushed:
		a.flushed(ctx, m)
	case producerClosed:
		a.closed(ctx, m)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case *actor.Restarting:
		a.host.End()
	case *actor.Stopping:
		a.host.End()
		a.stopping(ctx)
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *producer) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.producerPart = part(a.face, ctx.Self(), func() *producerPart {
		return &producerPart{queue: newPublishes(), puts: newPuts()}
	})
	a.state = producerMoves.To(ctx, a.state, producerOpening)
	if err := a.face.home(ctx); err != nil {
		a.fails(ctx, err)
		return
	}
	if a.take(); a.handle != nil {
		a.open(ctx) // an earlier incarnation opened it
		for _, p := range a.under {
			a.perform(ctx, p)
		}
		return
	}
	engine, topic, ensure, cfg, part := a.face.engine, a.topic, a.ensure, *a.cfg, a.producerPart
	supervisor.Call(&a.host, "open topic", func(ctx context.Context) opened {
		var handle *topics.Topic
		var err error
		if ensure != nil {
			handle, err = engine.EnsureTopic(ctx, topic, *ensure, cfg)
		} else {
			handle, err = engine.Topic(ctx, topic, cfg)
		}
		if err == nil {
			part.came.Store(handle)
		}
		return opened{err}
	})
}

// take takes what was opened, which may be when nobody hears of it any more.
func (p *producerPart) take() {
	if handle := p.came.Swap(nil); handle != nil {
		p.handle = handle
	}
}

func (a *producer) opened(ctx actor.Context, m opened) {
	if m.err != nil {
		a.fails(ctx, m.err)
		return
	}
	a.take()
	a.open(ctx)
}

// fails ends the actor for good.
func (a *producer) fails(ctx actor.Context, why error) {
	a.why = why
	giveUp(ctx, why)
}

// open begins to put what waits.
func (a *producer) open(ctx actor.Context) {
	a.state = producerMoves.To(ctx, a.state, producerOpen)
	face, handle, queue, puts, tell := a.face, a.handle, a.queue, a.puts, a.host.Teller()
	if !a.told {
		a.told = true
		tellParent(ctx, &messages.Opened{Topic: handle.Name()})
	}
	system := ctx.ActorSystem()
	run := a.host.Run
	if a.callsUser() {
		run = func(name string, f func(context.Context) error) { a.host.RunUser(name, usercode.Patience, f) }
	}
	run(putting, func(ctx context.Context) error {
		if !queue.enter(ctx) {
			return nil
		}
		defer queue.leave()
		putAll(ctx, system, handle, queue, puts, tell)
		return nil
	})
	a.host.Run(watching, func(ctx context.Context) error {
		select {
		case <-handle.Done():
			return face.over(fmt.Sprintf("put to %q", handle.Name()), handle.Err())
		case <-ctx.Done():
			return nil
		}
	})
}

// callsUser reports whether putting calls middleware or a partitioner of the user's, which
// may not return.
func (a *producer) callsUser() bool {
	return len(a.cfg.Use) > 0 || topics.AsksUser(a.cfg.Partitioner)
}

// putAll puts what was asked for as the handle has room, until ctx ends. It runs hosted.
func putAll(ctx context.Context, system *actor.ActorSystem, t *topics.Topic, q *publishes, due *puts, tell func(any)) {
	for {
		p := q.first(ctx)
		if p == nil {
			return
		}
		for i := p.accepted(); i < len(p.msgs) && ctx.Err() == nil; i++ {
			var done func(messages.PutResult)
			if p.asker != nil {
				done = func(r messages.PutResult) { due.result(system, p.put, i, r) }
			}
			err := putOne(ctx, t, p.msgs[i], done)
			if err != nil && ctx.Err() != nil {
				return // the next incarnation continues with it
			}
			if p.next.Add(1); err != nil {
				due.refused(system, p, i, err)
			}
		}
		if ctx.Err() != nil {
			return
		}
		if p.mark != nil {
			tell(marked{p})
			if !q.passed(ctx, p) {
				return // the next incarnation tells it again
			}
			continue
		}
		if q.done(p); len(p.msgs) == 0 {
			due.decide(system, p.put)
		}
	}
}

// putOne has a handle take a message. A partitioner or middleware that panics fails its
// message.
func putOne(ctx context.Context, t *topics.Topic, m messages.Message, done func(messages.PutResult)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &supervisor.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return t.PutAsync(ctx, m, done)
}

func (a *producer) put(ctx actor.Context, m *messages.Put) {
	p := &publish{asker: ctx.Sender(), msgs: m.Messages, put: a.puts.begin(ctx.Sender(), len(m.Messages), a.callsUser())}
	if err := a.queue.add(p); err != nil {
		a.puts.withdraw(p.put)
		reply(ctx, p.asker, &messages.PutDone{Err: err})
		if p.asker == nil {
			a.puts.unheard(err)
		}
	}
}

// mark asks for something once everything put before is taken.
func (a *producer) mark(ctx actor.Context, m any) {
	p := &publish{asker: ctx.Sender(), mark: m}
	if err := a.queue.add(p); err != nil {
		a.denied(ctx, p, err)
	}
}

func (a *producer) marked(ctx actor.Context, p *publish) {
	if _, last := p.mark.(*messages.CloseProducer); last {
		a.deny(ctx, p, messages.ErrClosed) // while nothing behind it can be put
	} else {
		a.queue.done(p)
		if err := a.full(); err != nil {
			a.denied(ctx, p, err)
			return
		}
	}
	a.under = append(a.under, p)
	a.perform(ctx, p)
}

// perform begins what a mark asks for.
func (a *producer) perform(ctx actor.Context, p *publish) {
	handle := a.handle
	switch p.mark.(type) {
	case *messages.FlushPuts:
		supervisor.Call(&a.host, "flush puts", func(ctx context.Context) putsFlushed { return putsFlushed{p, handle.Flush(ctx)} })
	case *messages.CloseProducer:
		a.state = producerMoves.To(ctx, a.state, producerClosing)
		supervisor.Call(&a.host, "close topic", func(ctx context.Context) producerClosed { return producerClosed{p, handle.Close(ctx)} })
	}
}

func (a *producer) flushed(ctx actor.Context, m putsFlushed) {
	a.through(m.p)
	reply(ctx, m.p.asker, &messages.PutsFlushed{Err: errors.Join(m.err, a.puts.heard())})
}

func (a *producer) closed(ctx actor.Context, m producerClosed) {
	a.through(m.p)
	reply(ctx, m.p.asker, &messages.ProducerClosed{Err: errors.Join(m.err, a.puts.heard())})
	if m.err == nil {
		a.handle = nil // there is nothing to give up
	}
	ctx.Stop(ctx.Self())
}

// ended: nothing can be put any more, or hosted work has a bug.
func (a *producer) ended(ctx actor.Context, m *supervisor.Ended) {
	switch {
	case m.Name != watching && m.Err != nil:
		supervisor.Fail(ctx, m.Err)
	case m.Name == watching && m.Err != nil && a.state == producerOpen:
		a.fails(ctx, m.Err)
	}
}

// stopping gives the handle up, which the engine does behind this actor.
func (a *producer) stopping(ctx actor.Context) {
	if a.producerPart == nil {
		return
	}
	a.face.forget(ctx.Self())
	why := cmp.Or(a.why, fmt.Errorf("the actor that puts to %q was stopped: %w", a.topic, messages.ErrClosed))
	a.deny(ctx, nil, why)
	for _, p := range a.under {
		a.denied(ctx, p, why)
	}
	if a.take(); a.handle != nil {
		a.face.end(fmt.Sprintf("producer of topic %q", a.topic), a.handle.Close)
	}
}

// deny takes nothing more, and replies to what waits but for one.
func (a *producer) deny(ctx actor.Context, but *publish, why error) {
	for _, p := range a.queue.close(why) {
		if p != but {
			a.denied(ctx, p, why)
		}
	}
}

// denied replies to what is not put, or not done.
func (a *producer) denied(ctx actor.Context, p *publish, why error) {
	switch p.mark.(type) {
	case nil:
		for i := p.accepted(); i < len(p.msgs); i++ {
			a.puts.refused(ctx.ActorSystem(), p, i, why)
		}
		if len(p.msgs) == 0 {
			a.puts.decide(ctx.ActorSystem(), p.put)
		}
	case *messages.FlushPuts:
		reply(ctx, p.asker, &messages.PutsFlushed{Err: why})
	case *messages.CloseProducer:
		reply(ctx, p.asker, &messages.ProducerClosed{Err: why})
	}
}
