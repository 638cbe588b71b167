package pipegroup

// The decisions about a group's settings, and the calls that carry them out. The
// life of a group is in doc.go.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Keys are the keys of a pipe group.
type Keys struct {
	// Meta holds the settings, a pb.GroupMeta.
	Meta string
	// Deserted is the mark that there is no member. Its value, the time of a
	// host, is for people: nothing is counted from it.
	Deserted string
	// Paused is there while the group is paused, see messages.PauseValue.
	Paused string
	// Members is the prefix of the members' keys.
	Members string
}

// At returns the keys of a group of a destination.
func At(space keys.Space, dest, group string) Keys {
	return Keys{
		Meta: space.GroupMeta(dest, group), Deserted: space.Deserted(dest, group),
		Paused: space.Paused(dest, group), Members: space.Members(dest, group),
	}
}

// State is what became of a group that was found without members.
type State uint8

// The states of a group that Desert was asked about.
const (
	Absent   State = iota + 1 // it has no settings, and no members
	Attended                  // somebody is in
	Kept                      // etcd counts its KeepFor, or it is kept forever
)

const (
	// longestSlack bounds what a group whose members died outlives its KeepFor.
	longestSlack = 10 * time.Minute
	// longestLease is a little less than the longest that etcd grants.
	longestLease = 8_000_000_000
)

// Groups keeps the settings of pipe groups in etcd. Make it with New; its
// methods are safe for concurrent use. Errors are those of discovery.Classify.
type Groups struct {
	store groupStore
	renew lease.Client // for the groups that Run keeps
	where string
	least time.Duration // slack of a group that is kept for a moment
	now   func() time.Time
	held  *heldGroups
}

// New makes the groups of a client. leases renews their leases and must
// run whenever Run does. ttl is the session's: what a member's key outlives a
// process that died, the settings outlive it by at least as much.
func New(client *clientv3.Client, leases lease.Client, ttl time.Duration) *Groups {
	if ttl == 0 {
		ttl = lease.DefaultTTL
	}
	return newGroups(etcdGroups{client}, leases, ttl, discovery.Where(client))
}

func newGroups(store groupStore, renew lease.Client, ttl time.Duration, where string) *Groups {
	return &Groups{store: store, renew: renew, where: where, least: ttl, now: time.Now, held: newHeldGroups()}
}

// groupSeen is what stands of a group at one revision.
type groupSeen struct {
	meta, mark discovery.KV // zero ModRevision: absent
	members    bool
}

// keep is how long the group outlives its members, negative forever.
func (s groupSeen) keep() time.Duration { return keepOf(s.meta.Value) }

// keepOf reads KeepFor. What does not decode is nobody's and goes soon.
func keepOf(value []byte) time.Duration {
	meta := &pb.GroupMeta{}
	if proto.Unmarshal(value, meta) != nil {
		return 0
	}
	if meta.KeepForMs < 0 {
		return -1
	}
	return time.Duration(min(meta.KeepForMs, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// counting reports whether etcd counts KeepFor: the settings go with the mark.
func (s groupSeen) counting() bool { return s.mark.Lease != 0 && s.mark.Lease == s.meta.Lease }

// groupMove is what to do about a group's settings.
type groupMove uint8

const (
	groupStays  groupMove = iota // they stand as they should
	groupLeased                  // put them under a new lease
	groupBare                    // put them under no lease
)

// whileAttended says what the process of a member does about the settings.
func (s groupSeen) whileAttended(mine []byte) groupMove {
	keep, marked := s.keep(), s.mark.ModRevision != 0
	if s.meta.ModRevision == 0 {
		keep, marked = keepOf(mine), true
	}
	switch {
	case keep < 0 && (marked || s.meta.Lease != 0):
		return groupBare
	case keep >= 0 && (marked || s.meta.Lease == 0):
		return groupLeased
	}
	return groupStays
}

// whileDeserted says what whoever finds a group without members does.
func (s groupSeen) whileDeserted() groupMove {
	switch {
	case s.keep() < 0 && (s.mark.ModRevision != 0 || s.meta.Lease != 0):
		return groupBare
	case s.keep() >= 0 && !s.counting():
		return groupLeased
	}
	return groupStays
}

// slack is how long after the last renewal a group of a KeepFor can outlive it.
func (g *Groups) slack(keep time.Duration) time.Duration {
	return max(g.least, min(keep/2, longestSlack))
}

// seconds is a lease's TTL. etcd rounds up what is below its least, 2 s unless it is
// tuned.
func seconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return min(max(s, 1), longestLease)
}

func (g *Groups) see(ctx context.Context, k Keys) (groupSeen, error) {
	seen, err := g.store.read(ctx, []Keys{k})
	if err != nil {
		return groupSeen{}, err
	}
	return seen[0], nil
}

// Attend makes the group's settings stand as those of a group with members: the
// ones that are there, or mine where there are none. It returns which. agree
// judges settings that are there; its error ends the call, and nothing is
// changed. It renews the lease. Call it before the member's key is written, so that the settings are
// agreed on, and after: whoever found nobody in between has marked the group.
func (g *Groups) Attend(ctx context.Context, k Keys, mine []byte, agree func(*pb.GroupMeta) error) ([]byte, error) {
	for {
		seen, err := g.see(ctx, k)
		if err != nil {
			return nil, discovery.Classify("read "+k.Meta+" at "+g.where, err)
		}
		value := mine
		if seen.meta.ModRevision != 0 {
			value = seen.meta.Value
			meta := &pb.GroupMeta{}
			if err := proto.Unmarshal(value, meta); err != nil {
				return nil, fmt.Errorf("%s: %w: %w", k.Meta, messages.ErrCorrupt, err)
			}
			if err := agree(meta); err != nil {
				return nil, err
			}
		}
		done, err := g.attend(ctx, k, seen, value)
		if err == nil && done && seen.whileAttended(value) == groupStays && seen.meta.Lease != 0 {
			// Those who were to renew it may be dead for long.
			_, err = timed(ctx, func(ctx context.Context) (*clientv3.LeaseKeepAliveResponse, error) {
				return g.renew.KeepAliveOnce(ctx, seen.meta.Lease)
			})
			if errors.Is(err, rpctypes.ErrLeaseNotFound) {
				done, err = g.hang(ctx, k, seen, groupWrite{meta: value}, seen.keep()+g.slack(seen.keep()))
			}
		}
		if err != nil {
			return nil, discovery.Classify("write "+k.Meta+" at "+g.where, err)
		}
		if done {
			return value, nil
		}
	}
}

// attend carries out what whileAttended says, and reports whether it stands so.
func (g *Groups) attend(ctx context.Context, k Keys, seen groupSeen, value []byte) (bool, error) {
	switch seen.whileAttended(value) {
	case groupStays:
		return true, nil
	case groupBare:
		return g.store.swap(ctx, k, seen, groupWrite{meta: value})
	}
	return g.hang(ctx, k, seen, groupWrite{meta: value}, keepOf(value)+g.slack(keepOf(value)))
}

// hang writes under a new lease, and gives up the one that is not needed then.
func (g *Groups) hang(ctx context.Context, k Keys, seen groupSeen, to groupWrite, ttl time.Duration) (bool, error) {
	lease, err := g.store.Grant(ctx, seconds(ttl))
	if err != nil {
		return false, err
	}
	to.lease = lease.ID
	done, err := g.store.swap(ctx, k, seen, to)
	if err != nil && !discovery.Rejected(err) {
		return false, err // it may have been written: the lease ends by itself
	}
	idle := lease.ID
	if done {
		idle = seen.meta.Lease
	}
	if idle != 0 {
		_, _ = g.store.Revoke(ctx, idle) // it ends by itself, later
	}
	return done, err
}

// Desert has etcd count the KeepFor of a group that has no members, unless it
// does so already, and returns what it found. alive says that the caller has
// seen a member live until now, so that a count that began before begins again.
// Nothing is removed by the call: etcd removes the group when the lease ends.
func (g *Groups) Desert(ctx context.Context, k Keys, alive bool) (State, error) {
	state, err := g.desert(ctx, k, alive)
	return state, discovery.Classify("count how long "+k.Meta+" is kept at "+g.where, err)
}

func (g *Groups) desert(ctx context.Context, k Keys, alive bool) (State, error) {
	for {
		seen, err := g.see(ctx, k)
		if err != nil {
			return 0, err
		}
		done := false
		switch {
		case seen.members:
			return Attended, nil
		case seen.meta.ModRevision == 0 && seen.mark.ModRevision == 0:
			return Absent, nil
		case seen.meta.ModRevision == 0:
			_, err = g.store.swap(ctx, k, seen, groupWrite{gone: true, nobody: true})
		case seen.whileDeserted() == groupBare:
			_, err = g.store.swap(ctx, k, seen, groupWrite{meta: seen.meta.Value, nobody: true})
		case seen.whileDeserted() == groupLeased:
			to := groupWrite{meta: seen.meta.Value, mark: sinceNow(), nobody: true}
			done, err = g.hang(ctx, k, seen, to, seen.keep())
		case alive && seen.counting():
			_, err = g.store.KeepAliveOnce(ctx, seen.meta.Lease)
			done = err == nil
			if errors.Is(err, rpctypes.ErrLeaseNotFound) {
				err = nil
			}
		default:
			done = true
		}
		if err != nil {
			return 0, err
		}
		if done {
			return Kept, nil
		}
	}
}

func sinceNow() []byte { return []byte(time.Now().UTC().Format(time.RFC3339Nano)) }

// See reads a group's settings, with a zero ModRevision where there are none, and
// whether it has members.
func (g *Groups) See(ctx context.Context, k Keys) (meta discovery.KV, members bool, err error) {
	seen, err := g.see(ctx, k)
	return seen.meta, seen.members, discovery.Classify("read "+k.Meta+" at "+g.where, err)
}

// Restore puts settings back that an etcd which was wiped or restored has lost,
// of a group that has no member to do so. Settings that are there stay.
func (g *Groups) Restore(ctx context.Context, k Keys, value []byte) error {
	for {
		seen, err := g.see(ctx, k)
		done := seen.meta.ModRevision != 0
		if err == nil && !done {
			done, err = g.found(ctx, k, seen, value)
		}
		if err != nil || done {
			return discovery.Classify("put back "+k.Meta+" at "+g.where, err)
		}
	}
}

// Declare makes a group that has no member yet, with the settings mine; etcd counts its
// KeepFor from then. Of a group that is there agree judges the settings: its error ends
// the call, and nothing is changed. A count that has begun begins again.
func (g *Groups) Declare(ctx context.Context, k Keys, mine []byte, agree func(*pb.GroupMeta) error) error {
	for {
		seen, err := g.see(ctx, k)
		done := false
		switch {
		case err != nil:
		case seen.meta.ModRevision == 0:
			done, err = g.found(ctx, k, seen, mine)
		default:
			meta := &pb.GroupMeta{}
			if err := proto.Unmarshal(seen.meta.Value, meta); err != nil {
				return fmt.Errorf("%s: %w: %w", k.Meta, messages.ErrCorrupt, err)
			}
			if err := agree(meta); err != nil {
				return err
			}
			done = true
			if seen.counting() {
				_, err = g.store.KeepAliveOnce(ctx, seen.meta.Lease)
			}
			if errors.Is(err, rpctypes.ErrLeaseNotFound) { // it goes at this moment
				done, err = false, nil
			}
		}
		if err != nil || done {
			return discovery.Classify("declare "+k.Meta+" at "+g.where, err)
		}
	}
}

// found writes the settings of a group that has none, as of one without members. Who is
// in puts that right, and keeps them.
func (g *Groups) found(ctx context.Context, k Keys, seen groupSeen, value []byte) (bool, error) {
	if keep := keepOf(value); keep >= 0 {
		return g.hang(ctx, k, seen, groupWrite{meta: value, mark: sinceNow()}, keep)
	}
	return g.store.swap(ctx, k, seen, groupWrite{meta: value})
}

// Delete removes a group that has no members. Errors: messages.ErrNoGroup,
// messages.ErrGroupLive, and those of discovery.Classify.
func (g *Groups) Delete(ctx context.Context, k Keys) error {
	for {
		seen, err := g.see(ctx, k)
		switch {
		case err != nil:
		case seen.members:
			return messages.ErrGroupLive
		case seen.meta.ModRevision == 0 && seen.mark.ModRevision == 0:
			return messages.ErrNoGroup
		default:
			var done bool
			if done, err = g.store.swap(ctx, k, seen, groupWrite{gone: true, nobody: true}); err == nil && !done {
				continue
			}
			if done && seen.meta.Lease != 0 {
				_, _ = g.store.Revoke(ctx, seen.meta.Lease) // it ends by itself, later
			}
		}
		return discovery.Classify("delete "+k.Meta+" at "+g.where, err)
	}
}
