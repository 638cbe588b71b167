package actors

// The engine's root actor: the session, the listeners, and everything that was
// registered or joined.

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/socket"
)

// stopGrace bounds the end of an engine whose caller's context is over.
const stopGrace = 5 * time.Second

// engineActor keeps one child for each thing the user asked for.
//
//	starting ──session alive──▶ running ──▶ (stopped)
//	    └────session refused──▶ refused ──▶ (stopped)
type engineActor struct {
	eng     *Engine
	host    supervisor.Host
	state   engineState
	refusal error
	waiting []*actor.PID // who asked to be told when it runs

	dests     map[string]*placement[*Destination]
	members   map[*Member]*actor.PID
	listeners map[string]*binding // by the URL asked for
}

type engineState string

const engineStarting, engineRunning, engineRefused engineState = "starting", "running", "refused"

var engineMoves = supervisor.Moves[engineState]{
	"":             {engineStarting},
	engineStarting: {engineRunning, engineRefused},
}

// placement is a handle and its actor; pid is nil while its listener binds.
type placement[H any] struct {
	handle H
	pid    *actor.PID
	asker  *actor.PID
}

// binding is one listener and who waits for it.
type binding struct {
	url     string // advertised; empty while binding
	waiting []*placement[*Destination]
}

// Questions and answers between handles and the engine's actor.
type (
	awaitReady struct{}
	ready      struct{}
	register   struct{ dest *Destination }
	registered struct{ pid *actor.PID }
	join       struct{ member *Member }
	joined     struct{ pid *actor.PID }
	withdraw   struct {
		dest   *Destination
		member *Member
	}
	listHoldings struct{}
	holdings     struct {
		destinations []*Destination
		members      []*Member
	}
)

// bound is the end of a listener's binding.
type bound struct {
	asked    string
	listener *socket.Listener
	err      error
}

func newEngineActor(e *Engine) actor.Producer {
	return func() actor.Actor {
		return &engineActor{
			eng: e, dests: make(map[string]*placement[*Destination]),
			members: make(map[*Member]*actor.PID), listeners: make(map[string]*binding),
		}
	}
}

// enginePolicy: bugs get a small budget, then the thing that fails is stopped
// and its user told; the rest of the engine goes on.
func enginePolicy() supervisor.Policy { return supervisor.DefaultPolicy() }

func (a *engineActor) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *sessionAlive:
		a.run(ctx)
	case *supervisor.Failed:
		a.failed(ctx, m)
	case *awaitReady:
		a.awaitReady(ctx)
	case *register:
		a.register(ctx, m.dest)
	case bound:
		a.bound(ctx, m)
	case *join:
		a.join(ctx, m.member)
	case *withdraw:
		a.withdraw(ctx, m)
	case *keyTaken:
		a.taken(ctx, m.key)
	case *listHoldings:
		a.list(ctx)
	case *linkOffered:
		a.offer(ctx, m)
	case *actor.Terminated:
		a.terminated(m.Who)
	case crash:
		panic(m.err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
	}
}

func (a *engineActor) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = engineMoves.To(ctx, a.state, engineStarting)
	a.spawn(ctx, "session", "", newSession(a.eng))
	if a.eng.cfg.Logger != nil {
		hub, logger := a.eng.hub, a.eng.cfg.Logger
		a.host.Run("log", func(ctx context.Context) error {
			for e := range hub.events(ctx) {
				messages.LogEvent(ctx, logger, e)
			}
			return nil
		})
	}
}

func (a *engineActor) spawn(ctx actor.Context, kind, id string, p actor.Producer, opts ...supervisor.Option) *actor.PID {
	pid, err := ctx.SpawnNamed(supervisor.Props(p, opts...), a.eng.name(kind, id))
	if err != nil {
		supervisor.Fail(ctx, err) // the number in it makes the name unique
	}
	return pid
}

func (a *engineActor) awaitReady(ctx actor.Context) {
	switch a.state {
	case engineRunning:
		ctx.Respond(&ready{})
	case engineRefused:
		ctx.Respond(a.refusal)
	default:
		a.waiting = append(a.waiting, ctx.Sender())
	}
}

func (a *engineActor) run(ctx actor.Context) {
	if a.state != engineStarting {
		return
	}
	a.state = engineMoves.To(ctx, a.state, engineRunning)
	a.answer(ctx, &ready{})
}

func (a *engineActor) answer(ctx actor.Context, msg any) {
	for _, pid := range a.waiting {
		ctx.Send(pid, msg)
	}
	a.waiting = nil
}

// failed hears of a child that was given up. Without its session an engine is
// nothing.
func (a *engineActor) failed(ctx actor.Context, m *supervisor.Failed) {
	for _, p := range a.dests {
		if p.pid.Equal(m.Who) {
			p.handle.out.close(m.Err)
			return
		}
	}
	for h, pid := range a.members {
		if pid.Equal(m.Who) {
			h.in.leave(inletLeft, m.Err)
			return
		}
	}
	if a.state == engineStarting {
		a.state = engineMoves.To(ctx, a.state, engineRefused)
		a.refusal = m.Err
		a.answer(ctx, m.Err)
		return
	}
	supervisor.Fail(ctx, m.Err)
}

func (a *engineActor) register(ctx actor.Context, d *Destination) {
	if _, ok := a.dests[d.out.name]; ok {
		ctx.Respond(fmt.Errorf("destination %w", messages.ErrExists))
		return
	}
	p := &placement[*Destination]{handle: d, asker: ctx.Sender()}
	a.dests[d.out.name] = p
	asked := d.out.cfg.Listen
	if b, ok := a.listeners[asked]; ok {
		if b.url == "" {
			b.waiting = append(b.waiting, p)
			return
		}
		a.place(ctx, p, b.url)
		return
	}
	a.listeners[asked] = &binding{waiting: []*placement[*Destination]{p}}
	eng := a.eng
	supervisor.Call(&a.host, "listen", func(ctx context.Context) bound {
		l, err := eng.listen(ctx, asked)
		return bound{asked, l, err}
	})
}

func (a *engineActor) bound(ctx actor.Context, m bound) {
	b := a.listeners[m.asked]
	waiting := b.waiting
	b.waiting = nil
	if m.err != nil {
		delete(a.listeners, m.asked)
		for _, p := range waiting {
			if a.dests[p.handle.out.name] == p {
				delete(a.dests, p.handle.out.name)
			}
			ctx.Send(p.asker, m.err)
		}
		return
	}
	b.url = m.listener.URL()
	a.spawn(ctx, "listener", "", newListener(m.listener))
	for _, p := range waiting {
		if a.dests[p.handle.out.name] == p {
			a.place(ctx, p, b.url)
		}
	}
}

func (a *engineActor) place(ctx actor.Context, p *placement[*Destination], url string) {
	d := p.handle
	d.url = url
	d.token = newToken()
	a.eng.secrets.put(d.out.name, socket.Secret{Token: d.token, Incarnation: d.incarnation})
	a.eng.stats.addOutlet(d.out)
	p.pid = a.spawn(ctx, "dest", d.out.name, newDestination(a.eng, d, p.asker), supervisor.WithPolicy(restarting()))
}

func (a *engineActor) join(ctx actor.Context, m *Member) {
	a.eng.stats.addInlet(m.in)
	cfg := m.in.cfg
	a.members[m] = a.spawn(ctx, "member", cfg.Destination+"/"+cfg.Group, newMember(a.eng, m, ctx.Sender()),
		supervisor.WithPolicy(memberPolicy()))
}

// withdraw ends what a caller no longer waits for, or has drained.
func (a *engineActor) withdraw(ctx actor.Context, m *withdraw) {
	if m.dest != nil {
		p := a.dests[m.dest.out.name]
		if p == nil || p.handle != m.dest {
			return
		}
		if p.pid == nil {
			delete(a.dests, m.dest.out.name) // its listener is still binding
			return
		}
		ctx.Send(p.pid, &retire{})
	}
	if pid := a.members[m.member]; pid != nil {
		ctx.Send(pid, &retire{})
	}
}

func (a *engineActor) list(ctx actor.Context) {
	h := &holdings{}
	for _, p := range a.dests {
		h.destinations = append(h.destinations, p.handle)
	}
	for m := range a.members {
		h.members = append(h.members, m)
	}
	ctx.Respond(h)
}

func (a *engineActor) offer(ctx actor.Context, m *linkOffered) {
	if p := a.dests[m.conn.Hello().Destination]; p != nil && p.pid != nil {
		ctx.Send(p.pid, m)
		return
	}
	m.conn.Refuse(codeGone, "the destination is not here any more")
}

func (a *engineActor) terminated(who *actor.PID) {
	for name, p := range a.dests {
		if p.pid.Equal(who) {
			delete(a.dests, name)
			a.eng.secrets.remove(name)
			a.eng.stats.removeOutlet(p.handle.out)
			p.handle.out.close(nil)
			return
		}
	}
	for m, pid := range a.members {
		if pid.Equal(who) {
			delete(a.members, m)
			a.eng.stats.removeInlet(m.in)
			m.in.leave(inletLeft, nil)
			if c := m.in.consumption(); c != nil {
				c.finish()
			}
			return
		}
	}
}

// taken ends a destination whose key somebody else holds.
func (a *engineActor) taken(ctx actor.Context, key string) {
	k, _ := a.eng.space.Parse(key)
	if p := a.dests[k.Dest]; p != nil && p.pid != nil && k.ID == p.handle.id {
		p.handle.out.close(fmt.Errorf("%s: %w", key, messages.ErrTaken))
		ctx.Stop(p.pid)
	}
	for m, pid := range a.members {
		if m.in.cfg.ID == k.ID && m.in.cfg.Destination == k.Dest && m.in.cfg.Group == k.Group {
			m.in.leave(inletLeft, fmt.Errorf("%s: %w", key, messages.ErrTaken))
			ctx.Stop(pid)
		}
	}
}
