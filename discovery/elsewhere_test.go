package discovery

// Endpoints that turn requests away are passed over: a learner of a cluster, and
// something that is no etcd at all.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/messages"
)

// member begins an etcd; it joins a cluster that others describe, or is one alone.
func member(t *testing.T, name, peer, client, cluster string) *embed.Etcd {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = name, t.TempDir(), "fatal", true
	at := func(host string) []url.URL { return []url.URL{{Scheme: "http", Host: host}} }
	cfg.ListenPeerUrls, cfg.ListenClientUrls = at(peer), at(client)
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = cfg.ListenPeerUrls, cfg.ListenClientUrls
	cfg.InitialCluster, cfg.ClusterState = name+"=http://"+peer, embed.ClusterStateFlagNew
	if cluster != "" {
		cfg.InitialCluster, cfg.ClusterState = cluster+","+cfg.InitialCluster, embed.ClusterStateFlagExisting
	}
	m, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// free returns addresses that nobody listens on.
func free(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// learner is a cluster of one voter and one learner; it answers their endpoints.
func learner(t *testing.T) (voter, learning string) {
	t.Helper()
	ctx := etcdtest.Context(t)
	at := free(t, 4)
	first := member(t, "voter", at[0], at[1], "")
	<-first.Server.ReadyNotify()
	c := connect(t, clientv3.Config{Endpoints: []string{at[1]}})
	if _, err := c.MemberAddAsLearner(ctx, []string{"http://" + at[2]}); err != nil {
		t.Fatal(err)
	}
	member(t, "learner", at[2], at[3], "voter=http://"+at[0])
	alone := connect(t, clientv3.Config{Endpoints: []string{at[3]}})
	for { // until it answers, what a learner answers
		if s, err := alone.Status(ctx, at[3]); err == nil && s.IsLearner {
			return at[1], at[3]
		}
		if err := retry.Sleep(ctx, 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// noEtcd is a server of gRPC that has no service.
func noEtcd(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-served })
	return l.Addr().String()
}

func TestEndpointsThatTurnRequestsAway(t *testing.T) {
	voter, learning := learner(t)
	for name, other := range map[string]string{"a learner": learning, "no etcd": noEtcd(t)} {
		t.Run(name, func(t *testing.T) {
			ctx, p := etcdtest.Context(t), etcdtest.Space(t)
			c := connect(t, clientv3.Config{Endpoints: []string{voter, other}})
			// While the client has reached none but the other, there is no elsewhere.
			for {
				_, err := c.Get(ctx, p)
				if err == nil {
					break
				}
				if !elsewhere(err) || ctx.Err() != nil {
					t.Fatalf("the first read: %v", err)
				}
			}
			for i := range 20 {
				key := fmt.Sprintf("%s%d", p, i)
				if _, err := c.Txn(ctx).Then(clientv3.OpPut(key, "v")).Commit(); err != nil {
					t.Fatalf("a transaction: %v", err)
				}
				if _, err := c.Get(ctx, key, clientv3.WithSerializable()); err != nil {
					t.Fatalf("a read of any member: %v", err)
				}
				lease, err := c.Grant(ctx, 60)
				if err != nil {
					t.Fatalf("a lease: %v", err)
				}
				if _, err := c.KeepAliveOnce(ctx, lease.ID); err != nil {
					t.Fatalf("a renewal: %v", err)
				}
				watching, cancel := context.WithTimeout(ctx, 5*time.Second)
				resp, open := <-c.Watch(watching, key, clientv3.WithRev(1))
				if cancel(); !open || resp.Err() != nil || len(resp.Events) != 1 {
					t.Fatalf("a watch: %t, %v", open, resp.Err())
				}
			}
			events := follow(t, c, p, WatchConfig{})
			if s := etcdtest.As[Snapshot](t, events); len(s.KVs) != 20 {
				t.Errorf("a watch of ours lists %d", len(s.KVs))
			}
			// And where there is nothing else.
			alone := connect(t, clientv3.Config{Endpoints: []string{other}})
			began := time.Now()
			_, _, err := List(ctx, alone, p)
			if !errors.Is(err, messages.ErrUnavailable) || !strings.Contains(err.Error(), "voting member") {
				t.Errorf("alone: %v", err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("alone it took %s", took)
			}
		})
	}
}
