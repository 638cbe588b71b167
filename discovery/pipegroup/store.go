package pipegroup

// What Groups asks of etcd: the keys of groups at one revision, and writes under the
// condition that a group stands as it was seen.

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
)

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

// timed asks within the default timeout.
func timed[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	return discovery.Ask(ctx, discovery.DefaultTimeout, ask)
}

func (e etcdGroups) read(ctx context.Context, groups []Keys) ([]groupSeen, error) {
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
		at := func(n int) (kv discovery.KV, there bool) {
			if kvs := resp.Responses[3*i+n].GetResponseRange().GetKvs(); len(kvs) > 0 {
				return discovery.KVOf(kvs[0]), true
			}
			return discovery.KV{}, false
		}
		seen[i].meta, _ = at(0)
		seen[i].mark, _ = at(1)
		_, seen[i].members = at(2)
	}
	return seen, nil
}

func (e etcdGroups) swap(ctx context.Context, k Keys, seen groupSeen, to groupWrite) (bool, error) {
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
	if to.gone {
		ops = append(ops, clientv3.OpDelete(k.Paused, clientv3.WithPrevKV()))
	} else {
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
	if resp.Succeeded && to.gone {
		for _, was := range resp.Responses[2].GetResponseDeleteRange().PrevKvs {
			e.giveUp(ctx, clientv3.LeaseID(was.Lease))
		}
	}
	return resp.Succeeded, nil
}

// groupStore is what etcd is to Groups.
type groupStore interface {
	lease.Client
	read(ctx context.Context, groups []Keys) ([]groupSeen, error)
	// swap writes if the group stands as seen, and reports whether it did.
	swap(ctx context.Context, k Keys, seen groupSeen, to groupWrite) (bool, error)
}

// groupWrite is what shall stand of a group, if it stands as seen.
type groupWrite struct {
	meta   []byte
	mark   []byte // nil: none
	lease  clientv3.LeaseID
	gone   bool // neither settings nor mark
	nobody bool // only while there is no member
}
