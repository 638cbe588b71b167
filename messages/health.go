package messages

// How a runtime is: alive, ready, and what is in the way.

import "time"

// Health is how an engine is at one moment.
type Health struct {
	// Live: its actors run. Ready: it is live, its session is alive, and all that was
	// registered, joined and subscribed is established.
	Live, Ready bool
	// Reasons say why it is not, each with what and since when. They are those of the
	// failed Checks, but for what is Info.
	Reasons []string
	Checks  []HealthCheck
	Session SessionHealth
	Etcd    EtcdHealth

	Destinations  []DestinationHealth
	Members       []MemberHealth
	Subscriptions []SubscriptionHealth
}

// HealthCheck is one condition of being ready.
type HealthCheck struct {
	Name   string // "actors", "session", "stop", "destination/orders", "groups/orders", "member/orders/billing", "subscription/audit/export"
	Live   bool   // it is a condition of being live, too
	Info   bool   // it is shown, and no condition of either
	Passed bool
	Reason string    // why not; empty when it passed
	Since  time.Time // when it passed or failed first; zero when that is not known
}

// SessionState is how sure a runtime is of its session with etcd.
type SessionState string

// States of a session.
const (
	SessionStateOpening SessionState = "opening" // there is no lease yet
	SessionStateAlive   SessionState = "alive"   // the lease is certain to live
	SessionStateDoubted SessionState = "doubted" // the lease was not renewed in time, and may have ended
	SessionStateLost    SessionState = "lost"    // the lease has ended, and there is no other yet
)

// SessionHealth is how the session is, and since when.
type SessionHealth struct {
	State SessionState
	Since time.Time
	Lease int64 // 0 before the first
}

// EtcdHealth is what is known of etcd. Nothing is asked for it.
type EtcdHealth struct {
	Endpoints string // where it is looked for
	Reachable bool   // there is a connection, and the last request about the lease was answered
	// Confirmed is when the last request about the lease was sent that etcd has
	// confirmed; zero while there is no lease.
	Confirmed time.Time
	Err       error // why it is not reachable
}

// RoleState is where a registration, membership or subscription stands.
type RoleState string

// States of roles.
const (
	RoleStarting    RoleState = "starting" // for the first time, or after its actor failed
	RoleEstablished RoleState = "established"
	RoleLeaving     RoleState = "leaving" // as somebody asked
	RoleEnded       RoleState = "ended"   // nobody asked for that; Err says why
)

// RoleHealth is where something stands that was registered, joined or subscribed.
type RoleHealth struct {
	State RoleState
	Since time.Time
	Err   error // of RoleEnded
}

// DestinationHealth is a destination that this runtime has registered.
type DestinationHealth struct {
	Destination, Sender string
	RoleHealth
	Links   int      // members linked, over all groups
	Members int      // members that etcd shows
	Missing []string // groups of RequireGroups that Send waits for
}

// MemberHealth is a place in a group of a destination.
type MemberHealth struct {
	Destination, Group, Member string
	RoleHealth
	Links   int // senders linked
	Senders int // senders that etcd shows
}

// SubscriptionHealth is a place in a consumer group of a topic.
type SubscriptionHealth struct {
	Topic, Group, Member string
	RoleHealth
	Owned    int // partitions claimed
	Assigned int // partitions that are to be owned
}
