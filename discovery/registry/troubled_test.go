package registry

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/messages"
)

// A key that etcd refuses holds up no other, and is told.
func TestRegistryOneBadKey(t *testing.T) {
	ctx := etcdtest.Context(t)
	cheap := embedded.Tune(func(c *embed.Config) { c.BcryptCost = 4 })
	srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), cheap)
	etcdtest.Must(t, err)
	t.Cleanup(func() { srv.Close() })
	root := connect(t, srv.Config())
	allow := func(c *clientv3.Client, key string) func() error {
		return func() error {
			_, err := c.RoleGrantPermission(ctx, "orders", key, clientv3.GetPrefixRangeEnd(key), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		}
	}
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "r"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "orders"); return err },
		allow(root, "/p/a/"), allow(root, "/p/b/"),
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
		Audit: time.Hour, Progress: 200 * time.Millisecond, Collections: []string{"/p/"},
	})
	r.SetLease(etcdtest.Grant(t, admin))
	keys := []string{"/p/a/1", "/p/a/2", "/p/b/1", "/p/a/3"}
	for _, key := range keys {
		etcdtest.Must(t, r.Put(ctx, leased(key, "v")))
	}
	// What was refused was not written: nobody looks for it.
	if err := r.Put(ctx, leased("/p/other/1", "v")); !errors.Is(err, messages.ErrDenied) {
		t.Fatalf("a key without rights: %v", err)
	}
	r.mu.Lock()
	if len(r.stray) > 0 {
		t.Errorf("astray: %v", r.stray)
	}
	r.mu.Unlock()
	// A kept key loses its rights, and the lease is another one.
	_, err = admin.RoleRevokePermission(ctx, "orders", "/p/b/", clientv3.GetPrefixRangeEnd("/p/b/"))
	etcdtest.Must(t, err)
	r.SetLease(etcdtest.Grant(t, admin))
	back, troubled := map[string]bool{}, 0
	for len(back) < 3 || troubled < 1 {
		switch e := events.Next(t, "put back or trouble", func(Event) bool { return true }).(type) {
		case PutBack:
			back[e.Key] = true
		case Troubled:
			troubled++
			if e.Key != "/p/b/1" || !errors.Is(e.Err, messages.ErrDenied) {
				t.Fatalf("%+v", e)
			}
		}
	}
	if s := r.Stats(); s.Keys != 4 || s.Troubled != 1 || s.Refusals == 0 {
		t.Errorf("%+v", s)
	}
	etcdtest.Must(t, allow(admin, "/p/b/")())
	events.Next(t, "the last one", func(e Event) bool { b, ok := e.(PutBack); return ok && b.Key == "/p/b/1" })
	etcdtest.Eventually(t, "no trouble is left", func() bool { return r.Stats().Troubled == 0 })
}
