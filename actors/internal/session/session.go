package session

// The engine's one lease and the keys under it.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// session keeps the lease alive and the registry's keys in place. A lost
// session is a fact, not a failure: the registry gets the new lease and puts
// everything back, while links and members continue.
//
//	opening ──Alive──▶ alive ──Doubt──▶ suspended ──Alive──▶ alive
//	                     └─────Lost──▶ lost ◀──Lost─┘ ──Alive──▶ alive
type session struct {
	node  *node.Node
	work  Work
	host  supervisor.Host
	state sessionState
	lease int64
	said  string // what keeps the first lease away, as said last
}

type sessionState string

const (
	sessionOpening   sessionState = "opening"
	sessionHeld      sessionState = "alive"
	sessionSuspended sessionState = "suspended"
	sessionLost      sessionState = "lost"
)

var sessionMoves = supervisor.Moves[sessionState]{
	"":               {sessionOpening},
	sessionOpening:   {sessionHeld, sessionSuspended},
	sessionHeld:      {sessionHeld, sessionSuspended, sessionLost},
	sessionSuspended: {sessionHeld, sessionSuspended, sessionLost},
	sessionLost:      {sessionHeld, sessionSuspended},
}

// What the session tells the engine's actor, besides discovery.Unlike.
type (
	// Alive: there is a lease.
	Alive struct{}
	// EtcdFull: there can be none for now.
	EtcdFull struct{}
	// LeaseTrusted: the lease can be trusted, again or for the first time.
	LeaseTrusted struct{}
	// KeyLost: a key cannot be put back.
	KeyLost struct{ Loss node.KeyLoss }
)

// overdue comes when the first lease is late, troubled says why; nil when that
// is not known.
type (
	overdue  struct{}
	troubled struct{ err error }
)

// soon is how long the first lease may take before its delay is an event.
const soon = time.Second

// lists is how many requests may list prefixes at once.
const lists = 4

// Work is what the session's actor runs besides the node's registry, groups and
// watches.
type Work struct {
	Session *lease.Session
	Leases  *lease.Leases // renews the session's
	// GroupLeases renews the groups' leases, so that they hold the session's up in
	// nothing.
	GroupLeases *lease.Leases
}

// New makes the actor of a node's session.
func New(n *node.Node, work Work) actor.Producer {
	return func() actor.Actor { return &session{node: n, work: work} }
}

func (s *session) Receive(ctx actor.Context) {
	msg, mine := s.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		s.started(ctx)
	case lease.Alive:
		s.alive(ctx, m)
	case lease.Doubt:
		s.node.Trusted.Store(0)
		s.becomes(ctx, sessionSuspended)
		s.node.Events.Emit(messages.SessionSuspended{Lease: s.lease, Err: s.node.Delay()})
	case lease.Lost:
		s.node.Trusted.Store(0)
		s.becomes(ctx, sessionLost)
		s.node.Events.Emit(messages.SessionLost{Lease: int64(m.Lease)})
	case lease.Delayed:
		s.delayed(ctx, m.Err)
	case *overdue:
		s.overdue()
	case troubled:
		s.troubled(m.err)
	case registry.Event:
		s.kept(ctx, m)
	case pipegroup.Event:
		s.groupsKept(ctx, m)
	case *supervisor.Ended:
		s.ended(ctx, m.Err)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		s.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

// becomes moves to a state, and notes it for whoever asks for the health.
func (s *session) becomes(ctx actor.Context, next sessionState) {
	s.state = sessionMoves.To(ctx, s.state, next)
	switch next {
	case sessionOpening:
		s.node.SetSession(messages.SessionStateOpening)
	case sessionHeld:
		s.node.SetSession(messages.SessionStateAlive)
	case sessionSuspended:
		s.node.SetSession(messages.SessionStateDoubted)
	case sessionLost:
		s.node.SetSession(messages.SessionStateLost)
	}
}

// Inspect reports the lease, as etcdctl writes it, the keys under it, and why
// etcd is waited for.
func (s *session) Inspect(in *supervisor.Inspection) {
	if s.lease != 0 {
		in.Text("lease", fmt.Sprintf("%016x", s.lease))
	}
	keys := s.node.Registry.Stats()
	in.Int("keys", keys.Keys)
	if keys.Troubled > 0 {
		in.Int("troubled", keys.Troubled)
	}
	if err := s.node.Delay(); err != nil {
		in.Text("delay", err.Error())
	}
}

func (s *session) started(ctx actor.Context) {
	s.host.Begin(ctx)
	s.becomes(ctx, sessionOpening)
	s.host.After(soon, &overdue{})
	n, work, tell := s.node, s.work, s.host.Teller()
	s.host.Run("renewals", work.Leases.Run)
	s.host.Run("lease", func(ctx context.Context) error {
		return work.Session.Run(ctx, func(e lease.Event) { tell(e) })
	})
	s.host.Run("group renewals", work.GroupLeases.Run)
	s.host.Run("groups", func(ctx context.Context) error {
		return n.Groups.Run(ctx, func(e pipegroup.Event) { tell(e) })
	})
	s.host.Run("watches", n.Watches.Run)
	for range lists {
		s.host.Run("lists", n.Watches.List)
	}
	s.host.Run("registry", func(ctx context.Context) error {
		return n.Registry.Run(ctx, func(e registry.Event) { tell(e) })
	})
}

// overdue: there is no lease a second after the begin. Why is said now, and not
// only when the first request gives up.
func (s *session) overdue() {
	if s.state != sessionOpening {
		return
	}
	n := s.node
	supervisor.Call(&s.host, "look what is wrong", func(context.Context) troubled { return troubled{n.Trouble()} })
}

func (s *session) troubled(err error) {
	if s.state != sessionOpening {
		return
	}
	if err == nil {
		err = fmt.Errorf("etcd at %s has not answered for %s: %w", discovery.Where(s.node.Etcd.Control), soon, messages.ErrUnavailable)
	}
	s.say(err)
}

// say emits what keeps the first lease away, once for each cause.
func (s *session) say(err error) {
	cause := err.Error()
	if connect := (*discovery.ConnectError)(nil); errors.As(err, &connect) {
		cause = connect.Cause
	}
	if cause == s.said {
		return
	}
	s.said = cause
	s.node.Events.Emit(messages.SessionSuspended{Err: err})
}

// delayed: etcd does not respond and is tried again. Before the first lease
// nobody else would say so. A full etcd gives no lease until somebody has made
// room, which can be done from here: topics are deleted without one.
func (s *session) delayed(ctx actor.Context, err error) {
	s.node.SetDelay(err)
	if s.state != sessionOpening {
		return
	}
	s.say(err)
	if errors.Is(err, messages.ErrNoSpace) {
		supervisor.Notify(ctx, ctx.Parent(), &EtcdFull{})
	}
}

// ended: etcd refuses us. Before the first lease that is the caller's to mend;
// later rights may come back.
func (s *session) ended(ctx actor.Context, err error) {
	switch {
	case err == nil:
	case s.node.Lease.Load() == 0:
		supervisor.Fail(ctx, &RefusedError{err})
	default:
		supervisor.Fail(ctx, err)
	}
}

// RefusedError ends an engine that never had a session.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

func (s *session) alive(ctx actor.Context, m lease.Alive) {
	previous := s.lease
	s.node.SetDelay(nil)
	s.lease = int64(m.Lease)
	s.node.Lease.Store(s.lease)
	if m.New {
		s.node.Registry.SetLease(m.Lease)
	}
	if previous != 0 && (m.New || s.state != sessionHeld) {
		s.node.Events.Emit(messages.SessionRenewed{Lease: s.lease, Previous: previous})
	}
	s.becomes(ctx, sessionHeld)
	supervisor.Notify(ctx, ctx.Parent(), &Alive{})
	if s.node.Trusted.Swap(s.lease) != s.lease {
		supervisor.Notify(ctx, ctx.Parent(), &LeaseTrusted{})
	}
}

// kept takes in what the registry says of the keys.
func (s *session) kept(ctx actor.Context, e registry.Event) {
	switch m := e.(type) {
	case registry.Delayed:
		s.registryDelayed(ctx, m.Err)
	case registry.Troubled:
		s.node.Events.Emit(messages.RegistrationTroubled{Key: m.Key, Err: m.Err})
	case registry.PutBack:
		s.node.Groups.Look()
		s.node.Events.Emit(messages.RegistrationRestored{Key: m.Key, Why: m.Why.String()})
	case registry.Conflict:
		supervisor.Notify(ctx, ctx.Parent(), &KeyLost{node.KeyLoss{Key: m.Key}})
	case registry.Refused:
		supervisor.Notify(ctx, ctx.Parent(), &KeyLost{node.KeyLoss{Key: m.Key, Guard: true}})
	}
}

// groupsKept takes in what is said of the settings of the groups with members here.
func (s *session) groupsKept(ctx actor.Context, e pipegroup.Event) {
	switch m := e.(type) {
	case pipegroup.Unlike:
		supervisor.Notify(ctx, ctx.Parent(), m)
	case pipegroup.Delayed:
		s.registryDelayed(ctx, m.Err)
	case pipegroup.PutBack:
		s.node.Groups.Look()
		s.node.Events.Emit(messages.RegistrationRestored{Key: m.Key, Why: registry.Deleted.String()})
	}
}

func (s *session) registryDelayed(ctx actor.Context, err error) {
	if s.state == sessionOpening {
		s.delayed(ctx, err)
		return
	}
	s.node.Events.Emit(messages.RegistryDelayed{Err: err})
}
