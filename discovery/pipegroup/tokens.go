package pipegroup

// Which generation the tokens of a destination's groups are to be of: a key for each group,
// which senders obey and no member can do without the senders.

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
)

// ForgetGeneration deletes the key of a group's generation, if there is no such group.
// Errors are those of discovery.Classify.
func ForgetGeneration(ctx context.Context, client *clientv3.Client, space keys.Space, dest, group string) error {
	key := space.Generation(dest, group)
	_, err := timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		gone := discovery.Absent(space.GroupMeta(dest, group)).Cmp()
		there := clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
		return client.Txn(ctx).If(gone, there).Then(clientv3.OpDelete(key)).Commit()
	})
	return discovery.Classify("delete "+key+" at "+discovery.Where(client), err)
}
