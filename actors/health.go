package actors

// Whether the engine lives and is ready, and if not, why. The facts are kept by the
// actors; nothing is asked of etcd.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// healthPatience is how long a look waits for the root actor.
const healthPatience = time.Second

// Questions to the engine's actor, and the reply.
type (
	askAlive struct{}
	alive    struct{}
)

// Health is penstock.Runtime.Health.
func (e *Engine) Health(ctx context.Context) messages.Health {
	if ctx == nil {
		ctx = context.Background()
	}
	f := healthFacts{now: time.Now(), over: e.Stopped(), stopping: e.node.Stopping()}
	if !f.over && !f.stopping {
		f.silent = e.askAlive(ctx)
		f.stopping = e.node.Stopping() // it may have ended meanwhile
	}
	_, fresh := e.work.Session.Fresh()
	f.session, f.etcd = e.session(fresh), e.node.EtcdHealth(e.work.Session.Confirmed())
	f.trouble = e.node.Delay()
	for _, r := range e.node.Roles.All() {
		one := role{kind: r.Kind, of: r.Of, group: r.Group, id: r.ID, health: r.Health(), has: r.Has(), wants: int(r.Wants.Load())}
		if r.Missing != nil {
			one.requires, one.missing = true, r.Missing()
		}
		f.roles = append(f.roles, one)
	}
	if f.over {
		f.ended = e.err
	}
	return f.health()
}

// askAlive asks the root actor for a sign of life.
func (e *Engine) askAlive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	_, err := supervisor.Ask[*alive](ctx, e.node.System, e.node.Root, &askAlive{})
	return err
}

// session is how the session is. A lease that cannot be trusted is in doubt before
// its actor has said so: this process may have stood still.
func (e *Engine) session(fresh bool) messages.SessionHealth {
	s := e.node.Session()
	if s.State == messages.SessionStateAlive && !fresh {
		s.State, s.Since = messages.SessionStateDoubted, time.Now()
	}
	return s
}

// healthFacts are what a health is made of.
type healthFacts struct {
	now            time.Time
	over, stopping bool
	ended          error // why it is over
	silent         error // the root actor does not reply
	session        messages.SessionHealth
	etcd           messages.EtcdHealth
	trouble        error // what etcd said last when it refused something
	roles          []role
}

type role struct {
	kind          node.RoleKind
	of, group, id string
	health        messages.RoleHealth
	has, wants    int
	requires      bool     // a destination with RequireGroups
	missing       []string // of those
}

// health draws the conclusions.
func (f healthFacts) health() messages.Health {
	h := messages.Health{Session: f.session, Etcd: f.etcd, Live: true, Ready: true}
	check := func(c messages.HealthCheck) {
		c.Passed = c.Reason == ""
		if !c.Passed && !c.Since.IsZero() {
			c.Reason += fmt.Sprintf(" (for %s, since %s)", f.now.Sub(c.Since).Round(time.Millisecond), c.Since.UTC().Format(time.RFC3339))
		}
		h.Checks = append(h.Checks, c)
		if c.Passed || c.Info {
			return
		}
		h.Ready = false
		h.Live = h.Live && !c.Live
		h.Reasons = append(h.Reasons, c.Name+": "+c.Reason)
	}
	check(f.actors())
	check(f.stop())
	check(f.ofSession())
	for _, r := range f.roles {
		check(r.check())
		if r.requires {
			check(r.groups())
		}
		switch r.kind {
		case node.RoleDestination:
			h.Destinations = append(h.Destinations, messages.DestinationHealth{Destination: r.of, Sender: r.id, RoleHealth: r.health, Links: r.has, Members: r.wants, Missing: r.missing})
		case node.RoleMember:
			h.Members = append(h.Members, messages.MemberHealth{Destination: r.of, Group: r.group, Member: r.id, RoleHealth: r.health, Links: r.has, Senders: r.wants})
		case node.RoleSubscription:
			h.Subscriptions = append(h.Subscriptions, messages.SubscriptionHealth{Topic: r.of, Group: r.group, Member: r.id, RoleHealth: r.health, Owned: r.has, Assigned: r.wants})
		}
	}
	return h
}

func (f healthFacts) actors() messages.HealthCheck {
	c := messages.HealthCheck{Name: "actors", Live: true}
	switch {
	case f.over && f.ended != nil:
		c.Reason = "the runtime is over: " + f.ended.Error()
	case f.over:
		c.Reason = "the runtime was stopped"
	case f.stopping:
	case errors.Is(f.silent, supervisor.ErrNoActor):
		c.Reason = "the runtime's root actor has ended"
	case f.silent != nil:
		c.Reason = fmt.Sprintf("the runtime's root actor does not reply: %v", f.silent)
	}
	return c
}

func (f healthFacts) stop() messages.HealthCheck {
	c := messages.HealthCheck{Name: "stop"}
	if f.stopping {
		c.Reason = "Stop was called"
	}
	return c
}

func (f healthFacts) ofSession() messages.HealthCheck {
	c := messages.HealthCheck{Name: "session", Since: f.session.Since}
	switch f.session.State {
	case messages.SessionStateAlive:
		return c
	case messages.SessionStateDoubted:
		c.Reason = fmt.Sprintf("etcd at %s has not renewed the lease %016x in time", f.etcd.Endpoints, f.session.Lease)
	case messages.SessionStateLost:
		c.Reason = fmt.Sprintf("the lease %016x has ended, and etcd at %s has given no other", f.session.Lease, f.etcd.Endpoints)
	default:
		c.Reason = fmt.Sprintf("etcd at %s has given no lease yet", f.etcd.Endpoints)
	}
	switch {
	case f.etcd.Err != nil:
		c.Reason += ": " + f.etcd.Err.Error()
	case f.trouble != nil:
		c.Reason += ": " + f.trouble.Error()
	}
	return c
}

// check: what leaves because somebody asked for it is nobody's trouble.
func (r role) check() messages.HealthCheck {
	c := messages.HealthCheck{Name: string(r.kind) + "/" + r.of, Since: r.health.Since}
	if r.group != "" {
		c.Name += "/" + r.group
	}
	switch r.health.State {
	case messages.RoleStarting:
		c.Reason = fmt.Sprintf("%s is not established yet", r.id)
	case messages.RoleEnded:
		c.Reason = fmt.Sprintf("%s has ended: %v", r.id, r.health.Err)
	}
	return c
}

// groups shows what a destination waits for, and does not count: readiness that waits
// for the groups of other services, which may wait for this one, ends no rollout.
func (r role) groups() messages.HealthCheck {
	c := messages.HealthCheck{Name: "groups/" + r.of, Info: true}
	if len(r.missing) > 0 {
		c.Reason = fmt.Sprintf("Send waits for the required groups %q: have a member join them, or declare them", r.missing)
	}
	return c
}
