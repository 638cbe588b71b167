package props

// A destination as a child of a user's actor.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// destination registers a sender and accepts what is published.
//
//	registering ──registered──▶ open ──Unregister──▶ draining ──drained──▶ (stopped)
//	     │                       │ the sender ended
//	     └──refused──▶ (stopped) ◀┘
type destination struct {
	face *Face
	cfg  *senders.Config

	host  supervisor.Host
	state destState
	*destPart
}

// destPart outlives the incarnations of the actor.
type destPart struct {
	came   atomic.Pointer[senders.Destination] // what Register returned and nobody took
	handle *senders.Destination                // nil before it is registered, and once it has ended
	drain  *ending                             // of Unregister
	told   bool                                // the parent knows
	queue  *publishes
	asked  *requests
	marks
	why error // why it gave up
}

type destState string

const destRegistering, destOpen, destDraining destState = "registering", "open", "draining"

var destMoves = supervisor.Moves[destState]{
	"":              {destRegistering},
	destRegistering: {destOpen, destDraining},
	destOpen:        {destDraining},
}

// What the actor tells itself.
type (
	registered struct{ err error }
	// marked: everything before a mark is accepted.
	marked  struct{ p *publish }
	flushed struct {
		p   *publish
		err error
	}
	unregistered struct {
		p   *publish
		err error
	}
)

// The names of hosted work.
const (
	publishing = "publish"
	watching   = "watch"
)

// Destination describes an actor that registers a sender of a destination when it
// starts. It takes *messages.Publish, *messages.Request, *messages.Flush and
// *messages.Unregister, and tells its parent *messages.Registered.
func (f *Face) Destination(cfg senders.Config) *actor.Props {
	return supervisor.Props(func() actor.Actor { return &destination{face: f, cfg: &cfg} })
}

func (a *destination) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case registered:
		a.registered(ctx, m)
	case *messages.Publish:
		a.publish(ctx, m)
	case *messages.Request:
		a.request(ctx, m)
	case *messages.Flush:
		a.mark(ctx, m)
	case *messages.Unregister:
		a.mark(ctx, m)
	case marked:
		a.marked(ctx, m.p)
	case flushed:
		a.through(m.p)
		reply(ctx, m.p.asker, &messages.Flushed{Err: m.err})
	case unregistered:
		a.unregistered(ctx, m)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case *actor.Restarting:
		a.end(ctx)
	case *actor.Stopping:
		if a.destPart != nil {
			a.asked.over.Store(true)
		}
		a.end(ctx)
		a.stopping(ctx)
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *destination) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.destPart = part(a.face, ctx.Self(), func() *destPart { return &destPart{queue: newPublishes(), asked: newRequests()} })
	a.state = destMoves.To(ctx, a.state, destRegistering)
	if err := a.face.home(ctx); err != nil {
		a.fails(ctx, err)
		return
	}
	if a.take(); a.handle != nil {
		a.open(ctx) // an earlier incarnation registered it
		for _, p := range a.under {
			a.perform(ctx, p)
		}
		return
	}
	face, cfg, part := a.face, *a.cfg, a.destPart
	supervisor.Call(&a.host, "register", func(ctx context.Context) registered {
		return registered{face.enter(ctx, place(cfg.Name), func() error {
			handle, err := face.engine.Register(ctx, cfg)
			if err == nil {
				part.came.Store(handle)
			}
			return err
		})}
	})
}

// take takes what Register returned, which may be when nobody hears of it any more.
func (p *destPart) take() {
	if handle := p.came.Swap(nil); handle != nil {
		p.handle = handle
	}
}

// place names a destination among the ends that are under way.
func place(dest string) string { return fmt.Sprintf("destination %q", dest) }

func (a *destination) registered(ctx actor.Context, m registered) {
	if m.err != nil {
		a.fails(ctx, m.err)
		return
	}
	a.take()
	a.open(ctx)
}

// fails ends the actor for good.
func (a *destination) fails(ctx actor.Context, why error) {
	a.why = why
	giveUp(ctx, why)
}

// open begins to accept what waits.
func (a *destination) open(ctx actor.Context) {
	a.state = destMoves.To(ctx, a.state, destOpen)
	handle, queue, tell := a.handle, a.queue, a.host.Teller()
	a.asked.open(handle)
	if !a.told {
		a.told = true
		tellParent(ctx, &messages.Registered{Destination: handle.Name(), URL: handle.URL()})
	}
	system, face := ctx.ActorSystem(), a.face
	a.runUser(publishing, func(ctx context.Context) error {
		if !queue.enter(ctx) {
			return nil
		}
		defer queue.leave()
		queue.over = handle.Done()
		face.accept(ctx, system, handle, queue, tell)
		if ctx.Err() != nil {
			return nil
		}
		return face.over("send to "+strconv.Quote(handle.Name()), handle.Err())
	})
}

// runUser runs what calls middleware, which may not return.
func (a *destination) runUser(name string, f func(context.Context) error) {
	if len(a.cfg.Use) > 0 {
		a.host.RunUser(name, usercode.Patience, f)
	} else {
		a.host.Run(name, f)
	}
}

// accept passes what is published to the destination, until that or ctx ends. It runs
// hosted.
func (f *Face) accept(ctx context.Context, system *actor.ActorSystem, d *senders.Destination, q *publishes, tell func(any)) {
	for {
		p := q.first(ctx)
		if p == nil {
			return
		}
		err := send(ctx, d, p, system)
		if ctx.Err() != nil {
			return // the next incarnation continues with it
		}
		if p.mark != nil {
			tell(marked{p})
			if !q.passed(ctx, p) {
				return // the next incarnation tells it again
			}
			continue
		}
		q.done(p)
		switch {
		case p.asker != nil:
			system.Root.Send(p.asker, &messages.Published{Accepted: p.accepted(), Err: err})
			p.settling.accepted(system, p.asker, p.accepted())
		case err != nil:
			f.dropped(d.Name(), len(p.msgs)-p.accepted(), err)
		}
	}
}

// send has a handle accept the messages of p, from the next one on. Middleware that
// panics fails its message.
func send(ctx context.Context, d *senders.Destination, p *publish, system *actor.ActorSystem) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("send to %q: %w", d.Name(), &supervisor.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	if p.settling == nil {
		return d.SendAll(ctx, p.msgs[p.accepted():], &p.next)
	}
	for _, m := range p.msgs[p.accepted():] {
		if ctx.Err() != nil {
			return context.Cause(ctx) // middleware may not have listened
		}
		if err := d.SendAsync(ctx, m, func(cause error) { p.settling.settled(system, p.asker, cause) }); err != nil {
			return err
		}
		p.next.Add(1)
	}
	return nil
}

func (a *destination) publish(ctx actor.Context, m *messages.Publish) {
	p := &publish{asker: ctx.Sender(), msgs: m.Messages}
	if m.AwaitAcks && p.asker != nil {
		p.settling = &settling{}
	}
	if err := a.queue.add(p); err != nil {
		a.refuse(ctx, p, err)
	}
}

// refuse replies to who published, or tells an event when nobody hears a reply. The end
// of this actor may come when the last message was just accepted.
func (a *destination) refuse(ctx actor.Context, p *publish, err error) {
	accepted := p.accepted()
	if accepted == len(p.msgs) && accepted > 0 {
		err = nil
	}
	if p.asker == nil {
		a.face.dropped(a.cfg.Name, len(p.msgs)-accepted, err)
		return
	}
	ctx.Send(p.asker, &messages.Published{Accepted: accepted, Err: err})
	p.settling.accepted(ctx.ActorSystem(), p.asker, accepted)
}

// dropped tells of messages of which nobody gets a reply.
func (f *Face) dropped(dest string, count int, why error) {
	if count > 0 {
		f.engine.Emit(messages.MessagesDropped{Destination: dest, Count: count, Why: why.Error()})
	}
}

// mark asks for something once everything published before is accepted.
func (a *destination) mark(ctx actor.Context, m any) {
	if err := a.queue.add(&publish{asker: ctx.Sender(), mark: m}); err != nil {
		a.denied(ctx, &publish{asker: ctx.Sender(), mark: m}, err)
	}
}

func (a *destination) marked(ctx actor.Context, p *publish) {
	if _, last := p.mark.(*messages.Unregister); last {
		a.deny(ctx, p, messages.ErrClosed) // while nothing behind it can be accepted
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
func (a *destination) perform(ctx actor.Context, p *publish) {
	handle := a.handle
	switch p.mark.(type) {
	case *messages.Flush:
		supervisor.Call(&a.host, "flush", func(ctx context.Context) flushed { return flushed{p, handle.Flush(ctx)} })
	case *messages.Unregister:
		a.state = destMoves.To(ctx, a.state, destDraining)
		if a.drain == nil { // else an earlier incarnation began it
			a.drain = a.face.beginEnd(place(a.cfg.Name), handle.Unregister)
		}
		drain := a.drain
		supervisor.Call(&a.host, "unregister", func(ctx context.Context) unregistered { return unregistered{p, drain.wait(ctx)} })
	}
}

func (a *destination) unregistered(ctx actor.Context, m unregistered) {
	a.through(m.p)
	reply(ctx, m.p.asker, &messages.Unregistered{Err: m.err})
	a.handle = nil // it has ended
	ctx.Stop(ctx.Self())
}

// ended: the sender has ended though nobody here asked for it, or hosted work has a
// bug.
func (a *destination) ended(ctx actor.Context, m *supervisor.Ended) {
	var bug *supervisor.PanicError
	switch {
	case errors.As(m.Err, &bug):
		supervisor.Fail(ctx, m.Err)
	case m.Name == publishing && m.Err != nil && a.state == destOpen:
		a.handle = nil
		a.fails(ctx, m.Err)
	}
}

// end ends the incarnation.
func (a *destination) end(ctx actor.Context) {
	a.host.End()
	if a.destPart != nil {
		a.asked.abandon(ctx.ActorSystem(), a.cfg.Name)
	}
}

// stopping gives the destination up, which the engine ends behind this actor.
func (a *destination) stopping(ctx actor.Context) {
	if a.destPart == nil {
		return
	}
	a.face.forget(ctx.Self())
	why := a.why
	if why == nil {
		why = fmt.Errorf("the actor of %s was stopped: %w", place(a.cfg.Name), messages.ErrClosed)
	}
	a.deny(ctx, nil, why)
	for _, p := range a.under {
		a.denied(ctx, p, why)
	}
	a.take()
	switch {
	case a.drain != nil:
		a.drain.hurry() // what is under way continues
	case a.handle != nil:
		a.face.end(place(a.cfg.Name), a.handle.Unregister)
	}
}

// deny takes nothing more, and replies to what waits but for one.
func (a *destination) deny(ctx actor.Context, but *publish, why error) {
	for _, p := range a.queue.close(why) {
		if p != but {
			a.denied(ctx, p, why)
		}
	}
}

func (a *destination) denied(ctx actor.Context, p *publish, why error) {
	switch p.mark.(type) {
	case nil:
		a.refuse(ctx, p, why)
	case *messages.Flush:
		reply(ctx, p.asker, &messages.Flushed{Err: why})
	case *messages.Unregister:
		reply(ctx, p.asker, &messages.Unregistered{Err: why})
	}
}

// reply tells who asked, if anybody hears it.
func reply(ctx actor.Context, asker *actor.PID, msg any) {
	if asker != nil {
		ctx.Send(asker, msg)
	}
}
