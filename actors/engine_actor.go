package actors

// The engine's root actor: the session, the listeners, and everything that was
// registered or joined.

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/socket"
)

const (
	// lastGrace is how long an end goes on when its caller's context is over.
	lastGrace = time.Second
	// stopGrace bounds an actor's removal of its keys.
	stopGrace = 5 * time.Second
)

// engineActor keeps one child for each thing the user asked for.
//
//	starting ──session alive──▶ running ──▶ (stopped)
//	    └────session refused──▶ refused ──▶ (stopped)
type engineActor struct {
	eng     *Engine
	host    supervisor.Host
	state   engineState
	refusal error
	waiting []*actor.PID                          // who asked to be told when it runs
	binding map[string][]*placement[*Destination] // by the URL asked for
	accepts map[string]*actor.PID                 // the listeners' actors, by the URL asked for
	freeing map[string]*freeing                   // listeners on their way to be closed
	log     *eventLogger                          // nil without a logger
	book    *book
}

// book is what the user asked for. It outlives the actor's incarnations, which
// alone use it but for listeners: a crash ends the children, and the next incarnation begins
// them again around the same handles and sockets.
type book struct {
	dests     map[string]*placement[*Destination]
	lost      map[string]*messages.AbandonedError // what destinations that ended by themselves gave up
	members   map[*Member]*placement[*Member]
	topics    map[string]*placement[*topicPath]
	subs      map[*Subscription]*placement[*Subscription]
	listeners map[string]*socket.Listener // by the URL asked for, while a destination uses it
	mu        sync.Mutex                  // guards listeners: hosted calls and a Stop that ran out of time use them too
}

func newBook() *book {
	return &book{
		dests:     make(map[string]*placement[*Destination]),
		lost:      make(map[string]*messages.AbandonedError),
		members:   make(map[*Member]*placement[*Member]),
		topics:    make(map[string]*placement[*topicPath]),
		subs:      make(map[*Subscription]*placement[*Subscription]),
		listeners: make(map[string]*socket.Listener),
	}
}

// bound are the listeners, by the URL asked for.
func (b *book) bound() map[string]*socket.Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.listeners)
}

// keep notes a listener, or with nil that it is closed.
func (b *book) keep(asked string, l *socket.Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l == nil {
		delete(b.listeners, asked)
		return
	}
	b.listeners[asked] = l
}

// lose notes what a destination gave up whose end nobody had asked for: Stop tells.
func (b *book) lose(o *sendq.Queue) {
	lost := o.Unreported()
	if lost == nil {
		return
	}
	if before := b.lost[o.Name()]; before != nil {
		lost.Messages += before.Messages
	}
	b.lost[o.Name()] = lost
}

type engineState string

const engineStarting, engineRunning, engineRefused engineState = "starting", "running", "refused"

var engineMoves = supervisor.Moves[engineState]{
	"":             {engineStarting},
	engineStarting: {engineRunning, engineRefused},
}

// placement is a handle and its actor; pid is nil while its listener binds.
type placement[H any] struct {
	handle  H
	pid     *actor.PID
	asker   *actor.PID
	leavers []*actor.PID // wait for its end
}

// Questions and answers between handles and the engine's actor.
type (
	awaitReady struct{}
	ready      struct{}
	register   struct{ dest *Destination }
	registered struct{}
	join       struct{ member *Member }
	joined     struct{}
	// withdraw is answered when the name is free again.
	withdraw struct {
		dest   *Destination
		member *Member
		sub    *Subscription
	}
	withdrawn struct{}
	// leaveUnasked asks a member or subscription to drain and retire by itself: who
	// wants it cannot wait for it.
	leaveUnasked struct{}
	listHoldings struct{}
	holdings     struct {
		destinations  []*Destination
		members       []*Member
		topics        []*topicPath
		subscriptions []*Subscription
	}
)

// sumsOpened: there are events to be told in sums; sumsDue: it is time to.
type (
	sumsOpened struct{}
	sumsDue    struct{}
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
			eng: e, book: e.book, binding: make(map[string][]*placement[*Destination]),
			accepts: make(map[string]*actor.PID), freeing: make(map[string]*freeing),
		}
	}
}

// enginePolicy: an engine that etcd refuses at its start ends; whatever else the
// world does is waited for. Bugs get a small budget and then fail the engine,
// which begins everything again; when that does not help either, it stops.
func enginePolicy() supervisor.Policy {
	p := supervisor.DefaultPolicy()
	waiting := supervisor.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second, Factor: 2, Jitter: 0.5, Healthy: time.Minute}
	bug := supervisor.ForType[*supervisor.PanicError]()
	p.Rules = []supervisor.Rule{
		{If: supervisor.ForType[*refusedError](), Then: supervisor.Terminate},
		{If: func(err error) bool { return !bug(err) }, Then: supervisor.Restart, Backoff: &waiting, Budget: &supervisor.Budget{}},
	}
	return p
}

func (a *engineActor) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *sessionAlive, *etcdFull:
		a.run(ctx)
	case *supervisor.Failed:
		a.failed(ctx, m)
	case *awaitReady:
		a.awaitReady(ctx)
	case *register:
		a.register(ctx, m.dest)
	case bound:
		a.bound(ctx, m)
	case freed:
		a.freed(ctx, m.asked)
	case *join:
		a.join(ctx, m.member)
	case *openTopic:
		a.openTopic(ctx, m)
	case *openingLeft:
		a.openingLeft(ctx, m.of)
	case *topicUsed:
		a.topicUsed(ctx, m)
	case *topicChanged:
		a.topicChanged(ctx, m)
	case *subscribe:
		a.subscribe(ctx, m.sub)
	case *sweepTopics:
		a.sweep()
	case *sessionStands:
		a.stands()
	case *withdraw:
		a.withdraw(ctx, m)
	case *keyTaken:
		a.taken(ctx, m)
	case *groupUnlike:
		a.unlike(ctx, m)
	case *listHoldings:
		a.list(ctx)
	case *sumsOpened:
		a.host.After(sumEvery, sumsDue{})
	case sumsDue:
		a.eng.hub.tellSums()
	case *linkOffered:
		a.offer(ctx, m)
	case *addressChanged:
		a.moved(ctx, m.listener)
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *supervisor.Ended:
		a.ended(m)
	case crash:
		panic(m.err)
	case *actor.Restarting:
		a.eng.away.Store(true)
		a.host.End()
		a.freedAll(ctx)
	case *actor.Stopping:
		a.host.End()
		a.freedAll(ctx)
		a.close(ctx)
	}
}

// close tells whoever still holds a handle, or waits for one, that it is over.
func (a *engineActor) close(ctx actor.Context) {
	for _, p := range a.book.dests {
		p.handle.out.Close(a.eng.failure())
		a.dismiss(ctx, p.asker, &p.handle.announced)
		a.release(ctx, p.leavers...)
	}
	for m, p := range a.book.members {
		m.end()
		a.dismiss(ctx, p.asker, &m.announced)
		a.release(ctx, p.leavers...)
	}
	a.closeTopics(ctx)
}

// release answers those who wait for an end.
func (a *engineActor) release(ctx actor.Context, leavers ...*actor.PID) {
	for _, leaver := range leavers {
		if leaver != nil { // a Send, not a request
			ctx.Send(leaver, &withdrawn{})
		}
	}
}

// dismiss answers a caller of Register or Join that was not answered yet. One
// that was told of an error hears this too late, and does not.
func (a *engineActor) dismiss(ctx actor.Context, asker *actor.PID, announced *atomic.Bool) {
	if announced.CompareAndSwap(false, true) {
		ctx.Send(asker, messages.ErrClosed)
	}
}

func (a *engineActor) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.eng.away.Store(false)
	a.state = engineMoves.To(ctx, a.state, engineStarting)
	a.spawn(ctx, "session", "", newSession(a.eng))
	if a.eng.hub.awaitsSums() {
		a.host.After(sumEvery, sumsDue{}) // an earlier incarnation's timer ended with it
	}
	if a.eng.cfg.Logger != nil {
		a.log = newEventLogger(a.host.Context(), a.eng.hub, a.eng.cfg.Logger)
		a.beginLog()
	}
	for asked, l := range a.book.bound() {
		a.accepts[asked] = a.spawn(ctx, "listener", "", newListener(l))
	}
	// What was leaving is begun again too: its keys have to be taken away.
	for _, p := range a.book.dests {
		p.pid = nil
		a.bind(ctx, p)
	}
	for asked := range a.book.bound() {
		a.free(ctx, asked)
	}
	for _, p := range a.book.members {
		a.enter(ctx, p)
		if len(p.leavers) > 0 {
			ctx.Send(p.pid, &retire{})
		}
	}
	a.beginTopics(ctx)
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
	for _, p := range a.book.dests {
		if m.Who.Equal(p.pid) {
			p.handle.out.Refuse(m.Err) // its end follows, when its links are gone
			return
		}
	}
	for h, p := range a.book.members {
		if m.Who.Equal(p.pid) {
			h.in.leave(inletLeft, m.Err)
			return
		}
	}
	if a.failedTopic(m) {
		return
	}
	if a.state == engineStarting {
		a.state = engineMoves.To(ctx, a.state, engineRefused)
		a.refusal = m.Err
		a.answer(ctx, m.Err)
		return
	}
	supervisor.Fail(ctx, m.Err)
}

// isStopping refuses who comes when Stop has begun, or is about to: it ends what
// is there.
func (a *engineActor) isStopping(ctx actor.Context) bool {
	if a.eng.begun.Load() {
		ctx.Respond(messages.ErrClosed)
		return true
	}
	return false
}

func (a *engineActor) register(ctx actor.Context, d *Destination) {
	if a.isStopping(ctx) {
		return
	}
	if _, ok := a.book.dests[d.cfg.Name]; ok {
		ctx.Respond(fmt.Errorf("destination %w", messages.ErrExists))
		return
	}
	p := &placement[*Destination]{handle: d, asker: ctx.Sender()}
	a.book.dests[d.cfg.Name] = p
	a.bind(ctx, p)
}

// errOurs: this runtime has that id itself, or has not quite left yet.
func errOurs(what, id string) error {
	return fmt.Errorf("%s %q %w, so the %w", what, id, messages.ErrExists, messages.ErrTaken)
}

// bind finds the destination's listener, and makes it for the first one that
// asks for its URL.
func (a *engineActor) bind(ctx actor.Context, p *placement[*Destination]) {
	asked := p.handle.cfg.Listen
	if f := a.freeing[asked]; f != nil {
		f.waiting = append(f.waiting, p)
		return
	}
	if l := a.book.bound()[asked]; l != nil {
		a.place(ctx, p, l.URLs())
		return
	}
	waiting := a.binding[asked]
	a.binding[asked] = append(waiting, p)
	if len(waiting) > 0 {
		return
	}
	eng := a.eng
	supervisor.Call(&a.host, "listen", func(ctx context.Context) bound {
		l, err := eng.listen(ctx, asked)
		if err == nil {
			// Here, so that it is known though nobody may hear of it any more.
			eng.book.keep(asked, l)
		}
		return bound{asked, l, err}
	})
}

// freeing is a listener that is closed because nobody uses it any more.
type freeing struct {
	waiting []*placement[*Destination] // want its URL again
	leavers []*actor.PID               // wait for the port to be free
}

// freed says that a listener is closed.
type freed struct{ asked string }

// free closes the listener of a URL that no destination uses any more. It is
// false when there is nothing to wait for.
func (a *engineActor) free(ctx actor.Context, asked string, leavers ...*actor.PID) bool {
	if f := a.freeing[asked]; f != nil {
		f.leavers = append(f.leavers, leavers...)
		return true
	}
	l := a.book.bound()[asked]
	if l == nil || len(a.binding[asked]) > 0 {
		return false
	}
	for _, p := range a.book.dests {
		if p.handle.cfg.Listen == asked {
			return false
		}
	}
	a.freeing[asked] = &freeing{leavers: leavers}
	if pid := a.accepts[asked]; pid != nil {
		delete(a.accepts, asked)
		ctx.Stop(pid)
	}
	book := a.book
	supervisor.Call(&a.host, "close listener", func(context.Context) freed {
		_ = l.Close() // what fails leaves nothing to do
		book.keep(asked, nil)
		return freed{asked}
	})
	return true
}

func (a *engineActor) freed(ctx actor.Context, asked string) {
	f := a.freeing[asked]
	delete(a.freeing, asked)
	a.release(ctx, f.leavers...)
	for _, p := range f.waiting {
		if a.book.dests[p.handle.cfg.Name] == p {
			a.bind(ctx, p)
		}
	}
}

// freedAll answers those who wait for a port, when what frees ports has ended: this
// incarnation hears of it no more. Who wants a URL again is in the book.
func (a *engineActor) freedAll(ctx actor.Context) {
	for _, f := range a.freeing {
		a.release(ctx, f.leavers...)
	}
	clear(a.freeing)
}

func (a *engineActor) bound(ctx actor.Context, m bound) {
	waiting := a.binding[m.asked]
	delete(a.binding, m.asked)
	if m.err == nil {
		a.accepts[m.asked] = a.spawn(ctx, "listener", "", newListener(m.listener))
		defer a.free(ctx, m.asked) // who asked may have gone meanwhile
	}
	for _, p := range waiting {
		switch {
		case a.book.dests[p.handle.cfg.Name] != p: // withdrawn
		case m.err != nil:
			delete(a.book.dests, p.handle.cfg.Name)
			p.handle.out.Close(m.err)
			ctx.Send(p.asker, m.err)
		default:
			a.place(ctx, p, m.listener.URLs())
		}
	}
}

func (a *engineActor) place(ctx actor.Context, p *placement[*Destination], urls []string) {
	d := p.handle
	if d.token == nil {
		d.token, d.since = newToken(), time.Now()
	}
	d.urls.Store(&urls)
	a.eng.secrets.put(d.cfg.Name, d.cfg.Listen, socket.Secret{Token: d.token, Incarnation: d.incarnation})
	a.eng.stats.addQueue(d.out)
	p.pid = a.spawn(ctx, "dest", d.cfg.Name, newDestination(a.eng, d, p.asker))
	d.pid.Store(p.pid)
	if len(p.leavers) > 0 {
		ctx.Send(p.pid, &retire{})
	}
}

// moved tells the senders of a listener that members find it elsewhere now.
func (a *engineActor) moved(ctx actor.Context, l *socket.Listener) {
	for _, p := range a.book.dests {
		if p.pid != nil && a.book.bound()[p.handle.cfg.Listen] == l {
			ctx.Send(p.pid, &readdressed{l.URLs()})
		}
	}
}

func (a *engineActor) join(ctx actor.Context, m *Member) {
	if a.isStopping(ctx) {
		return
	}
	for other := range a.book.members {
		o, c := other.in.cfg, m.in.cfg
		if o.Destination == c.Destination && o.Group == c.Group && o.ID == c.ID {
			ctx.Respond(errOurs("member", c.ID))
			return
		}
	}
	p := &placement[*Member]{handle: m, asker: ctx.Sender()}
	a.book.members[m] = p
	a.eng.stats.addInlet(m.in)
	a.enter(ctx, p)
}

func (a *engineActor) enter(ctx actor.Context, p *placement[*Member]) {
	cfg := p.handle.in.cfg
	p.pid = a.spawn(ctx, "member", cfg.Destination+"/"+cfg.Group, newMember(a.eng, p.handle, p.asker),
		supervisor.WithPolicy(memberPolicy()))
	p.handle.pid.Store(p.pid)
}

// withdraw ends what a caller no longer waits for, or has drained.
func (a *engineActor) withdraw(ctx actor.Context, m *withdraw) {
	if m.dest != nil {
		p := a.book.dests[m.dest.cfg.Name]
		switch {
		case p == nil || p.handle != m.dest:
			a.release(ctx, ctx.Sender())
		case p.pid == nil:
			delete(a.book.dests, m.dest.cfg.Name) // its listener is still binding
			a.dismiss(ctx, p.asker, &m.dest.announced)
			a.release(ctx, ctx.Sender())
		default:
			p.leavers = append(p.leavers, ctx.Sender())
			ctx.Send(p.pid, &retire{})
		}
		return
	}
	if p := a.book.subs[m.sub]; p != nil {
		p.leavers = append(p.leavers, ctx.Sender())
		ctx.Send(p.pid, &retire{})
		return
	}
	if p := a.book.members[m.member]; p != nil {
		p.leavers = append(p.leavers, ctx.Sender())
		ctx.Send(p.pid, &retire{})
		return
	}
	a.release(ctx, ctx.Sender())
}

func (a *engineActor) list(ctx actor.Context) {
	h := &holdings{}
	for _, p := range a.book.dests {
		h.destinations = append(h.destinations, p.handle)
	}
	for m := range a.book.members {
		h.members = append(h.members, m)
	}
	for _, p := range a.book.topics {
		h.topics = append(h.topics, p.handle)
	}
	for s := range a.book.subs {
		h.subscriptions = append(h.subscriptions, s)
	}
	ctx.Respond(h)
}

// gaveUp is what destinations gave up without anybody having been told. The
// engine's actor must be over.
func (b *book) gaveUp() (errs []error) {
	for _, p := range b.dests {
		b.lose(p.handle.out)
	}
	for _, lost := range b.lost {
		errs = append(errs, lost)
	}
	return errs
}

func (a *engineActor) offer(ctx actor.Context, m *linkOffered) {
	if p := a.book.dests[m.conn.Hello().Destination]; p != nil && p.pid != nil {
		ctx.Send(p.pid, m)
		return
	}
	m.conn.Refuse(codeGone, "the destination is not here any more")
}

func (a *engineActor) terminated(ctx actor.Context, who *actor.PID) {
	for name, p := range a.book.dests {
		if who.Equal(p.pid) {
			delete(a.book.dests, name)
			a.eng.secrets.remove(name)
			a.eng.stats.removeQueue(p.handle.out)
			p.handle.out.Close(nil)
			if len(p.leavers) == 0 {
				a.book.lose(p.handle.out)
			}
			a.dismiss(ctx, p.asker, &p.handle.announced)
			if !a.free(ctx, p.handle.cfg.Listen, p.leavers...) {
				a.release(ctx, p.leavers...)
			}
			return
		}
	}
	for m, p := range a.book.members {
		if who.Equal(p.pid) {
			delete(a.book.members, m)
			a.eng.stats.removeInlet(m.in)
			m.end()
			a.dismiss(ctx, p.asker, &m.announced)
			a.release(ctx, p.leavers...)
			return
		}
	}
	a.terminatedTopic(ctx, who)
}

// taken ends a destination whose key somebody else holds.
func (a *engineActor) taken(ctx actor.Context, m *keyTaken) {
	k, _ := a.eng.space.Parse(m.key)
	err := fmt.Errorf("%s: %w", m.key, m.err)
	if p := a.book.dests[k.Dest]; p != nil && p.pid != nil && k.ID == p.handle.id {
		p.handle.out.Refuse(err)
		ctx.Send(p.pid, &oust{}) // its other keys are still kept
	}
	for h, p := range a.book.members {
		if h.in.cfg.ID == k.ID && h.in.cfg.Destination == k.Dest && h.in.cfg.Group == k.Group {
			h.in.leave(inletLeft, err)
			ctx.Send(p.pid, &retire{}) // the key is still kept
		}
	}
	a.takenTopic(ctx, k, err)
}
