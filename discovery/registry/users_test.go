package registry

// Users of etcd: who may do less than keep all keys.

import (
	"errors"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/messages"
)

// cheap makes passwords quick to check.
var cheap = embedded.Tune(func(c *embed.Config) { c.BcryptCost = 4 })

// running makes a client's leases, and runs them until the test ends.
func running(t *testing.T, c *clientv3.Client) *lease.Leases {
	t.Helper()
	l := lease.NewLeases(c)
	etcdtest.Background(t, l.Run)
	return l
}

// A user with rights on a prefix only; and a login that ends in mid-life, which
// a client with a single attempt for each request leaves to us.
func TestUsers(t *testing.T) {
	ctx := etcdtest.Context(t)
	cfg := etcdtest.Users(t, clientv3.PermissionType(clientv3.PermReadWrite), cheap)
	c := connect(t, cfg)
	privileged := cfg
	privileged.Username, privileged.Password = "root", "r"
	admin := connect(t, privileged)
	nobody := cfg
	nobody.Username, nobody.Password = "", ""

	wrong := cfg
	wrong.Password = "no"
	if _, err := discovery.NewClient(wrong); !errors.Is(err, messages.ErrDenied) || strings.Contains(err.Error(), `"no"`) {
		t.Errorf("wrong password: %v", err)
	}
	if _, _, err := discovery.List(ctx, c, "/theirs/"); !errors.Is(err, messages.ErrDenied) {
		t.Errorf("list: %v", err)
	}
	if err := discovery.NewWatch(c, "/theirs/", discovery.WatchConfig{}).Run(ctx, func(discovery.WatchEvent) {}); !errors.Is(err, messages.ErrDenied) {
		t.Errorf("watch: %v", err)
	}
	if err := lease.NewSession(running(t, connect(t, nobody)), lease.Config{}).Run(ctx, func(lease.Event) {}); !errors.Is(err, messages.ErrDenied) {
		t.Errorf("a session without a user: %v", err)
	}
	r := New(c, Config{})
	if err := r.Put(ctx, plain("/theirs/k", "v")); !errors.Is(err, messages.ErrDenied) {
		t.Errorf("put: %v", err)
	}
	// A password set again, even the same, ends all logins.
	for _, do := range []func() error{
		func() error { return r.Put(ctx, plain("/ours/k", "1")) },
		func() error { _, _, err := discovery.List(ctx, c, "/ours/"); return err },
	} {
		_, err := admin.UserChangePassword(ctx, "u", "p")
		etcdtest.Must(t, err)
		etcdtest.Must(t, do())
	}
}
