package node

// What a runtime was asked to be, and how that stands: the facts of its health.

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Roles are the registrations, memberships and subscriptions of a runtime. One that
// ended though nobody asked for it stays until it is asked to end, or another one
// takes its place. The zero Roles is empty; it is safe for concurrent use.
type Roles struct {
	mu  sync.Mutex
	all map[*Role]struct{}
}

// RoleKind is what a role is.
type RoleKind string

// Kinds of roles.
const (
	RoleDestination  RoleKind = "destination"
	RoleMember       RoleKind = "member"
	RoleSubscription RoleKind = "subscription"
)

// Role is one of them. The actor that fills it says where it stands. A nil Role takes
// everything and keeps nothing.
type Role struct {
	Kind RoleKind
	// Of is the destination or topic, Group is empty for a destination, ID is that of
	// the sender or member.
	Of, Group, ID string
	// Has is how many links or partitions there are.
	Has func() int
	// Missing are the required groups of a destination that are not there; nil when it
	// requires none.
	Missing func() []string
	// Wants is how many there should be: senders or members in etcd, partitions that
	// are assigned.
	Wants atomic.Int64

	within *Roles
	mu     sync.Mutex
	health messages.RoleHealth
	been   bool // it was established once
}

// Begin adds a role. One of the same name that has ended is forgotten.
func (rs *Roles) Begin(r *Role) {
	r.within = rs
	r.health = messages.RoleHealth{State: messages.RoleStarting, Since: time.Now()}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.all == nil {
		rs.all = make(map[*Role]struct{})
	}
	for other := range rs.all {
		if other.Kind == r.Kind && other.Of == r.Of && other.Group == r.Group && other.Health().State == messages.RoleEnded {
			delete(rs.all, other)
			break
		}
	}
	rs.all[r] = struct{}{}
}

// All are the roles by kind and name.
func (rs *Roles) All() []*Role {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	all := make([]*Role, 0, len(rs.all))
	for r := range rs.all {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *Role) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Of, b.Of), cmp.Compare(a.Group, b.Group), cmp.Compare(a.ID, b.ID))
	})
	return all
}

func (rs *Roles) forget(r *Role) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.all, r)
}

// Is notes where the role stands.
func (r *Role) Is(s messages.RoleState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.is(s, nil)
}

// is is Is under mu. What has ended stays so.
func (r *Role) is(s messages.RoleState, err error) {
	r.been = r.been || s == messages.RoleEstablished
	if r.health.State != s && r.health.State != messages.RoleEnded {
		r.health = messages.RoleHealth{State: s, Since: time.Now(), Err: err}
	}
}

// Ends notes that the role ends: why, when nobody asked for it, else it leaves.
func (r *Role) Ends(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == nil {
		r.is(messages.RoleLeaving, nil)
		return
	}
	r.is(messages.RoleEnded, why)
}

// Over notes that nothing of the role is left. It is forgotten, unless it was
// established and ended for a reason.
func (r *Role) Over(why error) {
	r.Ends(why)
	r.mu.Lock()
	stays := r.been && r.health.State == messages.RoleEnded
	r.mu.Unlock()
	if !stays {
		r.Forget()
	}
}

// Forget forgets the role: somebody asked for its end.
func (r *Role) Forget() {
	if r.within != nil {
		r.within.forget(r)
	}
}

// Health is where the role stands.
func (r *Role) Health() messages.RoleHealth {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health
}
