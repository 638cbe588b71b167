package registry

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

// What keeping costs when there are many keys, and what is heard of them.

// around has every unary call of a client pass through f.
func around(cfg clientv3.Config, f grpc.UnaryClientInterceptor) clientv3.Config {
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainUnaryInterceptor(f))
	return cfg
}

func TestRegistryManyKeys(t *testing.T) {
	var requests atomic.Int64
	counting := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		requests.Add(1)
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	r, events := keep(t, connect(t, around(shared.Config(), counting)),
		Config{Audit: time.Hour, Collections: []string{p + "dest/", p + "secret/"}})
	r.SetLease(etcdtest.Grant(t, c))
	key := func(i int) string { return fmt.Sprintf("%s%s/%04d", p, []string{"dest", "secret"}[i%2], i) }
	const many = 2000
	for from := 0; from < many; from += MaxBatch {
		var batch []Entry
		for i := from; i < from+MaxBatch; i++ {
			batch = append(batch, leased(key(i), "v"))
		}
		etcdtest.Must(t, r.PutAll(ctx, batch))
	}
	back := func(i int) time.Duration {
		t.Helper()
		began := time.Now()
		etcdtest.Del(t, c, key(i))
		if got := etcdtest.As[PutBack](t, events); got.Key != key(i) || got.Why != Deleted {
			t.Fatalf("%+v", got)
		}
		return time.Since(began)
	}
	// One of each collection: both are watched by then.
	back(0)
	back(1)

	// What met something on its way is made again, so the least of some counts.
	least := int64(math.MaxInt64)
	for i := range int64(5) {
		before := requests.Load()
		took := back(int(700 + i))
		t.Logf("of %d keys, one was back after %v", many, took)
		if took > 5*time.Second { // by the watch: an audit would come in an hour
			t.Errorf("a key came back after %v", took)
		}
		least = min(least, requests.Load()-before)
	}
	if least > 4 {
		t.Errorf("%d requests to put one key back", least)
	}

	before := requests.Load()
	etcdtest.Must(t, r.Put(ctx, leased(p+"dest/new", "v")))
	etcdtest.Must(t, r.Put(ctx, leased(p+"dest/new", "w")))
	etcdtest.Must(t, r.Remove(ctx, p+"dest/new"))
	etcdtest.Must(t, r.Remove(ctx, key(5)))
	// What those set off would have come before this.
	back(778)
	if n := requests.Load() - before; n > 12 { // 4+2, and what met something on its way and was made again
		t.Errorf("%d requests for two Puts, two Removes and a key put back", n)
	}
	if etcdtest.Value(t, c, key(5)) != "" {
		t.Error("a removed key is there")
	}

	// All at once, as one who clears the prefix does.
	if _, err := c.Delete(ctx, p, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	for range many - 1 {
		etcdtest.As[PutBack](t, events)
	}
}

// A key that is deleted after etcd wrote it and before Put heard so.
func TestRegistryDeletedDuringPut(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	var r *Registry
	var once sync.Once
	meddle := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if txn, ok := req.(*etcdserverpb.TxnRequest); !ok || err != nil || len(txn.Success) != 1 || string(txn.Success[0].GetRequestPut().GetKey()) != p+"b" {
			return err
		}
		once.Do(func() {
			resp, derr := c.Delete(ctx, p+"b")
			if derr != nil || resp.Deleted != 1 {
				t.Errorf("%v, %v", resp, derr)
				return
			}
			etcdtest.Eventually(t, "the registry hears of it", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.writing[p+"b"] == resp.Header.Revision
			})
		})
		return err
	}
	r, events := keep(t, connect(t, around(shared.Config(), meddle)), Config{Audit: time.Hour, Timeout: etcdtest.Patience})
	r.SetLease(etcdtest.Grant(t, c))
	etcdtest.Must(t, r.Put(ctx, leased(p+"a", "1")))
	etcdtest.Del(t, c, p+"a")
	etcdtest.As[PutBack](t, events) // it watches
	etcdtest.Must(t, r.Put(ctx, leased(p+"b", "1")))
	if got := etcdtest.As[PutBack](t, events); got.Key != p+"b" || got.Why != Deleted {
		t.Fatalf("%+v", got)
	}
	if etcdtest.Value(t, c, p+"b") != "1" {
		t.Error("it is not back")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.writing) != 0 {
		t.Errorf("still writing %v", r.writing)
	}
}

// Keys that no collection covers come back with an audit.
func TestRegistryWithoutCollection(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	r, events := keep(t, c, Config{Audit: 300 * time.Millisecond, Collections: []string{p + "other/"}})
	r.SetLease(etcdtest.Grant(t, c))
	etcdtest.Must(t, r.Put(ctx, leased(p+"a", "1")))
	for range 2 {
		etcdtest.Del(t, c, p+"a")
		if got := etcdtest.As[PutBack](t, events); got.Key != p+"a" || got.Why != Deleted {
			t.Fatalf("%+v", got)
		}
	}
}

// Who may not read a whole collection hears of its own keys all the same.
func TestRegistryNarrowRights(t *testing.T) {
	ctx := etcdtest.Context(t)
	cheap := embedded.Tune(func(c *embed.Config) { c.BcryptCost = 4 })
	srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), cheap)
	etcdtest.Must(t, err)
	t.Cleanup(func() { srv.Close() })
	root := connect(t, srv.Config())
	allow := func(key string) func() error {
		return func() error {
			_, err := root.RoleGrantPermission(ctx, "orders", key, clientv3.GetPrefixRangeEnd(key), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		}
	}
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "r"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "orders"); return err },
		allow("/p/dest/orders/"), allow("/p/secret/orders/"),
		func() error { _, err := root.UserAdd(ctx, "u", "p"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "u", "orders"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		etcdtest.Must(t, do())
	}
	cfg := srv.Config()
	cfg.Username, cfg.Password = "root", "r"
	admin := connect(t, cfg)
	cfg.Username, cfg.Password = "u", "p"
	r, events := keep(t, connect(t, cfg), Config{
		Audit: time.Hour, Progress: 200 * time.Millisecond, Collections: []string{"/p/dest/", "/p/secret/"},
	})
	r.SetLease(etcdtest.Grant(t, admin))
	keys := []string{"/p/dest/orders/senders/a", "/p/secret/orders/a", "/p/dest/orders/senders/b"}
	check := func() {
		t.Helper()
		for _, key := range keys {
			etcdtest.Del(t, admin, key)
			got := events.Next(t, "put back or delay", func(e Event) bool { return true })
			if back, ok := got.(PutBack); !ok || back.Key != key {
				t.Fatalf("%s: %+v", key, got)
			}
		}
	}
	for _, key := range keys {
		etcdtest.Must(t, r.Put(ctx, leased(key, "v")))
	}
	check()
	// All go, others come: the stream holds.
	etcdtest.Must(t, r.Remove(ctx, keys...))
	keys = []string{"/p/dest/orders/senders/c", "/p/dest/orders/senders/d"}
	for _, key := range keys {
		etcdtest.Must(t, r.Put(ctx, leased(key, "v")))
	}
	check()
	etcdtest.Must(t, r.Remove(ctx, keys[1]))
	keys = keys[:1]
	check()
}

func TestCoverage(t *testing.T) {
	gs := newCoverage([]string{"/a/", "/a/b/", "/c/", "/a/"})
	for key, want := range map[string]string{"/a/x": "/a/", "/a/b/x": "/a/b/", "/c/": "/c/", "/a": "", "/d/x": ""} {
		got := ""
		if g := gs.of(key); g != nil {
			got = g.prefix
		}
		if got != want {
			t.Errorf("%s is in %q, want %q", key, got, want)
		}
	}
	if len(gs) != 3 {
		t.Errorf("%d collections", len(gs))
	}
	// The first look counts, until nothing is there.
	g := gs.of("/c/x")
	g.keys = 2
	g.look(7)
	g.look(9)
	if g.leave(); g.from != 7 {
		t.Errorf("from %d", g.from)
	}
	if g.leave(); g.from != 0 {
		t.Errorf("empty, from %d", g.from)
	}
	(*collection)(nil).look(1)
}

func TestEarlier(t *testing.T) {
	was := [][]byte{[]byte("1")}
	if got := earlier(was, []byte("1")); len(got) != 1 {
		t.Errorf("the same value again: %q", got)
	}
	if got := earlier(was, []byte("2")); len(got) != 2 || len(was) != 1 {
		t.Errorf("another value: %q", got)
	}
}
