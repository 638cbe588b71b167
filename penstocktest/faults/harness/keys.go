package harness

// What etcd holds, past the runtimes.

import (
	"context"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Client is a client of the package's etcd, closed with t.
func Client(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(Etcd.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// UntilKeys waits until the keys under prefix are as wanted, or ctx ends.
func UntilKeys(ctx context.Context, c *clientv3.Client, prefix string, wanted func([]string) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		resp, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			continue
		}
		var keys []string
		for _, kv := range resp.Kvs {
			keys = append(keys, string(kv.Key))
		}
		if wanted(keys) {
			return nil
		}
		// The next change, or another list where the watch is lost.
		watching, stop := context.WithTimeout(ctx, time.Second)
		<-c.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision+1))
		stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// AwaitKeys is UntilKeys for a test, which fails in the end; what names what is
// waited for.
func AwaitKeys(t *testing.T, c *clientv3.Client, prefix, what string, wanted func([]string) bool) {
	t.Helper()
	var last []string
	err := UntilKeys(Context(t), c, prefix, func(keys []string) bool {
		last = keys
		return wanted(keys)
	})
	if err != nil {
		t.Fatalf("%s: %v; the keys are %q", what, err, last)
	}
}

// Exactly reports whether the keys are those of want, in that order.
func Exactly(want []string) func([]string) bool {
	return func(keys []string) bool { return slices.Equal(keys, want) }
}

// OverwriteKey puts a key behind everybody's back.
func OverwriteKey(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(Context(t), key, value); err != nil {
		t.Fatal(err)
	}
}

// RemoveKey deletes a key behind everybody's back. It must exist.
func RemoveKey(t *testing.T, c *clientv3.Client, key string) {
	t.Helper()
	resp, err := c.Delete(Context(t), key)
	if err != nil || resp.Deleted != 1 {
		t.Fatalf("delete %s: %+v, %v", key, resp, err)
	}
}
