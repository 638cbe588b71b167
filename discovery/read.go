package discovery

// Reads of single keys and leases, outside of a Watch.

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Get reads a key, and reports whether it exists. The read is linearizable. It
// blocks until etcd answers or ctx ends; errors are those of Classify.
func Get(ctx context.Context, client *clientv3.Client, key string) (kv KV, exists bool, err error) {
	resp, err := client.Get(ctx, key)
	if err != nil {
		return KV{}, false, Classify("read "+key+" at "+Where(client), err)
	}
	if len(resp.Kvs) == 0 {
		return KV{}, false, nil
	}
	return kvOf(resp.Kvs[0]), true, nil
}

// GetWith reads a key and up to limit keys under a prefix, as of one revision:
// the key comes first if it exists. It blocks until etcd answers or ctx ends;
// errors are those of Classify.
func GetWith(ctx context.Context, client *clientv3.Client, key, prefix string, limit int64) ([]KV, error) {
	resp, err := client.Txn(ctx).Then(
		clientv3.OpGet(key), clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithLimit(limit)),
	).Commit()
	if err != nil {
		return nil, Classify("read "+key+" at "+Where(client), err)
	}
	var kvs []KV
	for _, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().GetKvs() {
			kvs = append(kvs, kvOf(kv))
		}
	}
	return kvs, nil
}

// LeaseLeft returns how long a lease lasts unless it is renewed, in whole seconds;
// 0 when it has ended. It blocks until etcd answers or ctx ends; errors are those
// of Classify.
func LeaseLeft(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) (time.Duration, error) {
	resp, err := client.TimeToLive(ctx, lease)
	if err != nil {
		return 0, Classify("ask how long its lease stands", err)
	}
	return time.Duration(max(resp.TTL, 0)) * time.Second, nil
}
