package main

// Users of etcd who may read and write little.

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
)

// guarded starts an etcd with users: root, and reader, who may read under
// /TestRights/dest/ and no more.
func guarded(t *testing.T) (endpoint string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// In a process of its own: with the race detector, passwords are slow.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	begin(t, nil, w, "serve", "--dir", t.TempDir(), "--listen", "127.0.0.1:0")
	w.Close()
	defer r.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	endpoint = strings.TrimPrefix(strings.TrimSpace(line), "ready http://")
	c, err := discovery.NewClient(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.UserAdd(ctx, "root", "rootword"))
	must(c.RoleAdd(ctx, "root"))
	must(c.UserGrantRole(ctx, "root", "root"))
	must(c.UserAdd(ctx, "reader", "hunter2"))
	must(c.RoleAdd(ctx, "reader"))
	must(c.RoleGrantPermission(ctx, "reader", "/TestRights/dest/", clientv3.GetPrefixRangeEnd("/TestRights/dest/"), clientv3.PermissionType(clientv3.PermRead)))
	must(c.UserGrantRole(ctx, "reader", "reader"))
	must(c.UserAdd(ctx, "narrow", "hunter2"))
	must(c.RoleAdd(ctx, "narrow"))
	for _, k := range [][2]string{
		{"/TestRights/dest/orders/", clientv3.GetPrefixRangeEnd("/TestRights/dest/orders/")},
		{"/TestRights/dest/invoices/groups/", clientv3.GetPrefixRangeEnd("/TestRights/dest/invoices/groups/")},
		{"/TestRights/topics/audit", ""},
	} {
		must(c.RoleGrantPermission(ctx, "narrow", k[0], k[1], clientv3.PermissionType(clientv3.PermRead)))
	}
	must(c.UserGrantRole(ctx, "narrow", "narrow"))
	must(c.AuthEnable(ctx))
	return endpoint
}

func TestRights(t *testing.T) {
	endpoint := guarded(t)
	env := map[string]string{"ETCDCTL_ENDPOINTS": endpoint, "PENSTOCK_PREFIX": "/TestRights", "ETCDCTL_USER": "reader", "ETCDCTL_PASSWORD": "hunter2"}
	for _, c := range []struct {
		args []string
		want cli.ExitCode
		says string
	}{
		{[]string{"ls"}, cli.ExitDone, "nothing to show"},
		{[]string{"ls", "--etcd-user", "reader:guesswork"}, cli.ExitDenied, "check user and password"},
		{[]string{"ls", "--prefix", "/other"}, cli.ExitDenied, "grant the user a role"},
		{[]string{"recv", "orders", "billing"}, cli.ExitDenied, "permission denied"},
		{[]string{"topic", "ls"}, cli.ExitDenied, "permission denied"},
		{[]string{"topic", "create", "audit"}, cli.ExitDenied, "permission denied"},
		{[]string{"doctor"}, cli.ExitFailed, "etcdctl role grant-permission"},
		{[]string{"doctor", "--etcd-user", "reader:guesswork"}, cli.ExitFailed, "check --etcd-user"},
		{[]string{"doctor", "--etcd-user", "root:rootword"}, cli.ExitDone, "put, get, transaction and delete"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), c.args, io.LimitReader(nil, 0), &out, &out, func(k string) string { return env[k] })
		if code != c.want || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: %d, want %d and %q: %s", c.args, code, c.want, c.says, out.String())
		}
		if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "guesswork") {
			t.Errorf("%v prints the password: %s", c.args, out.String())
		}
	}
}

// Promise: ls shows what its role may read, no more, and says what is missing.
func TestLsShowsWhatItMayRead(t *testing.T) {
	t.Parallel()
	endpoint := guarded(t)
	ctx := t.Context()
	c, err := discovery.NewClient(clientv3.Config{Endpoints: []string{endpoint}, Username: "root", Password: "rootword"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dest := range []string{"orders", "invoices", "secret"} {
		must(c.Put(ctx, keys.Space("/TestRights").Sender(dest, "s1"), ""))
		must(c.Put(ctx, keys.Space("/TestRights").GroupMeta(dest, "billing"), ""))
	}
	must(c.Put(ctx, keys.Space("/TestRights").Topic("audit"), "?"))
	must(c.Put(ctx, keys.Space("/TestRights").Topic("other"), "?"))
	env := map[string]string{"ETCDCTL_ENDPOINTS": endpoint, "PENSTOCK_PREFIX": "/TestRights", "ETCDCTL_PASSWORD": "hunter2"}
	for user, shown := range map[string]struct{ has, lacks []string }{
		"narrow": {
			[]string{"orders\n", "sender s1", "invoices\n", "group billing", "permission denied", "shown is /TestRights/dest/", "/TestRights/topics/audit does not decode"},
			[]string{"secret", "topics/other"},
		},
		"reader": {[]string{"orders\n", "invoices\n", "secret\n", "permission denied"}, []string{"audit"}},
	} {
		env["ETCDCTL_USER"] = user
		for _, args := range [][]string{{"ls"}, {"ls", "--json"}} {
			var out bytes.Buffer
			if code := run(t.Context(), args, io.LimitReader(nil, 0), &out, &out, func(k string) string { return env[k] }); code != cli.ExitDone {
				t.Errorf("%v as %s: %d: %s", args, user, code, out.String())
			}
			text := strings.ReplaceAll(strings.ReplaceAll(out.String(), `",`, "\n"), `"id": "s1`, "sender s1")
			if args[len(args)-1] == "--json" {
				text = strings.ReplaceAll(text, `"name": "billing`, "group billing")
			}
			for _, want := range shown.has {
				if !strings.Contains(text, want) {
					t.Errorf("%v as %s does not show %q:\n%s", args, user, want, text)
				}
			}
			for _, not := range shown.lacks {
				if strings.Contains(text, not) {
					t.Errorf("%v as %s shows %q:\n%s", args, user, not, text)
				}
			}
		}
	}
}
