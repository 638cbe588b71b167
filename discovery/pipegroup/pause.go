package pipegroup

// Pausing a group: a key under a lease of the pause's length, so that etcd ends it.

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
)

// Pause writes the key of a pause until then, over one that is there. etcd counts from
// now, in whole seconds, rounded up. Errors: messages.ErrInvalid (until is not in the
// future), ErrNoGroup, and those of discovery.Classify.
func Pause(ctx context.Context, client *clientv3.Client, k Keys, until time.Time) error {
	ttl, err := messages.PauseSeconds(until, time.Now())
	if err != nil {
		return err
	}
	store := etcdGroups{client}
	lease, err := store.Grant(ctx, ttl)
	if err != nil {
		return discovery.Classify("pause "+k.Meta+" at "+discovery.Where(client), err)
	}
	resp, err := change(ctx, client, k, clientv3.OpPut(k.Paused, messages.PauseValue(until), clientv3.WithLease(lease.ID), clientv3.WithPrevKV()))
	switch {
	case err != nil:
		return discovery.Classify("pause "+k.Meta+" at "+discovery.Where(client), err)
	case !resp.Succeeded:
		_, _ = store.Revoke(ctx, lease.ID) // it ends by itself, later
		return messages.ErrNoGroup
	}
	if was := resp.Responses[0].GetResponsePut().PrevKv; was != nil && was.Lease != 0 {
		_, _ = store.Revoke(ctx, clientv3.LeaseID(was.Lease))
	}
	return nil
}

// Resume deletes the key of a pause. Of a group that is not paused it changes nothing.
// Errors: messages.ErrNoGroup, and those of discovery.Classify.
func Resume(ctx context.Context, client *clientv3.Client, k Keys) error {
	resp, err := change(ctx, client, k, clientv3.OpDelete(k.Paused, clientv3.WithPrevKV()))
	switch {
	case err != nil:
		return discovery.Classify("resume "+k.Meta+" at "+discovery.Where(client), err)
	case !resp.Succeeded:
		return messages.ErrNoGroup
	}
	for _, was := range resp.Responses[0].GetResponseDeleteRange().PrevKvs {
		if was.Lease != 0 {
			_, _ = etcdGroups{client}.Revoke(ctx, clientv3.LeaseID(was.Lease))
		}
	}
	return nil
}

// change does op if the group is there.
func change(ctx context.Context, client *clientv3.Client, k Keys, op clientv3.Op) (*clientv3.TxnResponse, error) {
	return timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(k.Meta), ">", 0)).Then(op).Commit()
	})
}
