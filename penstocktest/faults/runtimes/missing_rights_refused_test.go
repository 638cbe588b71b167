package runtimes_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: etcd roles are the authorization, and a refusal is an answer, not a
// wait: Start, Register and Join say ErrDenied while their contexts still run.
func TestRightsAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	ctx := harness.Context(t)
	srv := penstocktest.Etcd(t)
	root, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.RoleAdd(ctx, "root"))
	must(root.UserAdd(ctx, "root", "secret"))
	must(root.UserGrantRole(ctx, "root", "root"))
	must(root.RoleAdd(ctx, "orders"))
	for _, prefix := range []string{"/penstock/dest/orders/", "/penstock/secret/orders/"} {
		must(root.RoleGrantPermission(ctx, "orders", prefix, clientv3.GetPrefixRangeEnd(prefix),
			clientv3.PermissionType(clientv3.PermReadWrite)))
	}
	must(root.UserAdd(ctx, "service", "hush"))
	must(root.UserGrantRole(ctx, "service", "orders"))
	must(root.AuthEnable(ctx))
	t.Cleanup(func() {
		cfg := srv.Config()
		cfg.Username, cfg.Password = "root", "secret"
		c, err := clientv3.New(cfg)
		if err == nil {
			_, err = c.AuthDisable(context.Background())
			c.Close()
		}
		if err != nil {
			t.Log(err)
		}
	})

	denied := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, penstock.ErrDenied) {
			t.Errorf("%s: %v, want ErrDenied", what, err)
		}
	}
	wrong := srv.Config()
	wrong.Username, wrong.Password = "service", "guess"
	denied("start with a wrong password", harness.Within(t, 20*time.Second, "Start", func() error {
		_, err := penstock.Start(ctx, penstock.EtcdConfig(wrong))
		return err
	}))

	cfg := srv.Config()
	cfg.Username, cfg.Password = "service", "hush"
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(cfg), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Stop(ctx)
	denied("register elsewhere", harness.Within(t, 20*time.Second, "Register", func() error {
		_, err := rt.Register(ctx, "invoices")
		return err
	}))
	denied("join elsewhere", harness.Within(t, 20*time.Second, "Join", func() error {
		_, err := rt.Join(ctx, "invoices", "billing")
		return err
	}))
	orders := harness.Register(t, rt, "orders")
	l := harness.NewLedger()
	l.Handle(t, "member", harness.Join(t, rt, "orders", "billing"))
	harness.Send(t, orders, 0, 100)
	l.Await(t, "what was sent with the rights to", func(now harness.Tally) bool { return now.Distinct == 100 })
}
