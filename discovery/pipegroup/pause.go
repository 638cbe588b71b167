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
		store.giveUp(ctx, lease.ID) // a pause that was written unheard ends with it
		return discovery.Classify("pause "+k.Meta+" at "+discovery.Where(client), err)
	case !resp.Succeeded:
		store.giveUp(ctx, lease.ID)
		return messages.ErrNoGroup
	}
	if was := resp.Responses[0].GetResponsePut().PrevKv; was != nil {
		store.giveUp(ctx, clientv3.LeaseID(was.Lease))
	}
	return nil
}

// Resume deletes the key of a pause, also of a group that KeepFor has ended meanwhile. Of
// a group that is not paused it changes nothing. Errors: messages.ErrNoGroup (neither the
// group nor a pause of it is there), and those of discovery.Classify.
func Resume(ctx context.Context, client *clientv3.Client, k Keys) error {
	end := clientv3.OpDelete(k.Paused, clientv3.WithPrevKV())
	resp, err := change(ctx, client, k, end, end)
	if err != nil {
		return discovery.Classify("resume "+k.Meta+" at "+discovery.Where(client), err)
	}
	ended := resp.Responses[0].GetResponseDeleteRange().PrevKvs
	if !resp.Succeeded && len(ended) == 0 {
		return messages.ErrNoGroup
	}
	for _, was := range ended {
		etcdGroups{client}.giveUp(ctx, clientv3.LeaseID(was.Lease))
	}
	return nil
}

// change does op if the group is there, and otherwise the others.
func change(ctx context.Context, client *clientv3.Client, k Keys, op clientv3.Op, otherwise ...clientv3.Op) (*clientv3.TxnResponse, error) {
	return timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		there := clientv3.Compare(clientv3.CreateRevision(k.Meta), ">", 0)
		return client.Txn(ctx).If(there).Then(op).Else(otherwise...).Commit()
	})
}

// giveUp revokes the lease of a pause, also when ctx has ended meanwhile: it may last for
// years. None is 0. One that etcd does not hear of ends by itself.
func (e etcdGroups) giveUp(ctx context.Context, id clientv3.LeaseID) {
	if id != clientv3.NoLease {
		_, _ = e.Revoke(context.WithoutCancel(ctx), id)
	}
}
