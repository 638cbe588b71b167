package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
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
	must(c.AuthEnable(ctx))
	return endpoint
}

func TestRights(t *testing.T) {
	endpoint := guarded(t)
	env := map[string]string{"ETCDCTL_ENDPOINTS": endpoint, "PENSTOCK_PREFIX": "/TestRights", "ETCDCTL_USER": "reader", "ETCDCTL_PASSWORD": "hunter2"}
	for _, c := range []struct {
		args []string
		want exitCode
		says string
	}{
		{[]string{"ls"}, exitDone, "nothing to show"},
		{[]string{"ls", "--etcd-user", "reader:guesswork"}, exitDenied, "check user and password"},
		{[]string{"ls", "--prefix", "/other"}, exitDenied, "grant the user a role"},
		{[]string{"recv", "orders", "billing"}, exitDenied, "permission denied"},
		{[]string{"topic", "ls"}, exitDenied, "permission denied"},
		{[]string{"topic", "create", "audit"}, exitDenied, "permission denied"},
		{[]string{"doctor"}, exitFailed, "etcdctl role grant-permission"},
		{[]string{"doctor", "--etcd-user", "reader:guesswork"}, exitFailed, "check --etcd-user"},
		{[]string{"doctor", "--etcd-user", "root:rootword"}, exitDone, "put, get and delete"},
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
