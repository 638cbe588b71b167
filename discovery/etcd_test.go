package discovery

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/internal/stream"
)

// How etcd behaves where this package depends on it. When one of these fails
// after an upgrade, look for what relied on it.

func TestEtcdValueCompareOnAMissingKeyFails(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
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
		{"never", clientv3.Compare(clientv3.ModRevision(p+"k"), "<", 0), false},
	} {
		resp, err := c.Txn(ctx).If(cond.cmp).Commit()
		if err != nil || resp.Succeeded != cond.want {
			t.Errorf("%s: %v, %v", cond.name, resp.Succeeded, err)
		}
	}
	etcdtest.Put(t, c, p+"x", "v")
	resp, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(p).WithPrefix(), "=", 0)).Commit()
	if err != nil || resp.Succeeded {
		t.Error("somebody is under the prefix", err)
	}
}

func TestEtcdPutKeepsCreateRevision(t *testing.T) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	first := etcdtest.Put(t, c, p+"k", "1")
	etcdtest.Put(t, c, p+"k", "2", clientv3.WithLease(etcdtest.Grant(t, c)))
	kvs, _, err := List(etcdtest.Context(t), c, p)
	if err != nil || kvs[0].CreateRevision != first || kvs[0].ModRevision == first {
		t.Error(kvs, err)
	}
}

func TestEtcdRefusesDeleteAndCreateInOneTransaction(t *testing.T) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	etcdtest.Put(t, c, p+"k", "1")
	_, err := c.Txn(etcdtest.Context(t)).Then(clientv3.OpDelete(p+"k"), clientv3.OpPut(p+"k", "2")).Commit()
	if !errors.Is(err, rpctypes.ErrDuplicateKey) {
		t.Error(err)
	}
}

// A lease that runs out takes all its keys in one revision.
func TestEtcdExpiryIsOneRevision(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	events := follow(t, c, p, WatchConfig{})
	etcdtest.As[Snapshot](t, events)
	lease, err := c.Grant(ctx, 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Txn(ctx).Then(
		clientv3.OpPut(p+"a", "", clientv3.WithLease(lease.ID)), clientv3.OpPut(p+"b", "", clientv3.WithLease(lease.ID)), clientv3.OpPut(p+"c", "", clientv3.WithLease(lease.ID)),
	).Commit(); err != nil {
		t.Fatal(err)
	}
	etcdtest.As[Delta](t, events)
	if d := etcdtest.As[Delta](t, events); len(d.Deletes) != 3 {
		t.Error(show(d))
	}
}

// Why a stream watches from the revision of the list and not from the next: on a
// quiet etcd, nothing tells the latter from a dead stream.
func TestEtcdReportsNoProgressBeforeTheFirstRevision(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	rev := etcdtest.Put(t, c, p+"k", "v")
	for _, from := range []int64{rev + 1_000_000, rev} {
		s, err := stream.Open(ctx, c, time.Second, 2*etcdtest.Patience)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		changes, err := s.Watch(s.Context(), etcdtest.Patience, p, from, clientv3.WithPrefix())
		etcdtest.Must(t, err)
		heard, long := false, time.Second
		if from == rev {
			long = etcdtest.Patience
		}
		for end := time.After(long); !heard; {
			s.NotListened()
			etcdtest.Must(t, s.Beat())
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
