package rebalance

// Whose process a member watches, and what it does about one that has ended.

import (
	"maps"
	"slices"

	"github.com/penstock-io/penstock/messages/pb"
)

// Process is what a member's process is watched by.
type Process struct {
	// Token tells processes apart, and is what they are met with.
	Token string
	// Addresses are where it listens.
	Addresses []string
}

// mostAddresses is how many addresses of a process count: one of each family, and
// some.
const mostAddresses = 8

// processOf is that of a member, as its key says: nobody can watch one that says
// nothing.
func processOf(m *pb.ConsumerMember) (Process, bool) {
	w := m.GetWatched()
	if len(w.GetToken()) == 0 || len(w.GetAddresses()) == 0 {
		return Process{}, false
	}
	return Process{Token: string(w.Token), Addresses: w.Addresses[:min(len(w.Addresses), mostAddresses)]}, true
}

// Watched are the processes that a member watches, by their tokens. The oldest member
// watches all, because it assigns, and the others watch the oldest: so there are two
// watches for each member, and each process is watched from two sides as soon as there
// are three. Members of one process do not watch it.
func (v *View) Watched(me Member) map[string]Process {
	ages := v.byAge()
	if me.Revision == 0 || len(ages) == 0 {
		return nil
	}
	watched := make(map[string]Process)
	for id, p := range v.processes {
		if p.Token != me.Process && (ages[0] == me.ID || ages[0] == id) {
			watched[p.Token] = p
		}
	}
	return watched
}

// Ended adds the members of a process that has ended to dead, which is Member.Dead, and
// drops from it those whose keys are not as they were: others have buried them, or they
// live.
func (v *View) Ended(dead map[string]int64, token string) {
	maps.DeleteFunc(dead, func(id string, at int64) bool { return v.members[id] != at })
	for id, p := range v.processes {
		if p.Token == token {
			dead[id] = v.members[id]
		}
	}
}

// burials are the members whose keys are to be removed, because their processes have
// ended: those that stand as they did when that was seen. A key that was written again
// since is of one who lives.
func (v *View) burials(me Member) (dead []string) {
	for _, id := range slices.Sorted(maps.Keys(me.Dead)) {
		if _, under := me.Burying[id]; !under && id != me.ID && v.members[id] == me.Dead[id] {
			dead = append(dead, id)
		}
	}
	return dead
}
