package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

func TestZZ(t *testing.T) {
	srv := penstocktest.Etcd(t)
	root := srv.Client(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.RoleAdd(ctx, "root"))
	must(root.UserAdd(ctx, "root", "secret"))
	must(root.UserGrantRole(ctx, "root", "root"))
	grant := func(role string, kind clientv3.PermissionType, prefixes ...string) {
		for _, p := range prefixes {
			end := clientv3.GetPrefixRangeEnd(p)
			if p[len(p)-1] != '/' {
				end = ""
			}
			_, err := root.RoleGrantPermission(ctx, role, "/penstock/"+p, map[bool]string{true: clientv3.GetPrefixRangeEnd("/penstock/" + p), false: ""}[end != ""], kind)
			must(nil, err)
		}
	}
	rw, r := clientv3.PermissionType(clientv3.PermReadWrite), clientv3.PermissionType(clientv3.PermRead)
	for _, role := range []string{"admin", "producer", "consumer", "lister", "narrowp", "narrowc"} {
		must(root.RoleAdd(ctx, role))
		must(root.UserAdd(ctx, role, role))
		must(root.UserGrantRole(ctx, role, role))
	}
	grant("admin", rw, "topics/", "deleting/", "log/", "groups/", "offsets/")
	grant("producer", r, "topics/")
	grant("producer", rw, "log/")
	grant("consumer", r, "topics/", "log/")
	grant("consumer", rw, "groups/", "offsets/")
	grant("lister", r, "topics/", "log/", "groups/", "offsets/")
	must(root.AuthEnable(ctx))
	rootc := srv.Config()
	rootc.Username, rootc.Password = "root", "secret"
	root, err := clientv3.New(rootc)
	must(nil, err)
	defer root.AuthDisable(context.Background())
	start := func(who string) *penstock.Runtime {
		cfg := srv.Config()
		cfg.Username, cfg.Password = who, who
		rt, err := penstock.Start(ctx, penstock.EtcdConfig(cfg), penstock.Logger(slog.New(slog.NewTextHandler(os.Stdout, nil)).With("who", who)))
		if err != nil {
			t.Fatal(who, err)
		}
		return rt
	}
	admin := start("admin")
	tp, err := admin.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 2})
	must(tp, err)
	id := tp.Info().ID
	fmt.Println(admin.UpdateTopic(ctx, "audit", penstock.TopicUpdate{Partitions: 200}))
	grant("narrowp", r, "topics/audit")
	grant("narrowp", rw, "log/"+id+"/")
	grant("narrowc", r, "topics/audit", "log/"+id+"/")
	grant("narrowc", rw, "groups/"+id+"/", "offsets/"+id+"/")
	for _, who := range []string{"producer", "narrowp"} {
		rt := start(who)
		tp, err := rt.Topic(ctx, "audit")
		must(tp, err)
		_, _, err = tp.Put(ctx, penstock.Message{Value: []byte("x")})
		fmt.Println(who, "put:", err)
		for i := range 1000 {
			if err := tp.PutAsync(ctx, penstock.Message{Value: fmt.Append(nil, i)}, nil); err != nil {
				t.Error(err)
			}
		}
		fmt.Println(who, tp.Flush(ctx), rt.Stop(ctx))
	}
	for _, who := range []string{"consumer", "narrowc"} {
		rt := start(who)
		tp, err := rt.Topic(ctx, "audit")
		must(tp, err)
		sub, err := tp.Subscribe(ctx, "g-"+who)
		must(sub, err)
		n := 0
		for _, err := range sub.Records(ctx) {
			if err != nil {
				t.Fatal(who, err)
			}
			if n++; n == 2002 {
				break
			}
		}
		l, err := sub.Lag(ctx)
		fmt.Println(who, n, l.Lag, err, sub.Unsubscribe(ctx))
		_, err = rt.ResetOffsets(ctx, "audit", "g-"+who, penstock.FromEarliest())
		fmt.Println(who, "reset", err)
		_, err = rt.DescribeTopic(ctx, "audit")
		fmt.Println(who, "describe", err, rt.Stop(ctx))
	}
	l := start("lister")
	_, err = l.DescribeTopic(ctx, "audit")
	_, err2 := l.ListTopics(ctx)
	fmt.Println("lister", err, err2, l.Stop(ctx))
	fmt.Println("delete", admin.DeleteTopic(ctx, "audit"), admin.Stop(ctx))
}
