package etcdtest

// An etcd that asks who one is.

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// Users starts an etcd in which user "u", password "p", has perm on the keys below /ours/
// and on no others; user "root", password "r", may do everything. It returns how u reaches
// it. opts should make passwords cheap: hashing them is slow on purpose, and much slower
// under -race.
func Users(t *testing.T, perm clientv3.PermissionType, opts ...embedded.Option) clientv3.Config {
	t.Helper()
	ctx := Context(t)
	srv, err := embedded.Start(ctx, "", append(opts, embedded.UnsafeNoFsync())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	root, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "r"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "ours"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "ours", "/ours/", clientv3.GetPrefixRangeEnd("/ours/"), perm)
			return err
		},
		func() error { _, err := root.UserAdd(ctx, "u", "p"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "u", "ours"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		Must(t, do())
	}
	cfg := srv.Config()
	cfg.Username, cfg.Password = "u", "p"
	return cfg
}
