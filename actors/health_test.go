package actors

// What is made of the facts. No test here has an etcd.

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: live is that the actors run. Ready is that, no Stop, a session that is
// alive and everything established; each reason names what, and since when.
func TestHealthOf(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before := now.Add(-90 * time.Second)
	why := errors.New("cut")
	of := func(s messages.RoleState, err error) []role {
		return []role{{kind: node.RoleMember, of: "orders", group: "billing", id: "m1", health: messages.RoleHealth{State: s, Since: before, Err: err}, wants: 2}}
	}
	session := func(s messages.SessionState) messages.SessionHealth {
		return messages.SessionHealth{State: s, Since: before, Lease: 10}
	}
	for name, c := range map[string]struct {
		facts       healthFacts
		live, ready bool
		reasons     []string // a part of each
	}{
		"nothing to do":            {healthFacts{}, true, true, nil},
		"a member without senders": {healthFacts{roles: of(messages.RoleEstablished, nil)}, true, true, nil},
		"leaving is asked for":     {healthFacts{roles: of(messages.RoleLeaving, nil)}, true, true, nil},
		"joining":                  {healthFacts{roles: of(messages.RoleStarting, nil)}, true, false, []string{"member/orders/billing: m1 is not established yet (for 1m30s, since 2026-01-02T03:02:35Z)"}},
		"ended":                    {healthFacts{roles: of(messages.RoleEnded, why)}, true, false, []string{"member/orders/billing: m1 has ended: cut"}},
		"no lease yet":             {healthFacts{session: session(messages.SessionStateOpening), trouble: why}, true, false, []string{"session: etcd at here has given no lease yet: cut"}},
		"in doubt":                 {healthFacts{session: session(messages.SessionStateDoubted)}, true, false, []string{"etcd at here has not renewed the lease 000000000000000a in time (for 1m30s"}},
		"lost":                     {healthFacts{session: session(messages.SessionStateLost), etcd: messages.EtcdHealth{Err: why}}, true, false, []string{"has ended, and etcd at here has given no other: cut"}},
		"Stop was called":          {healthFacts{stopping: true, silent: supervisor.ErrNoActor}, true, false, []string{"stop: Stop was called"}},
		"stopped":                  {healthFacts{over: true, stopping: true}, false, false, []string{"actors: the runtime was stopped", "stop:"}},
		"failed":                   {healthFacts{over: true, ended: why}, false, false, []string{"actors: the runtime is over: cut"}},
		"the root actor is gone":   {healthFacts{silent: supervisor.ErrNoActor}, false, false, []string{"actors: the runtime's root actor has ended"}},
		"the root actor is stuck":  {healthFacts{silent: why}, false, false, []string{"actors: the runtime's root actor does not reply: cut"}},
		"all at once": {healthFacts{silent: why, session: session(messages.SessionStateLost), roles: of(messages.RoleStarting, nil)}, false, false,
			[]string{"actors:", "session:", "member/orders/billing:"}},
	} {
		f := c.facts
		f.now, f.etcd.Endpoints = now, "here"
		if f.session.State == "" {
			f.session = session(messages.SessionStateAlive)
		}
		h := f.health()
		fits := slices.EqualFunc(h.Reasons, c.reasons, strings.Contains)
		if h.Live != c.live || h.Ready != c.ready || !fits {
			t.Errorf("%s: live %t, ready %t, %q; want %t, %t, %q", name, h.Live, h.Ready, h.Reasons, c.live, c.ready, c.reasons)
		}
		failed := 0
		for _, check := range h.Checks {
			if check.Passed != (check.Reason == "") {
				t.Errorf("%s: %+v", name, check)
			}
			if !check.Passed && !check.Info {
				failed++
			}
		}
		if failed != len(h.Reasons) {
			t.Errorf("%s: %d checks failed, for %d reasons", name, failed, len(h.Reasons))
		}
	}
}

// Promise: a destination names the required groups that it waits for, and is ready.
func TestHealthNamesMissingGroups(t *testing.T) {
	of := func(missing ...string) messages.Health {
		established := messages.RoleHealth{State: messages.RoleEstablished}
		return healthFacts{
			session: messages.SessionHealth{State: messages.SessionStateAlive},
			roles:   []role{{kind: node.RoleDestination, of: "orders", id: "s1", health: established, requires: true, missing: missing}},
		}.health()
	}
	h := of("audit", "billing")
	last := h.Checks[len(h.Checks)-1]
	if !h.Ready || len(h.Reasons) != 0 || last.Name != "groups/orders" || last.Passed || !last.Info || !strings.Contains(last.Reason, `["audit" "billing"]`) {
		t.Errorf("%+v", h)
	}
	if missing := h.Destinations[0].Missing; !slices.Equal(missing, []string{"audit", "billing"}) {
		t.Errorf("missing: %q", missing)
	}
	if h := of(); !h.Checks[len(h.Checks)-1].Passed {
		t.Errorf("all are there: %+v", h.Checks)
	}
}
