package discovery

// Reading: a key, a lease, and a prefix, all of it at one revision.

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// KV is a key as it stands in etcd. Its Value is shared with whoever else got
// it from this package: read it, do not change it.
type KV struct {
	Key            string
	Value          []byte
	CreateRevision int64 // changes only when the key is deleted and created again
	ModRevision    int64
	Lease          clientv3.LeaseID // 0: none
}

// KVOf makes a KV of what etcd's client returns.
func KVOf(kv *mvccpb.KeyValue) KV {
	return KV{
		Key: string(kv.Key), Value: kv.Value,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
		Lease: clientv3.LeaseID(kv.Lease),
	}
}

func compareKeys(a, b KV) int { return cmp.Compare(a.Key, b.Key) }

// listing is a prefix at one revision, sorted by key.
type listing struct {
	cluster  uint64
	revision int64
	kvs      []KV
}

// List reads every key under prefix, sorted, as of one revision, which it
// returns too. The read is linearizable. It blocks until etcd answers or ctx
// ends; errors are those of Classify. It holds everything in memory and is
// meant for registries, not for logs.
func List(ctx context.Context, client *clientv3.Client, prefix string) ([]KV, int64, error) {
	l, err := list(ctx, client, prefix, defaultPage, DefaultTimeout)
	return l.kvs, l.revision, err
}

// DefaultTimeout bounds a request to etcd where nothing else is said.
const DefaultTimeout = 5 * time.Second

const (
	defaultPage = 500
	// relists bounds how often a list starts from the beginning because compaction took its
	// revision away between two pages.
	relists = 5
)

// list reads page keys at a time, each page within timeout.
func list(ctx context.Context, client *clientv3.Client, prefix string, page int64, timeout time.Duration) (listing, error) {
	return listRange(ctx, client, prefix, clientv3.GetPrefixRangeEnd(prefix), page, timeout)
}

// listRange is list of the keys from one to before end; without end, of one key.
func listRange(ctx context.Context, client *clientv3.Client, from, end string, page int64, timeout time.Duration) (listing, error) {
	var l listing
	var err error
	for range relists {
		l, err = listOnce(ctx, client, from, end, page, timeout)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			break
		}
	}
	return l, Classify("list "+from+" at "+Where(client), err)
}

// OverLimit reports whether a request ran into a limit of etcd: half of it may
// not.
func OverLimit(err error) bool {
	var limit *messages.LimitError
	return errors.As(Classify("", err), &limit)
}

func listOnce(ctx context.Context, client *clientv3.Client, from, end string, page int64, timeout time.Duration) (listing, error) {
	var l listing
	for {
		opts := []clientv3.OpOption{clientv3.WithLimit(page)}
		if end != "" {
			opts = append(opts, clientv3.WithRange(end))
		}
		if l.revision != 0 {
			opts = append(opts, clientv3.WithRev(l.revision))
		}
		resp, err := get(ctx, client, from, timeout, opts...)
		if OverLimit(err) && page > 1 {
			page /= 2
			continue
		}
		if err != nil {
			return listing{}, err
		}
		if l.revision == 0 {
			l.cluster, l.revision = resp.Header.ClusterId, resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			l.kvs = append(l.kvs, KVOf(kv))
		}
		if !resp.More || len(resp.Kvs) == 0 {
			slices.SortFunc(l.kvs, compareKeys)
			return l, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func get(ctx context.Context, client *clientv3.Client, key string, timeout time.Duration, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return Ask(ctx, timeout, func(ctx context.Context) (*clientv3.GetResponse, error) { return client.Get(ctx, key, opts...) })
}

// Ask asks once, and once more when the login had expired, both within timeout.
func Ask[T any](ctx context.Context, timeout time.Duration, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	got, err := ask(ctx)
	if LoginExpired(err) {
		got, err = ask(ctx)
	}
	return got, err
}

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
	return KVOf(resp.Kvs[0]), true, nil
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
			kvs = append(kvs, KVOf(kv))
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
