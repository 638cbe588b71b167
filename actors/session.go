package actors

// The engine's one lease and the keys under it.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
)

// session keeps the lease alive and the registry's keys in place. A lost
// session is a fact, not a failure: the registry gets the new lease and puts
// everything back, while links and members go on.
//
//	opening ──Alive──▶ alive ──Doubt──▶ suspended ──Alive──▶ alive
//	                     └─────Lost──▶ lost ◀──Lost─┘ ──Alive──▶ alive
type session struct {
	eng   *Engine
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

// sessionAlive tells the engine that there is a lease, etcdFull that there can be
// none for now.
type (
	sessionAlive struct{}
	etcdFull     struct{}
)

// overdue comes when the first lease is late, troubled says why; nil when that
// is not known.
type (
	overdue  struct{}
	troubled struct{ err error }
)

// soon is how long the first lease may take before its delay is an event.
const soon = time.Second

func newSession(e *Engine) actor.Producer {
	return func() actor.Actor { return &session{eng: e} }
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
		s.eng.standing.Store(0)
		s.state = sessionMoves.To(ctx, s.state, sessionSuspended)
		s.eng.hub.emit(messages.SessionSuspended{Lease: s.lease, Err: s.eng.delayed()})
	case lease.Lost:
		s.eng.standing.Store(0)
		s.state = sessionMoves.To(ctx, s.state, sessionLost)
		s.eng.hub.emit(messages.SessionLost{Lease: int64(m.Lease)})
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
	case crash:
		panic(m.err)
	case *actor.Stopping, *actor.Restarting:
		s.host.End()
	}
}

func (s *session) started(ctx actor.Context) {
	s.host.Begin(ctx)
	s.state = sessionMoves.To(ctx, s.state, sessionOpening)
	s.host.After(soon, &overdue{})
	eng, tell := s.eng, s.host.Teller()
	s.host.Run("renewals", eng.leases.Run)
	s.host.Run("lease", func(ctx context.Context) error {
		return eng.session.Run(ctx, func(e lease.Event) { tell(e) })
	})
	s.host.Run("group renewals", eng.groupLeases.Run)
	s.host.Run("groups", func(ctx context.Context) error {
		return eng.groups.Run(ctx, func(e pipegroup.Event) { tell(e) })
	})
	s.host.Run("registry", func(ctx context.Context) error {
		return eng.keeper.Run(ctx, func(e registry.Event) { tell(e) })
	})
}

// overdue: there is no lease a second after the begin. Why is said now, and not
// only when the first request gives up.
func (s *session) overdue() {
	if s.state != sessionOpening {
		return
	}
	eng := s.eng
	supervisor.Call(&s.host, "look what is wrong", func(context.Context) troubled { return troubled{eng.trouble()} })
}

func (s *session) troubled(err error) {
	if s.state != sessionOpening {
		return
	}
	if err == nil {
		err = fmt.Errorf("etcd at %s has not answered for %s: %w", discovery.Where(s.eng.etcd.Control), soon, messages.ErrUnavailable)
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
	s.eng.hub.emit(messages.SessionSuspended{Err: err})
}

// delayed: etcd does not answer and is tried again. Before the first lease
// nobody else would say so. A full etcd gives no lease until somebody has made
// room, which can be done from here: topics are deleted without one.
func (s *session) delayed(ctx actor.Context, err error) {
	s.eng.delay.Store(&err)
	if s.state != sessionOpening {
		return
	}
	s.say(err)
	if errors.Is(err, messages.ErrNoSpace) {
		ctx.Send(ctx.Parent(), &etcdFull{})
	}
}

// ended: etcd refuses us. Before the first lease that is the caller's to mend;
// later rights may come back.
func (s *session) ended(ctx actor.Context, err error) {
	switch {
	case err == nil:
	case s.eng.lease.Load() == 0:
		supervisor.Fail(ctx, &refusedError{err})
	default:
		supervisor.Fail(ctx, err)
	}
}

// refusedError ends an engine that never had a session.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

func (s *session) alive(ctx actor.Context, m lease.Alive) {
	previous := s.lease
	s.eng.delay.Store(nil)
	s.lease = int64(m.Lease)
	s.eng.lease.Store(s.lease)
	if m.New {
		s.eng.keeper.SetLease(m.Lease)
	}
	if previous != 0 && (m.New || s.state != sessionHeld) {
		s.eng.hub.emit(messages.SessionRenewed{Lease: s.lease, Previous: previous})
	}
	s.state = sessionMoves.To(ctx, s.state, sessionHeld)
	ctx.Send(ctx.Parent(), &sessionAlive{})
	if s.eng.standing.Swap(s.lease) != s.lease {
		ctx.Send(ctx.Parent(), &sessionStands{})
	}
}

// kept takes in what the registry says of the keys.
func (s *session) kept(ctx actor.Context, e registry.Event) {
	switch m := e.(type) {
	case registry.Delayed:
		s.registryDelayed(ctx, m.Err)
	case registry.Troubled:
		s.eng.hub.emit(messages.RegistrationTroubled{Key: m.Key, Err: m.Err})
	case registry.PutBack:
		s.eng.groups.Look()
		s.eng.hub.emit(messages.RegistrationRestored{Key: m.Key, Why: m.Why.String()})
	case registry.Conflict:
		ctx.Send(ctx.Parent(), &keyTaken{m.Key, messages.ErrTaken})
	case registry.Refused:
		ctx.Send(ctx.Parent(), &keyTaken{m.Key, messages.ErrDestinationTaken})
	}
}

// groupsKept takes in what is said of the settings of the groups with members here.
func (s *session) groupsKept(ctx actor.Context, e pipegroup.Event) {
	switch m := e.(type) {
	case pipegroup.Unlike:
		ctx.Send(ctx.Parent(), &groupUnlike{m.Group, m.Meta})
	case pipegroup.Delayed:
		s.registryDelayed(ctx, m.Err)
	case pipegroup.PutBack:
		s.eng.groups.Look()
		s.eng.hub.emit(messages.RegistrationRestored{Key: m.Key, Why: registry.Deleted.String()})
	}
}

func (s *session) registryDelayed(ctx actor.Context, err error) {
	if s.state == sessionOpening {
		s.delayed(ctx, err)
		return
	}
	s.eng.hub.emit(messages.RegistryDelayed{Err: err})
}

// keyTaken tells the engine that a key of ours cannot be put back, because
// somebody else is in its place.
type keyTaken struct {
	key string
	err error
}

// groupUnlike tells the engine that a group has other settings than its members
// here agreed on.
type groupUnlike struct {
	group pipegroup.Keys
	meta  *pb.GroupMeta
}
