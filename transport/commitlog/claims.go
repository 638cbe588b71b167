package commitlog

// Owning partitions. A claim is a leased key; its CreateRevision is the fence
// that every commit compares. It is never put over another: a takeover deletes the
// old claim first, so that the old fence is void.

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// nestedInOne is how many partitions one request has at most, each in a nested
// transaction, so that each is refused alone.
const nestedInOne = 40

// Claimed is what became of the claim to one partition.
type Claimed struct {
	Partition int
	// Fence is the claim's CreateRevision; 0 when it is not ours.
	Fence int64
	// Offset is the next to be handled, -1 when nothing was ever committed.
	// Base is that of a batch at or before it. Both are as of the moment of the
	// claim.
	Offset, Base int64
	// Known is the ModRevision of the committed offset, 0 without one.
	Known int64
	// Progress is what is committed besides Offset.
	Progress format.Progress
	// Ungraceful: the owner before has ended without a release. That may have been an
	// earlier incarnation of this one, or a call with an unknown outcome.
	Ungraceful bool
	// Held is the claim of another member that stands in the way, or nil.
	Held *format.Holder
	// Err wraps messages.ErrCorrupt and names a key that cannot be read: with a
	// Fence the committed offset, else the claim in the way.
	Err error
}

// Claim takes partitions that no member has, under me.Lease, and reads in the same
// transaction where the group is in each. assignment is the ModRevision that the
// group's assignment must still have; 0 for a manual group. An existing claim of this
// very incarnation of the member counts as taken, so after an error the call can be
// made again. The results are in the order of partitions;
// with an error, those that are known. Errors: ErrRaced, messages.ErrTopicDeleted,
// ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace.
func (l *Log) Claim(ctx context.Context, me Me, assignment int64, partitions []int) ([]Claimed, error) {
	op := "claim partitions of " + me.group()
	if err := format.CheckPartitions(partitions, messages.MaxPartitions); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	guards := append(l.iAm(me), l.lives(me.Topic))
	if assignment != 0 {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(l.space.Assignment(me.Topic.ID, me.Group)), "=", assignment))
	}
	results := make([]Claimed, 0, len(partitions))
	err := inTurn(l.limits, nests, partitions, func(chunk []int) error {
		var ops []clientv3.Op
		for _, p := range chunk {
			key, committed := l.space.Claim(me.Topic.ID, me.Group, p), l.space.Committed(me.Topic.ID, me.Group, p)
			owned := l.space.Owned(me.Topic.ID, me.Group, p)
			value := format.Encode(&pb.Claim{Member: me.Member, MemberRevision: me.MemberRevision, Generation: me.Generation})
			ops = append(ops, clientv3.OpTxn(
				[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
				[]clientv3.Op{clientv3.OpGet(committed), exists(owned), clientv3.OpPut(key, value, clientv3.WithLease(me.Lease)), clientv3.OpPut(owned, value)},
				[]clientv3.Op{clientv3.OpGet(committed), clientv3.OpGet(key)}))
		}
		resp, err := l.do(ctx, op, guards, ops, l.whoAmI(me))
		if err == nil && !resp.Succeeded {
			err = me.overtaken(op, resp)
		}
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			err = fmt.Errorf("%s: %w: its lease is gone", op, ErrRaced)
		}
		if err != nil {
			return err
		}
		for i, p := range chunk {
			results = append(results, me.claimed(p, nested(resp, i), resp.Header.Revision))
		}
		return nil
	})
	if err != nil {
		return results, err
	}
	return results, l.whoIsGone(ctx, op, me, results)
}

// claimed reads the response about one partition.
func (me Me) claimed(p int, resp *clientv3.TxnResponse, revision int64) Claimed {
	c := Claimed{Partition: p, Fence: revision}
	if resp.Succeeded {
		c.Ungraceful = createRevision(ranged(resp, 1)) != 0
	} else {
		kv := ranged(resp, 1).Kvs[0]
		claim, err := format.ParseClaim(string(kv.Key), kv.Value)
		if err != nil || claim.Member != me.Member || claim.MemberRevision != me.MemberRevision {
			return Claimed{Partition: p, Offset: -1, Err: err, Held: &format.Holder{
				Member: claim.GetMember(), MemberRevision: claim.GetMemberRevision(), Revision: kv.CreateRevision, Generation: claim.GetGeneration(),
			}}
		}
		c.Fence = kv.CreateRevision
	}
	kvs := ranged(resp, 0).Kvs
	if c.Offset, c.Base, c.Progress, c.Err = committedIn(kvs); len(kvs) > 0 {
		c.Known = kvs[0].ModRevision
	}
	return c
}

// whoIsGone asks which of the members that stand in the way still are.
func (l *Log) whoIsGone(ctx context.Context, op string, me Me, results []Claimed) error {
	revisions := map[string]int64{}
	for _, c := range results {
		if c.Held != nil && c.Held.Member != "" {
			revisions[c.Held.Member] = 0
		}
	}
	var names []string
	for name := range revisions {
		names = append(names, name)
	}
	err := inTurn(l.limits, places, names, func(chunk []string) error {
		var ops []clientv3.Op
		for _, name := range chunk {
			ops = append(ops, exists(l.space.ConsumerMember(me.Topic.ID, me.Group, name)))
		}
		resp, err := l.do(ctx, op, nil, ops, nil)
		if err != nil {
			return err
		}
		for i, name := range chunk {
			revisions[name] = createRevision(ranged(resp, i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range results {
		if c.Held != nil && c.Held.Member != "" {
			c.Held.Gone = revisions[c.Held.Member] != c.Held.MemberRevision
		}
	}
	return nil
}

// Revoke takes the claim of h to partition p away, if it is still the one that
// h describes and either its member is gone or overdue says that its time to give
// the partition up is over. It reports whether it did; when it did not, another
// member may have.
// Errors: ErrRaced, messages.ErrUnavailable, ErrDenied.
func (l *Log) Revoke(ctx context.Context, me Me, p int, h format.Holder, overdue bool) (bool, error) {
	op := fmt.Sprintf("revoke partition %d of %s", p, me.group())
	if p < 0 || p >= messages.MaxPartitions {
		return false, fmt.Errorf("%s: %w", op, messages.ErrNoPartition)
	}
	if h.Revision <= 0 || h.Member == "" && !overdue {
		return false, nil
	}
	key := l.space.Claim(me.Topic.ID, me.Group, p)
	guards := append(l.iAm(me), clientv3.Compare(clientv3.CreateRevision(key), "=", h.Revision))
	if !overdue {
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(l.space.ConsumerMember(me.Topic.ID, me.Group, h.Member)), "!=", h.MemberRevision))
	}
	resp, err := l.do(ctx, op, guards, []clientv3.Op{clientv3.OpDelete(key)}, l.whoAmI(me))
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	if !me.found(resp) {
		return false, me.overtaken(op, resp)
	}
	return false, nil
}

// Bury removes the key of another member whose process has ended, if it still is the one
// that was created at that revision, and reports whether it did. Its claims are free to
// be revoked then, and one who lives all the same is fenced: it finds its key gone, and
// its claims. Errors: ErrRaced, messages.ErrUnavailable, ErrDenied.
func (l *Log) Bury(ctx context.Context, me Me, member string, revision int64) (bool, error) {
	op := fmt.Sprintf("remove member %s, whose process has ended, from %s", member, me.group())
	key := l.space.ConsumerMember(me.Topic.ID, me.Group, member)
	guards := append(l.iAm(me), clientv3.Compare(clientv3.CreateRevision(key), "=", revision))
	if revision <= 0 || member == me.Member {
		return false, nil
	}
	resp, err := l.do(ctx, op, guards, []clientv3.Op{clientv3.OpDelete(key)}, l.whoAmI(me))
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	if !me.found(resp) {
		return false, me.overtaken(op, resp)
	}
	return false, nil
}

// nested is the i-th operation of a transaction, a transaction itself.
func nested(resp *clientv3.TxnResponse, i int) *clientv3.TxnResponse {
	return (*clientv3.TxnResponse)(resp.Responses[i].GetResponseTxn())
}

// committedIn is what a range over a committed offset has found; -1 for nothing.
func committedIn(kvs []*mvccpb.KeyValue) (offset, base int64, progress format.Progress, err error) {
	if len(kvs) == 0 {
		return -1, 0, progress, nil
	}
	c, err := format.ParseCommitted(string(kvs[0].Key), kvs[0].Value)
	if err != nil {
		return -1, 0, progress, err
	}
	progress, _ = format.ProgressOf(c)
	return c.Offset, c.Base, progress, nil
}
