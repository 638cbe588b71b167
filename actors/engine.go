package actors

// The engine: one runtime's root actor, and the handle that the root package
// and services hold.

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"github.com/penstock-io/penstock/actors/internal/sendq"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/socket"
)

// Engine is a running tree of actors with one etcd session. It is safe for
// concurrent use.
type Engine struct {
	cfg     Config
	space   keys.Space
	sys     *actor.ActorSystem
	ownSys  bool
	root    *actor.PID
	callers *actor.PID             // calls callbacks
	rootID  atomic.Pointer[string] // for events that come before root is set
	etcd    *discovery.Clients
	leases  *lease.Leases
	// groupLeases renews groups' leases, so that they hold the session's up in
	// nothing.
	groupLeases *lease.Leases
	groups      *pipegroup.Groups
	session     *lease.Session
	keeper      *registry.Registry
	hub         *hub
	secrets     secrets
	host        string
	spawned     atomic.Uint64 // makes actor names unique
	lease       atomic.Int64
	// standing is the lease while it can be trusted, else 0.
	standing atomic.Int64
	log      *commitlog.Log
	fresh    atomic.Int64          // bytes of batches kept for local readers
	delay    atomic.Pointer[error] // why etcd was last waited for
	failed   atomic.Pointer[error] // why the engine's actor was given up
	stopped  chan struct{}         // closed when Stop is through
	begun    atomic.Bool           // Stop was called
	away     atomic.Bool           // the engine's actor failed and has not come up again
	stats    statsBook
	book     *book
	inside   *usercode.Runs
	// actorEvents is the subscription to what supervision does.
	actorEvents *eventstream.Subscription
}

// Start begins an engine in sys, or in a system of its own when sys is nil. It
// blocks until the engine has a session with etcd, or ctx ends; ctx has no
// further meaning. Errors: messages.ErrInvalid with every fault of cfg,
// messages.ErrUnavailable, messages.ErrDenied.
func Start(ctx context.Context, sys *actor.ActorSystem, cfg Config) (*Engine, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if until, ok := ctx.Deadline(); ok {
		// With a user, Dial logs in.
		cfg.Etcd.DialTimeout = min(cmp.Or(cfg.Etcd.DialTimeout, discovery.DefaultDialTimeout), max(time.Until(until), time.Millisecond))
	}
	clients, err := discovery.Dial(cfg.Etcd)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	e := &Engine{
		cfg: cfg, space: keys.Space(cfg.Prefix), sys: sys, etcd: clients, hub: newHub(), book: newBook(), inside: usercode.New(), stopped: make(chan struct{}),
		secrets: secrets{byName: make(map[string]placedSecret)},
		stats: statsBook{
			queues: make(map[string]*sendq.Queue), inlets: make(map[*inlet]struct{}),
			topics: make(map[*topicPath]struct{}), subs: make(map[*Subscription]struct{}),
		},
	}
	e.host = hostName(os.Hostname())
	e.log = commitlog.New(commitlog.Config{Client: clients.Control, Space: e.space, Classify: discovery.Classify})
	if e.sys == nil {
		e.ownSys = true
		e.sys = newSystem()
	}
	supervisor.Prepare(e.sys)
	e.watchActors()
	e.leases = lease.NewLeases(clients.Control)
	e.groupLeases = lease.NewLeases(clients.Control)
	e.groups = pipegroup.New(clients.Control, e.groupLeases, cfg.LeaseTTL)
	e.session = lease.NewSession(e.leases, lease.Config{TTL: cfg.LeaseTTL})
	e.keeper = registry.New(clients.Control, registry.Config{
		Collections: []string{e.space.Dests(), e.space.AllSecrets(), e.space.AllConsumerGroups()},
		Ours:        e.registers,
	})
	id := "penstock-" + randomID()
	e.rootID.Store(&id)
	e.hub.arm = func() { e.sys.Root.Send(actor.NewPID(e.sys.Address(), id), &sumsOpened{}) }
	e.callers, err = e.sys.Root.SpawnNamed(supervisor.Props(newCallers(e.inside)), id+"-callbacks")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start: %w", err), e.end(ctx))
	}
	e.root, err = e.sys.Root.SpawnNamed(supervisor.Props(newEngineActor(e), supervisor.WithPolicy(enginePolicy())), id)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start: %w", err), e.end(ctx))
	}
	if _, err := supervisor.Ask[*ready](ctx, e.sys, e.root, &awaitReady{}); err != nil {
		end, cancel := supervisor.Grace(ctx, lastGrace)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start: %w", e.explain(ctx, err)), e.end(end))
	}
	return e, nil
}

// unanswered names what a missing answer of an actor means to a caller. waits is
// for what, once the keys are written.
func (e *Engine) unanswered(ctx context.Context, err error, wait *idWait, written bool, waits string) error {
	switch {
	case errors.Is(err, supervisor.ErrNoActor):
		return messages.ErrClosed
	case ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)):
		return err
	case written:
		return fmt.Errorf("%s: %w", waits, context.Cause(ctx))
	}
	if e.away.Load() {
		return fmt.Errorf("the runtime's own actor is being restarted, try again: %w: %w", messages.ErrRestarted, context.Cause(ctx))
	}
	if held := wait.over(context.Cause(ctx)); held != nil {
		return held
	}
	return e.silent("etcd at %s has not answered", context.Cause(ctx))
}

// explain says where etcd was looked for when it did not answer in time, and
// what is in the way.
func (e *Engine) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, messages.ErrUnavailable) {
		return e.silent("no answer from etcd at %s", context.Cause(ctx))
	}
	return err
}

// silent is the error of a caller that waited for etcd until its context ended;
// says names the place. Whatever the time was, it says what went wrong last.
func (e *Engine) silent(says string, cause error) error {
	says = fmt.Sprintf(says, discovery.Where(e.etcd.Control))
	if why := e.trouble(); why != nil {
		return fmt.Errorf("%s: %w: %w (%w)", says, messages.ErrUnavailable, cause, why)
	}
	return fmt.Errorf("%s: %w: %w", says, messages.ErrUnavailable, cause)
}

// trouble is what keeps etcd from us: why there is no connection, else what it
// said last. It is nil when nothing is known to be wrong.
func (e *Engine) trouble() error {
	if why := discovery.Trouble(e.etcd.Control); why != nil {
		return why
	}
	return e.delayed()
}

// delayed is why etcd was last waited for, or nil when it has done since what it
// was asked.
func (e *Engine) delayed() error {
	if why := e.delay.Load(); why != nil {
		return *why
	}
	return nil
}

// System is the actor system that the engine lives in.
func (e *Engine) System() *actor.ActorSystem { return e.sys }

// Events yields what happens from now on, until ctx ends or the engine stops.
// A subscriber that is slow by more than 1,024 events misses some and is told
// so by messages.EventsLost.
func (e *Engine) Events(ctx context.Context) iter.Seq[messages.Event] {
	if ctx == nil {
		return func(func(messages.Event) bool) {}
	}
	return e.hub.events(ctx)
}

// Lease is the session's lease in etcd, or 0 before the first.
func (e *Engine) Lease() int64 { return e.lease.Load() }

// Tree describes every guarded actor of the system.
func (e *Engine) Tree() []supervisor.Info { return supervisor.Tree(e.sys) }

// Register makes this process a sender of a destination. It blocks until the
// keys are in etcd and the groups of that moment are known, or ctx ends.
// Errors: messages.ErrInvalid, ErrExists, ErrDestinationTaken, ErrTaken,
// ErrAddrInUse, ErrUnavailable, ErrDenied, ErrRestarted, ErrClosed.
func (e *Engine) Register(ctx context.Context, cfg DestinationConfig) (*Destination, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("register %q: %w", cfg.Name, err)
	}
	cfg.EnsureDefaults()
	cfg.Listen = cmp.Or(cfg.Listen, e.cfg.Listen)
	fail := func(err error) (*Destination, error) {
		return nil, fmt.Errorf("register %q: %w", cfg.Name, err)
	}
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	d := &Destination{eng: e, cfg: cfg, out: sendq.New(cfg.Name, cfg.queue(), e.hub.emit, e.hub.later), id: cmp.Or(cfg.ID, randomID()), incarnation: socket.NewSecret().Incarnation}
	_, err := supervisor.Ask[*registered](ctx, e.sys, e.root, &register{d})
	if err != nil {
		err = e.unanswered(ctx, err, &d.wait, d.written.Load(), "the groups are not known yet") // before that ends
		e.sys.Root.Send(e.root, &withdraw{dest: d})
		return fail(err)
	}
	return d, nil
}

// Join makes this process a member of a group. It blocks until each sender of
// that moment has welcomed it or failed once; with no sender it returns at
// once, and also when ctx ends. Errors: messages.ErrInvalid, ErrGroupMode,
// ErrTaken, ErrUnavailable, ErrDenied, ErrRestarted, ErrClosed.
func (e *Engine) Join(ctx context.Context, cfg MemberConfig) (*Member, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("join %q of %q: %w", cfg.Group, cfg.Destination, err)
	}
	cfg.EnsureDefaults()
	fail := func(err error) (*Member, error) {
		return nil, fmt.Errorf("join %q of %q: %w", cfg.Group, cfg.Destination, err)
	}
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	cfg.ID = cmp.Or(cfg.ID, randomID())
	m := &Member{eng: e, in: newInlet(cfg, e.hub.emit), incarnation: randomID()}
	m.in.inside = e.inside
	m.in.readerGone = func(reads uint64) { e.sys.Root.Send(m.pid.Load(), &readerGone{reads}) }
	_, err := supervisor.Ask[*joined](ctx, e.sys, e.root, &join{m})
	if err != nil {
		err = e.unanswered(ctx, err, &m.wait, m.written.Load(), "not all senders have answered")
		e.sys.Root.Send(e.root, &withdraw{member: m})
		return fail(err)
	}
	return m, nil
}

// Stopped reports whether a Stop is through.
func (e *Engine) Stopped() bool {
	select {
	case <-e.stopped:
		return true
	default:
		return false
	}
}

// Stop drains everything, senders first, and ends the engine: what was accepted
// is delivered, what was received is handled, keys are removed, the lease is
// revoked. When ctx ends first, what is left is given up and *AbandonedError
// says how much. The engine is over when Stop returns.
//
// Stop called by a function that it would wait for (a loop's body, a handler, a
// callback of this engine) returns messages.ErrBusy at once and stops nothing.
func (e *Engine) Stop(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := e.inside.Refuse(ctx, "stop", func(*usercode.Run) bool { return true }); err != nil {
		return err
	}
	if !e.begun.CompareAndSwap(false, true) {
		select {
		case <-e.stopped:
		case <-ctx.Done():
			select {
			case <-e.stopped:
			default:
				return fmt.Errorf("stop: somebody else's is under way: %w", context.Cause(ctx))
			}
		}
		return nil
	}
	defer close(e.stopped)
	end, cancel := supervisor.Grace(ctx, lastGrace)
	defer cancel()
	held, err := supervisor.Ask[*holdings](end, e.sys, e.root, &listHoldings{})
	if err != nil {
		held = &holdings{}
		if errors.Is(err, supervisor.ErrNoActor) {
			err = nil
		}
	}
	errs := []error{err}
	for _, d := range held.destinations {
		d.out.Drain()
	}
	for _, t := range held.topics {
		t.refuse(messages.ErrClosed)
	}
	for _, t := range held.topics {
		errs = append(errs, t.settle(ctx))
	}
	for _, d := range held.destinations {
		errs = append(errs, d.deliver(ctx))
	}
	for _, m := range held.members {
		e.sys.Root.Send(m.pid.Load(), &drainMember{}) // all at once
	}
	for _, m := range held.members {
		if err := m.drain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("leave %q of %q: %w", m.in.cfg.Group, m.in.cfg.Destination, err))
		}
	}
	for _, s := range held.subscriptions {
		e.sys.Root.Send(s.pid.Load(), &drainMember{})
	}
	for _, s := range held.subscriptions {
		errs = append(errs, s.drain(ctx))
	}
	ended := e.end(end)
	errs = append(errs, ended)
	if ended == nil {
		errs = append(errs, e.book.gaveUp()...)
	}
	for _, d := range held.destinations {
		e.hub.emit(messages.DestinationUnregistered{Destination: d.cfg.Name, Sender: d.id})
	}
	for _, m := range held.members {
		m.left()
	}
	for _, s := range held.subscriptions {
		s.left()
	}
	e.hub.close()
	return errors.Join(errs...)
}

// end stops the actors, gives up the lease, which takes every key of ours along,
// has the KeepFor of the groups counted that nobody is in now, and closes the
// clients. With etcd away the leases run out by themselves.
func (e *Engine) end(ctx context.Context) error {
	err := errors.Join(supervisor.Stop(ctx, e.sys, e.root), e.endCalls(ctx))
	e.book.mu.Lock()
	for _, l := range e.book.listeners {
		l.Close()
	}
	e.book.mu.Unlock()
	rerr := e.session.Revoke(ctx)
	for _, g := range e.groups.ReleaseAll() {
		if rerr == nil {
			_, rerr = e.groups.Desert(ctx, g, true)
		}
	}
	if rerr != nil {
		e.hub.emit(messages.SessionSuspended{Lease: e.lease.Load(), Err: rerr})
	}
	e.sys.EventStream.Unsubscribe(e.actorEvents)
	e.etcd.Close()
	if e.ownSys {
		e.sys.Shutdown()
	}
	return err
}

// failure is why the engine ends by itself, or nil.
func (e *Engine) failure() error {
	if why := e.failed.Load(); why != nil {
		return fmt.Errorf("the runtime failed: %w", *why)
	}
	return nil
}

// watchActors makes events of what happens to this engine's actors.
func (e *Engine) watchActors() {
	mine := func(pid *actor.PID) bool {
		root := e.rootID.Load()
		return root != nil && (pid.Id == *root || strings.HasPrefix(pid.Id, *root+"/"))
	}
	e.actorEvents = e.sys.EventStream.Subscribe(func(event any) {
		switch m := event.(type) {
		case *supervisor.Restarted:
			if mine(m.Who) {
				e.hub.emit(messages.ActorRestarted{Actor: m.Who.Id, Err: m.Err, Attempt: m.Attempt, Delay: m.Delay})
			}
		case *supervisor.Escalated:
			if mine(m.Who) && m.Parent == nil {
				e.failed.Store(&m.Err)
				e.hub.emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
			}
		case *supervisor.Overdue:
			if mine(m.Who) {
				e.hub.emit(messages.ActorStopped{Actor: m.Who.Id, Err: fmt.Errorf("%s had not ended after %s and was left behind", cmp.Or(m.What, "it"), m.After)})
			}
		case *supervisor.LifecyclePanic:
			if mine(m.Who) {
				e.hub.emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
			}
		}
	})
}

// name makes the name of a child: what it is, and which incarnation.
func (e *Engine) name(kind, id string) string {
	if id != "" {
		kind += "/" + id
	}
	return fmt.Sprintf("%s#%d", kind, e.spawned.Add(1))
}

// newSystem makes an actor system that says nothing: what is worth saying is
// an event. Its dead-letter throttle would keep a goroutine for its interval.
func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
}

// hostName is this host's name as it may be written into keys: the system lets
// it be any bytes, protobuf does not. A host that cannot be asked has no name.
func hostName(name string, err error) string {
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}

func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// registers tells of keys that are written by the registry alone: no claims and
// no tickets, which are leased too.
func (e *Engine) registers(key string) bool {
	k, _ := e.space.Parse(key)
	switch k.Kind {
	case keys.KindSole, keys.KindSender, keys.KindSecret, keys.KindMember, keys.KindConsumerMember:
		return true
	}
	return false
}
