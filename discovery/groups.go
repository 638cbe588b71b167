package discovery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// The life of a pipe group's settings in etcd.
//
//	          join                nobody is in
//	absent ─────────▶ attended ─────────────────▶ deserted
//	   ▲                │   ▲────────join────────────┘ │
//	   │ nobody renewed │                              │ KeepFor
//	   └────────────────┴──────────────────────────────┘
//
// Unless they are kept forever, settings always stand under a lease, so it is
// etcd that removes a group, by its own clock, whoever still runs. Attended, it
// is a lease of KeepFor and a slack, which the processes of the members renew;
// the last renewal is never older than the slack, so a group whose members died
// without a word lives for KeepFor and at most the slack longer. Whoever finds a
// group without members moves the settings, and a mark beside them, to a lease
// of KeepFor that nobody renews. Whoever joins moves them back in one
// transaction, which takes the mark away.

// GroupKeys are the keys of a pipe group.
type GroupKeys struct {
	// Meta holds the settings, a pb.GroupMeta.
	Meta string
	// Deserted is the mark that there is no member. Its value, the time of a
	// host, is for people: nothing is counted from it.
	Deserted string
	// Members is the prefix of the members' keys.
	Members string
}

// GroupState is what became of a group that was found without members.
type GroupState uint8

// The states of a group that Desert was asked about.
const (
	GroupAbsent   GroupState = iota + 1 // it has no settings, and no members
	GroupAttended                       // somebody is in
	GroupKept                           // etcd counts its KeepFor, or it is kept forever
)

const (
	// longestSlack bounds what a group whose members died outlives its KeepFor.
	longestSlack = 10 * time.Minute
	// longestLease is a little less than the longest that etcd grants.
	longestLease = 8_000_000_000
)

// Groups keeps the settings of pipe groups in etcd. Make it with NewGroups; its
// methods are safe for concurrent use. Errors are those of Classify.
type Groups struct {
	store groupStore
	renew LeaseClient // for the groups that Run keeps
	where string
	least time.Duration // slack of a group that is kept for a moment
	now   func() time.Time
	held  *heldGroups
}

// NewGroups makes the groups of a client. leases renews their leases and must
// run whenever Run does. ttl is the session's: what a member's key outlives a
// process that died, the settings outlive it by at least as much.
func NewGroups(client *clientv3.Client, leases LeaseClient, ttl time.Duration) *Groups {
	if ttl == 0 {
		ttl = SessionConfig{}.withDefaults().TTL
	}
	return newGroups(etcdGroups{client}, leases, ttl, Where(client))
}

func newGroups(store groupStore, renew LeaseClient, ttl time.Duration, where string) *Groups {
	return &Groups{store: store, renew: renew, where: where, least: ttl, now: time.Now, held: newHeldGroups()}
}

// groupSeen is what stands of a group at one revision.
type groupSeen struct {
	meta, mark KV // zero ModRevision: absent
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

// groupWrite is what shall stand of a group, if it stands as seen.
type groupWrite struct {
	meta   []byte
	mark   []byte // nil: none
	lease  clientv3.LeaseID
	gone   bool // neither settings nor mark
	nobody bool // only while there is no member
}

// groupStore is what etcd is to Groups.
type groupStore interface {
	LeaseClient
	read(ctx context.Context, groups []GroupKeys) ([]groupSeen, error)
	// swap writes if the group stands as seen, and reports whether it did.
	swap(ctx context.Context, k GroupKeys, seen groupSeen, to groupWrite) (bool, error)
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

func (g *Groups) see(ctx context.Context, k GroupKeys) (groupSeen, error) {
	seen, err := g.store.read(ctx, []GroupKeys{k})
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
func (g *Groups) Attend(ctx context.Context, k GroupKeys, mine []byte, agree func(*pb.GroupMeta) error) ([]byte, error) {
	for {
		seen, err := g.see(ctx, k)
		if err != nil {
			return nil, Classify("read "+k.Meta+" at "+g.where, err)
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
			return nil, Classify("write "+k.Meta+" at "+g.where, err)
		}
		if done {
			return value, nil
		}
	}
}

// attend carries out what whileAttended says, and reports whether it stands so.
func (g *Groups) attend(ctx context.Context, k GroupKeys, seen groupSeen, value []byte) (bool, error) {
	switch seen.whileAttended(value) {
	case groupStays:
		return true, nil
	case groupBare:
		return g.store.swap(ctx, k, seen, groupWrite{meta: value})
	}
	return g.hang(ctx, k, seen, groupWrite{meta: value}, keepOf(value)+g.slack(keepOf(value)))
}

// hang writes under a new lease, and gives up the one that is not needed then.
func (g *Groups) hang(ctx context.Context, k GroupKeys, seen groupSeen, to groupWrite, ttl time.Duration) (bool, error) {
	lease, err := g.store.Grant(ctx, seconds(ttl))
	if err != nil {
		return false, err
	}
	to.lease = lease.ID
	done, err := g.store.swap(ctx, k, seen, to)
	if err != nil && !definite(err) {
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
func (g *Groups) Desert(ctx context.Context, k GroupKeys, alive bool) (GroupState, error) {
	state, err := g.desert(ctx, k, alive)
	return state, Classify("count how long "+k.Meta+" is kept at "+g.where, err)
}

func (g *Groups) desert(ctx context.Context, k GroupKeys, alive bool) (GroupState, error) {
	for {
		seen, err := g.see(ctx, k)
		if err != nil {
			return 0, err
		}
		done := false
		switch {
		case seen.members:
			return GroupAttended, nil
		case seen.meta.ModRevision == 0 && seen.mark.ModRevision == 0:
			return GroupAbsent, nil
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
			return GroupKept, nil
		}
	}
}

func sinceNow() []byte { return []byte(time.Now().UTC().Format(time.RFC3339Nano)) }

// See reads a group's settings, with a zero ModRevision where there are none, and
// whether it has members.
func (g *Groups) See(ctx context.Context, k GroupKeys) (meta KV, members bool, err error) {
	seen, err := g.see(ctx, k)
	return seen.meta, seen.members, Classify("read "+k.Meta+" at "+g.where, err)
}

// Restore puts settings back that an etcd which was wiped or restored has lost,
// of a group that has no member to do so. Settings that are there stay.
func (g *Groups) Restore(ctx context.Context, k GroupKeys, value []byte) error {
	op := "put back " + k.Meta + " at " + g.where
	for {
		seen, err := g.see(ctx, k)
		if err != nil || seen.meta.ModRevision != 0 {
			return Classify(op, err)
		}
		var done bool
		if keep := keepOf(value); keep < 0 {
			done, err = g.store.swap(ctx, k, seen, groupWrite{meta: value})
		} else {
			done, err = g.hang(ctx, k, seen, groupWrite{meta: value, mark: sinceNow()}, keep)
		}
		if err != nil || done {
			return Classify(op, err)
		}
	}
}

// Delete removes a group that has no members. Errors: messages.ErrNoGroup,
// messages.ErrGroupLive, and those of Classify.
func (g *Groups) Delete(ctx context.Context, k GroupKeys) error {
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
		return Classify("delete "+k.Meta+" at "+g.where, err)
	}
}

// etcdGroups is the groupStore of a client of etcd. Each request has its time.
type etcdGroups struct{ client *clientv3.Client }

func (e etcdGroups) Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	return timed(ctx, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) { return e.client.Grant(ctx, ttl) })
}

func (e etcdGroups) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	return timed(ctx, func(ctx context.Context) (*clientv3.LeaseKeepAliveResponse, error) {
		return e.client.KeepAliveOnce(ctx, id)
	})
}

func (e etcdGroups) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	return timed(ctx, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) { return e.client.Revoke(ctx, id) })
}

// timed asks once, and once more when the login had expired.
func timed[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	got, err := ask(ctx)
	if refused(err) {
		got, err = ask(ctx)
	}
	return got, err
}

func (e etcdGroups) read(ctx context.Context, groups []GroupKeys) ([]groupSeen, error) {
	var ops []clientv3.Op
	for _, k := range groups {
		ops = append(ops, clientv3.OpGet(k.Meta), clientv3.OpGet(k.Deserted),
			clientv3.OpGet(k.Members, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)))
	}
	resp, err := timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.client.Txn(ctx).Then(ops...).Commit()
	})
	if err != nil {
		return nil, err
	}
	seen := make([]groupSeen, len(groups))
	for i := range groups {
		at := func(n int) (kv KV, there bool) {
			if kvs := resp.Responses[3*i+n].GetResponseRange().GetKvs(); len(kvs) > 0 {
				return kvOf(kvs[0]), true
			}
			return KV{}, false
		}
		seen[i].meta, _ = at(0)
		seen[i].mark, _ = at(1)
		_, seen[i].members = at(2)
	}
	return seen, nil
}

func (e etcdGroups) swap(ctx context.Context, k GroupKeys, seen groupSeen, to groupWrite) (bool, error) {
	cmps := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(k.Meta), "=", seen.meta.ModRevision),
		clientv3.Compare(clientv3.ModRevision(k.Deserted), "=", seen.mark.ModRevision),
	}
	if to.nobody {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(k.Members), "=", 0).WithPrefix())
	}
	put := func(key string, value []byte) clientv3.Op {
		return clientv3.OpPut(key, string(value), clientv3.WithLease(to.lease))
	}
	ops := []clientv3.Op{clientv3.OpDelete(k.Meta), clientv3.OpDelete(k.Deserted)}
	if !to.gone {
		ops[0] = put(k.Meta, to.meta)
	}
	if to.mark != nil {
		ops[1] = put(k.Deserted, to.mark)
	}
	resp, err := timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	})
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}
