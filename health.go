package penstock

// Health: whether a runtime lives and is ready, for its own code and for probes.

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Health is how a runtime is at one moment.
//
//	type Health struct {
//		Live, Ready   bool
//		Reasons       []string      // why not, each with what and since when; those of the failed Checks, but for what is Info
//		Checks        []HealthCheck
//		Session       SessionHealth
//		Etcd          EtcdHealth
//		Destinations  []DestinationHealth
//		Members       []MemberHealth
//		Subscriptions []SubscriptionHealth
//	}
//
// A runtime is live while its actors run: it is not over, and its root actor replies
// within a second. It stays live while etcd is away and while Stop is under way. What
// is not live does not recover by itself; a new process does.
//
// It is ready when it is live, Stop was not called, its session with etcd is alive, and
// each Register, Join and Subscribe is established. Established is a member without
// any sender, and a subscription without a partition in a group that has more members
// than partitions. What ended though nobody had asked for it keeps the runtime from
// being ready until its handle is unregistered, left or unsubscribed, or another
// one of the same name has begun.
//
// A destination that waits for one of its RequireGroups is ready. The check groups/orders
// fails and names them, and is no condition: the groups are those of other services,
// which a rollout may hold back until this one is ready.
//
// The session is alive until etcd has not renewed its lease for LeaseTTL less a tenth of
// it (at least 500 ms): so long a runtime is ready at most after the last word of etcd, 9 s
// by default. It is ready again once etcd has renewed the lease or given another.
type Health = messages.Health

// HealthCheck is one condition of being ready.
//
//	type HealthCheck struct {
//		Name   string    // "actors", "session", "stop", "destination/orders", "groups/orders", "member/orders/billing", "subscription/audit/export"
//		Live   bool      // it is a condition of being live, too
//		Info   bool      // it is shown, and no condition of either
//		Passed bool
//		Reason string    // why not; empty when it passed
//		Since  time.Time // when it passed or failed first; zero when that is not known
//	}
type HealthCheck = messages.HealthCheck

// SessionState is how sure a runtime is of its session with etcd.
type SessionState = messages.SessionState

// States of a session.
const (
	SessionStateOpening = messages.SessionStateOpening // there is no lease yet
	SessionStateAlive   = messages.SessionStateAlive   // the lease is certain to live
	SessionStateDoubted = messages.SessionStateDoubted // the lease was not renewed in time, and may have ended
	SessionStateLost    = messages.SessionStateLost    // the lease has ended, and there is no other yet
)

// SessionHealth is how the session with etcd is, and since when.
//
//	type SessionHealth struct {
//		State SessionState
//		Since time.Time
//		Lease int64 // 0 before the first
//	}
type SessionHealth = messages.SessionHealth

// EtcdHealth is what a runtime knows of etcd without asking it.
//
//	type EtcdHealth struct {
//		Endpoints string    // where it is looked for
//		Reachable bool      // there is a connection, and the last request about the lease was answered
//		Confirmed time.Time // when the last request about the lease was sent that etcd has confirmed; zero while there is no lease
//		Err       error     // why it is not reachable
//	}
//
// An etcd that has stopped to reply is noticed at the next renewal of the lease: after
// two thirds of LeaseTTL at most.
type EtcdHealth = messages.EtcdHealth

// RoleState is where a registration, membership or subscription stands.
type RoleState = messages.RoleState

// States of registrations, memberships and subscriptions.
const (
	RoleStarting    = messages.RoleStarting    // for the first time, or after its actor failed
	RoleEstablished = messages.RoleEstablished // it is what it was asked to be
	RoleLeaving     = messages.RoleLeaving     // as somebody asked
	RoleEnded       = messages.RoleEnded       // nobody asked for that; Err says why
)

// RoleHealth is where something stands that was registered, joined or subscribed.
//
//	type RoleHealth struct {
//		State RoleState
//		Since time.Time
//		Err   error // of RoleEnded
//	}
type RoleHealth = messages.RoleHealth

// DestinationHealth is a destination that this runtime has registered.
//
//	type DestinationHealth struct {
//		Destination, Sender string
//		RoleHealth
//		Links   int      // members linked, over all groups
//		Members int      // members that etcd shows
//		Missing []string // groups of RequireGroups that Send waits for
//	}
type DestinationHealth = messages.DestinationHealth

// MemberHealth is a place of this runtime in a group of a destination.
//
//	type MemberHealth struct {
//		Destination, Group, Member string
//		RoleHealth
//		Links   int // senders linked
//		Senders int // senders that etcd shows
//	}
type MemberHealth = messages.MemberHealth

// SubscriptionHealth is a place of this runtime in a consumer group of a topic.
//
//	type SubscriptionHealth struct {
//		Topic, Group, Member string
//		RoleHealth
//		Owned    int // partitions claimed
//		Assigned int // partitions that are to be owned
//	}
type SubscriptionHealth = messages.SubscriptionHealth

// Health returns how the runtime is: whether it is live and ready, and if not, why. It
// asks nothing of etcd. It blocks until the runtime's root actor has replied, a second at
// most, or until ctx ends; then the runtime is not live. A nil ctx is one without an end.
func (r *Runtime) Health(ctx context.Context) Health { return r.engine.Health(ctx) }

// HealthHandler returns a handler for probes, with the paths /livez and /readyz. Each
// replies 200, or 503 when the runtime is not live or not ready, and lists its checks as
// text, one a line:
//
//	[+]actors ok
//	[+]stop ok
//	[-]session failed: etcd at 10.0.0.1:2379 has not renewed the lease 694d8f1c in time (for 2s, since 2026-11-29T10:00:00Z)
//	[-]groups/orders not counted: Send waits for the required groups ["audit"]: have a member join them, or declare them
//	readyz check failed
//
// With Accept: application/json, or ?format=json, the reply is JSON, and /readyz has
// all that Health returns. A request asks nothing of etcd, and takes a second at most.
//
// Anybody who may ask reads names of destinations, topics, groups and members there,
// and the text of errors. The option Diagnostics serves the same paths.
func (r *Runtime) HealthHandler() http.Handler { return healthHandler(r.engine) }

func healthHandler(engine *actors.Engine) http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, engine)
	return mux
}

// handleHealth adds the probes to mux.
func handleHealth(mux *http.ServeMux, engine *actors.Engine) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) {
		h := engine.Health(r.Context())
		var checks []HealthCheck
		for _, c := range h.Checks {
			if c.Live {
				checks = append(checks, c)
			}
		}
		answerHealth(w, r, "livez", h.Live, healthAnswer{Live: h.Live, Ready: h.Ready, Checks: answerOfChecks(checks)})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		h := engine.Health(r.Context())
		answerHealth(w, r, "readyz", h.Ready, answerOfHealth(h))
	})
}

func answerHealth(w http.ResponseWriter, r *http.Request, probe string, well bool, answer healthAnswer) {
	status, verdict := http.StatusOK, "passed"
	if !well {
		status, verdict = http.StatusServiceUnavailable, "failed"
	}
	w.Header().Set("Cache-Control", "no-store")
	if r.FormValue("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		answerJSON(w, status, answer)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	for _, c := range answer.Checks {
		verdict := "failed"
		if c.Info {
			verdict = "not counted"
		}
		if c.Passed {
			fmt.Fprintf(w, "[+]%s ok\n", c.Name)
		} else {
			fmt.Fprintf(w, "[-]%s %s: %s\n", c.Name, verdict, strings.ReplaceAll(c.Reason, "\n", "; "))
		}
	}
	fmt.Fprintf(w, "%s check %s\n", probe, verdict)
}

// What the probes return as JSON. Fields are added, never renamed.
type (
	healthAnswer struct {
		Live          bool                       `json:"live"`
		Ready         bool                       `json:"ready"`
		Checks        []checkAnswer              `json:"checks"`
		Session       *sessionAnswer             `json:"session,omitempty"`
		Etcd          *etcdAnswer                `json:"etcd,omitempty"`
		Destinations  []destinationHealthAnswer  `json:"destinations,omitempty"`
		Members       []memberHealthAnswer       `json:"members,omitempty"`
		Subscriptions []subscriptionHealthAnswer `json:"subscriptions,omitempty"`
	}
	checkAnswer struct {
		Name   string    `json:"name"`
		Info   bool      `json:"info,omitempty"`
		Passed bool      `json:"passed"`
		Reason string    `json:"reason,omitempty"`
		Since  time.Time `json:"since,omitzero"`
	}
	sessionAnswer struct {
		State string    `json:"state"`
		Since time.Time `json:"since,omitzero"`
		Lease string    `json:"lease"`
	}
	etcdAnswer struct {
		Endpoints string    `json:"endpoints"`
		Reachable bool      `json:"reachable"`
		Confirmed time.Time `json:"confirmed,omitzero"`
		Error     string    `json:"error,omitempty"`
	}
	roleAnswer struct {
		State string    `json:"state"`
		Since time.Time `json:"since"`
		Error string    `json:"error,omitempty"`
	}
	destinationHealthAnswer struct {
		Destination string `json:"destination"`
		Sender      string `json:"sender"`
		roleAnswer
		Links   int      `json:"links"`
		Members int      `json:"members"`
		Missing []string `json:"missing,omitempty"`
	}
	memberHealthAnswer struct {
		Destination string `json:"destination"`
		Group       string `json:"group"`
		Member      string `json:"member"`
		roleAnswer
		Links   int `json:"links"`
		Senders int `json:"senders"`
	}
	subscriptionHealthAnswer struct {
		Topic  string `json:"topic"`
		Group  string `json:"group"`
		Member string `json:"member"`
		roleAnswer
		Owned    int `json:"owned"`
		Assigned int `json:"assigned"`
	}
)

func answerOfChecks(checks []HealthCheck) []checkAnswer {
	rows := make([]checkAnswer, 0, len(checks))
	for _, c := range checks {
		rows = append(rows, checkAnswer{c.Name, c.Info, c.Passed, c.Reason, c.Since.UTC()})
	}
	return rows
}

func answerOfHealth(h Health) healthAnswer {
	a := healthAnswer{
		Live: h.Live, Ready: h.Ready, Checks: answerOfChecks(h.Checks),
		Session: &sessionAnswer{string(h.Session.State), h.Session.Since.UTC(), fmt.Sprintf("%016x", h.Session.Lease)},
		Etcd:    &etcdAnswer{h.Etcd.Endpoints, h.Etcd.Reachable, h.Etcd.Confirmed.UTC(), textOf(h.Etcd.Err)},
	}
	for _, d := range h.Destinations {
		a.Destinations = append(a.Destinations, destinationHealthAnswer{d.Destination, d.Sender, answerOfRole(d.RoleHealth), d.Links, d.Members, d.Missing})
	}
	for _, m := range h.Members {
		a.Members = append(a.Members, memberHealthAnswer{m.Destination, m.Group, m.Member, answerOfRole(m.RoleHealth), m.Links, m.Senders})
	}
	for _, s := range h.Subscriptions {
		a.Subscriptions = append(a.Subscriptions, subscriptionHealthAnswer{s.Topic, s.Group, s.Member, answerOfRole(s.RoleHealth), s.Owned, s.Assigned})
	}
	return a
}

func answerOfRole(r RoleHealth) roleAnswer {
	return roleAnswer{string(r.State), r.Since.UTC(), textOf(r.Err)}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
