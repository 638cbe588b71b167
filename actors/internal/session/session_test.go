package session

// What the actor makes of what it hears. No test here has an etcd.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// stage is a session's actor that has begun nothing, with its parent.
type stage struct {
	t      *testing.T
	node   *node.Node
	who    *actor.PID
	told   chan any // to the parent
	events func() (messages.Event, bool)
}

// probe is answered once everything before it was handled.
type probe struct{ done chan struct{} }

func begin(t *testing.T) *stage {
	t.Helper()
	c, err := discovery.NewClient(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, told: make(chan any, 100), node: &node.Node{
		System: node.NewSystem(), Etcd: &discovery.Clients{Control: c}, Events: events.New(), Registry: registry.New(c, registry.Config{}),
	}}
	s.node.Groups = pipegroup.New(c, lease.NewLeases(c), time.Minute)
	supervisor.Prepare(s.node.System)
	begun := make(chan *actor.PID, 1)
	session := func() actor.Actor {
		a := &session{node: s.node}
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				a.state = sessionMoves.To(ctx, a.state, sessionOpening)
			case *probe:
				ctx.Send(ctx.Parent(), m)
			default:
				a.Receive(ctx)
			}
		})
	}
	terminate := supervisor.WithPolicy(supervisor.Policy{Default: supervisor.Terminate})
	parent := func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				begun <- ctx.Spawn(supervisor.Props(session, terminate))
			case *probe:
				close(m.done)
			case actor.SystemMessage, actor.AutoReceiveMessage:
			default:
				s.told <- m
			}
		})
	}
	root := s.node.System.Root.Spawn(supervisor.Props(parent, terminate))
	s.who = <-begun
	ctx, cancel := context.WithCancel(t.Context())
	next, stop := iter.Pull(s.node.Events.Events(ctx))
	s.events = next
	t.Cleanup(func() {
		if err := supervisor.Stop(context.Background(), s.node.System, root); err != nil {
			t.Error(err)
		}
		stop()
		cancel()
		s.node.System.Shutdown()
		c.Close()
	})
	return s
}

// mark ends what a step has emitted.
type mark = messages.EventsLost

// hears sends msgs, and compares what the parent and the subscribers of events were
// told then.
func (s *stage) hears(what string, msgs []any, told []any, emitted ...messages.Event) {
	s.t.Helper()
	for _, m := range msgs {
		s.node.Send(s.who, m)
	}
	p := &probe{make(chan struct{})}
	s.node.Send(s.who, p)
	<-p.done
	var got []any
	for len(s.told) > 0 {
		got = append(got, <-s.told)
	}
	if !slices.EqualFunc(got, told, func(a, b any) bool { return reflect.DeepEqual(a, b) }) {
		s.t.Errorf("%s: the parent was told %s, want %s", what, list(got), list(told))
	}
	s.node.Events.Emit(mark{Count: 1})
	var events []messages.Event
	for {
		e, ok := s.events()
		if _, last := e.(mark); last || !ok {
			break
		}
		events = append(events, e)
	}
	if !slices.EqualFunc(events, emitted, func(a, b messages.Event) bool { return reflect.DeepEqual(a, b) }) {
		s.t.Errorf("%s: there were %s, want %s", what, list(events), list(emitted))
	}
}

func list[T any](all []T) (s string) {
	for _, x := range all {
		s += fmt.Sprintf("%T%+v ", x, x)
	}
	return s
}

// leases compares the lease that is there and the one that is trusted.
func (s *stage) leases(what string, there, trusted int64) {
	s.t.Helper()
	if l, tr := s.node.Lease.Load(), s.node.Trusted.Load(); l != there || tr != trusted {
		s.t.Errorf("%s: lease %d, trusted %d; want %d and %d", what, l, tr, there, trusted)
	}
}

// Promise: a lost session is a fact, not a failure. The lease is trusted only while
// it is known to live, and who waits for that is told each time it is again.
func TestSessionFollowsItsLease(t *testing.T) {
	s := begin(t)
	s.leases("before", 0, 0)
	s.hears("the first lease", []any{lease.Alive{Lease: 1, New: true}}, []any{&Alive{}, &LeaseTrusted{}})
	s.leases("the first lease", 1, 1)
	s.hears("etcd is slow", []any{lease.Delayed{Err: messages.ErrUnavailable}, lease.Doubt{Lease: 1}}, nil,
		messages.SessionSuspended{Lease: 1, Err: messages.ErrUnavailable})
	s.leases("in doubt", 1, 0)
	s.hears("renewed", []any{lease.Alive{Lease: 1}}, []any{&Alive{}, &LeaseTrusted{}}, messages.SessionRenewed{Lease: 1, Previous: 1})
	s.leases("renewed", 1, 1)
	if why := s.node.Delay(); why != nil {
		t.Errorf("renewed, and etcd is still blamed: %v", why)
	}
	s.hears("alive as before", []any{lease.Alive{Lease: 1}}, []any{&Alive{}})
	s.hears("lost", []any{lease.Doubt{Lease: 1}, lease.Lost{Lease: 1}}, nil, messages.SessionSuspended{Lease: 1}, messages.SessionLost{Lease: 1})
	s.leases("lost", 1, 0)
	s.hears("another one", []any{lease.Alive{Lease: 2, New: true}}, []any{&Alive{}, &LeaseTrusted{}}, messages.SessionRenewed{Lease: 2, Previous: 1})
	s.leases("another one", 2, 2)
}

// Promise: what keeps the first lease away is said once for each cause. A full etcd
// is the parent's to know.
func TestSessionSaysWhatKeepsTheFirstLeaseAway(t *testing.T) {
	s := begin(t)
	slow, full := errors.New("slow"), fmt.Errorf("full: %w", messages.ErrNoSpace)
	connect := &discovery.ConnectError{Cause: "refused"}
	s.hears("twice", []any{lease.Delayed{Err: slow}, lease.Delayed{Err: slow}}, nil, messages.SessionSuspended{Err: slow})
	s.hears("full", []any{lease.Delayed{Err: full}}, []any{&EtcdFull{}}, messages.SessionSuspended{Err: full})
	s.hears("another place, the same cause", []any{lease.Delayed{Err: fmt.Errorf("a: %w", connect)}, lease.Delayed{Err: fmt.Errorf("b: %w", connect)}}, nil,
		messages.SessionSuspended{Err: fmt.Errorf("a: %w", connect)})
	s.hears("by the registry", []any{registry.Delayed{Err: slow}}, nil, messages.SessionSuspended{Err: slow})
	s.hears("alive", []any{lease.Alive{Lease: 1, New: true}}, []any{&Alive{}, &LeaseTrusted{}})
	s.hears("too late", []any{&overdue{}, troubled{errors.New("late")}, lease.Delayed{Err: full}}, nil)
	if why := s.node.Delay(); !errors.Is(why, full) {
		t.Errorf("etcd is waited for because of %v", why)
	}
}

// Promise: a first lease that is late has a reason, though etcd gives none.
func TestSessionIsOverdue(t *testing.T) {
	s := begin(t)
	s.node.Send(s.who, troubled{nil})
	e, _ := s.events()
	if m, ok := e.(messages.SessionSuspended); !ok || !errors.Is(m.Err, messages.ErrUnavailable) {
		t.Errorf("there was %+v", e)
	}
}

// Promise: what happens to the keys is an event, and a key that cannot be put back
// is its owner's to know.
func TestSessionPassesOnWhatTheRegistrySays(t *testing.T) {
	s := begin(t)
	s.hears("alive", []any{lease.Alive{Lease: 1, New: true}}, []any{&Alive{}, &LeaseTrusted{}})
	no := errors.New("no")
	s.hears("of keys", []any{
		registry.Delayed{Err: no}, registry.Troubled{Key: "/a", Err: no}, registry.PutBack{Key: "/a", Why: registry.Deleted},
		registry.Conflict{Key: "/a"}, registry.Refused{Key: "/b"},
	}, []any{&KeyLost{node.KeyLoss{Key: "/a"}}, &KeyLost{node.KeyLoss{Key: "/b", Guard: true}}},
		messages.RegistryDelayed{Err: no}, messages.RegistrationTroubled{Key: "/a", Err: no},
		messages.RegistrationRestored{Key: "/a", Why: registry.Deleted.String()})
	s.hears("of groups", []any{pipegroup.Unlike{}, pipegroup.Delayed{Err: no}, pipegroup.PutBack{Key: "/g"}}, []any{pipegroup.Unlike{}},
		messages.RegistryDelayed{Err: no}, messages.RegistrationRestored{Key: "/g", Why: registry.Deleted.String()})
}

// Promise: an engine that etcd refuses before it has a session is the caller's to
// mend; later rights may come back.
func TestSessionIsRefused(t *testing.T) {
	for _, held := range []bool{false, true} {
		s := begin(t)
		if held {
			s.hears("alive", []any{lease.Alive{Lease: 1, New: true}}, []any{&Alive{}, &LeaseTrusted{}})
		}
		s.node.Send(s.who, &supervisor.Ended{Name: "registry"}) // ends with its context, which is no fault
		s.node.Send(s.who, &supervisor.Ended{Name: "lease", Err: messages.ErrDenied})
		failed, ok := (<-s.told).(*supervisor.Failed)
		if !ok || !errors.Is(failed.Err, messages.ErrDenied) {
			t.Fatalf("with a lease: %t: %+v", held, failed)
		}
		if refused := (*RefusedError)(nil); errors.As(failed.Err, &refused) == held {
			t.Errorf("with a lease: %t: %v", held, failed.Err)
		}
	}
}
