package discovery

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

func TestReads(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	if _, exists, err := Get(ctx, c, p+"one"); exists || err != nil {
		t.Fatalf("a key that is not there: %v, %v", exists, err)
	}
	lease, err := c.Grant(ctx, 60)
	etcdtest.Must(t, err)
	for key, value := range map[string]string{"one": "1", "many/a": "a", "many/b": "b", "many/c": "c"} {
		_, err := c.Put(ctx, p+key, value, clientv3.WithLease(lease.ID))
		etcdtest.Must(t, err)
	}
	kv, exists, err := Get(ctx, c, p+"one")
	if !exists || err != nil || string(kv.Value) != "1" || kv.Lease != lease.ID {
		t.Errorf("got %+v, %v, %v", kv, exists, err)
	}
	kvs, err := GetWith(ctx, c, p+"one", p+"many/", 2)
	if err != nil || len(kvs) != 3 || kvs[0].Key != p+"one" || kvs[2].Key != p+"many/b" {
		t.Errorf("got %+v, %v", kvs, err)
	}
	if kvs, err = GetWith(ctx, c, p+"other", p+"many/", 9); err != nil || len(kvs) != 3 || kvs[0].Key != p+"many/a" {
		t.Errorf("got %+v, %v", kvs, err)
	}
	if left, err := LeaseLeft(ctx, c, lease.ID); err != nil || left <= 50*time.Second || left > time.Minute {
		t.Errorf("%v left, %v", left, err)
	}
	_, err = c.Revoke(ctx, lease.ID)
	etcdtest.Must(t, err)
	if left, err := LeaseLeft(ctx, c, lease.ID); err != nil || left != 0 {
		t.Errorf("%v left of a lease that ended, %v", left, err)
	}
}

// Each guard lets a write through exactly while its condition holds.
func TestGuards(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	holds := func(g Guard) bool {
		t.Helper()
		resp, err := c.Txn(ctx).If(g.cmp).Commit()
		etcdtest.Must(t, err)
		return resp.Succeeded
	}
	key, prefix := p+"dir/a", p+"dir/"
	if !holds(Absent(key)) || !holds(AbsentUnder(prefix)) || holds(SameKey(key, 1)) {
		t.Error("guards of a key that is not there")
	}
	put, err := c.Put(ctx, key, "1")
	etcdtest.Must(t, err)
	_, err = c.Put(ctx, key, "2")
	etcdtest.Must(t, err)
	created := put.Header.Revision
	if holds(Absent(key)) || holds(AbsentUnder(prefix)) || !holds(SameKey(key, created)) || holds(SameKey(key, created+1)) {
		t.Error("guards of a key that was changed")
	}
	_, err = c.Delete(ctx, key)
	etcdtest.Must(t, err)
	_, err = c.Put(ctx, key, "1")
	etcdtest.Must(t, err)
	if holds(SameKey(key, created)) {
		t.Error("a key that was created again is not the same")
	}
}
