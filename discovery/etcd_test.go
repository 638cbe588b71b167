package discovery

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// How etcd behaves where this package depends on it. When one of these fails
// after an upgrade, look for what relied on it.

func TestEtcdValueCompareOnAMissingKeyFails(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), space(t), testContext(t)
	for _, cond := range []struct {
		name string
		cmp  clientv3.Cmp
		want bool
	}{
		{"value =", clientv3.Compare(clientv3.Value(p+"k"), "=", "v"), false},
		{"value !=", clientv3.Compare(clientv3.Value(p+"k"), "!=", "v"), false},
		{"create = 0", clientv3.Compare(clientv3.CreateRevision(p+"k"), "=", 0), true},
		{"mod = 0", clientv3.Compare(clientv3.ModRevision(p+"k"), "=", 0), true},
		{"nobody under a prefix", clientv3.Compare(clientv3.CreateRevision(p).WithPrefix(), "=", 0), true},
		{"never", never(p + "k"), false},
	} {
		resp, err := c.Txn(ctx).If(cond.cmp).Commit()
		if err != nil || resp.Succeeded != cond.want {
			t.Errorf("%s: %v, %v", cond.name, resp.Succeeded, err)
		}
	}
	put(t, c, p+"x", "v")
	resp, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(p).WithPrefix(), "=", 0)).Commit()
	if err != nil || resp.Succeeded {
		t.Error("somebody is under the prefix", err)
	}
}

func TestEtcdPutKeepsCreateRevision(t *testing.T) {
	c, p := connect(t, shared.Config()), space(t)
	first := put(t, c, p+"k", "1")
	put(t, c, p+"k", "2", clientv3.WithLease(grant(t, c)))
	kvs, _, err := List(testContext(t), c, p)
	if err != nil || kvs[0].CreateRevision != first || kvs[0].ModRevision == first {
		t.Error(kvs, err)
	}
}

func TestEtcdRefusesDeleteAndCreateInOneTransaction(t *testing.T) {
	c, p := connect(t, shared.Config()), space(t)
	put(t, c, p+"k", "1")
	_, err := c.Txn(testContext(t)).Then(clientv3.OpDelete(p+"k"), clientv3.OpPut(p+"k", "2")).Commit()
	if !errors.Is(err, rpctypes.ErrDuplicateKey) {
		t.Error(err)
	}
}

func TestEtcdTransactionLimit(t *testing.T) {
	c, p := connect(t, shared.Config()), space(t)
	// A full batch fits: that many conditions, puts and reads.
	var batch txn
	wants := make([]want, MaxBatch)
	for i := range wants {
		wants[i] = want{Entry: Entry{Key: p + strings.Repeat("x", i+1), Value: []byte("v")}}
		batch.add(wants[i], seen{}, create)
	}
	if _, err := NewRegistry(c, RegistryConfig{}).commit(testContext(t), batch, wants); err != nil {
		t.Error(err)
	}
	for i := range 129 {
		batch.cmps = append(batch.cmps, never(p+strings.Repeat("y", i)))
	}
	_, err := NewRegistry(c, RegistryConfig{}).commit(testContext(t), batch, wants)
	if !errors.Is(err, rpctypes.ErrTooManyOps) {
		t.Error(err)
	}
}

// A lease that runs out takes all its keys in one revision.
func TestEtcdExpiryIsOneRevision(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), space(t), testContext(t)
	events := follow(t, c, p, WatchConfig{})
	as[Snapshot](t, events)
	lease, err := c.Grant(ctx, 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Txn(ctx).Then(
		clientv3.OpPut(p+"a", "", clientv3.WithLease(lease.ID)), clientv3.OpPut(p+"b", "", clientv3.WithLease(lease.ID)), clientv3.OpPut(p+"c", "", clientv3.WithLease(lease.ID)),
	).Commit(); err != nil {
		t.Fatal(err)
	}
	as[Delta](t, events)
	if d := as[Delta](t, events); len(d.Deletes) != 3 {
		t.Error(show(d))
	}
}

// Why a tail watches from the revision of the list and not from the next: on a
// quiet etcd, nothing tells the latter from a dead stream.
func TestEtcdReportsNoProgressBeforeTheFirstRevision(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), space(t), testContext(t)
	rev := put(t, c, p+"k", "v")
	for _, from := range []int64{rev + 1_000_000, rev} {
		tail, err := openTail(ctx, c, time.Second, 2*patience)
		if err != nil {
			t.Fatal(err)
		}
		defer tail.close()
		changes := tail.watch(tail.ctx, p, from, clientv3.WithPrefix())
		heard, long := false, time.Second
		if from == rev {
			long = patience
		}
		for end := time.After(long); !heard; {
			must(t, tail.ask(patience))
			select {
			case resp := <-changes:
				heard = resp.IsProgressNotify()
				continue
			case <-time.After(100 * time.Millisecond):
				continue
			case <-end:
			}
			break
		}
		if heard != (from == rev) {
			t.Errorf("from %d at %d: heard of progress is %v", from, rev, heard)
		}
	}
}
