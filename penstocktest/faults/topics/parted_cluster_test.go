package topics_test

// A member of a cluster of three etcds is cut off from the others, and still talks
// with its clients. Promise: who knows of all three continues; who knows of
// that one says so and continues when it is back; nobody loses, doubles or reads
// what is not so, and nobody commits what is another's.

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// parted is a member of a cluster that is told on stdin to "part" from the
// others, and to "join" them again.
func (s childSpec) parted() error {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = s.Name, s.Dir
	at := func(host string) []url.URL { return []url.URL{{Scheme: "http", Host: host}} }
	cfg.ListenPeerUrls, cfg.ListenClientUrls = at(s.Peer), at(s.Client)
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = cfg.ListenPeerUrls, cfg.ListenClientUrls
	cfg.InitialCluster, cfg.InitialClusterToken = s.Cluster, "penstock-parted"
	cfg.UnsafeNoFsync, cfg.EnableGRPCGateway = true, false
	cfg.LogLevel = "fatal"
	m, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	<-m.Server.ReadyNotify()
	tell("ready")
	for order := range orders() {
		for _, peer := range m.Server.Cluster().Members() {
			switch {
			case peer.ID == m.Server.MemberID():
			case order == "part":
				m.Server.CutPeer(peer.ID)
			case order == "join":
				m.Server.MendPeer(peer.ID)
			}
		}
	}
	return nil // the end of the process is that of etcd, too
}

func (c *cluster) config(members ...int) clientv3.Config {
	cfg := clientv3.Config{DialTimeout: 5 * time.Second}
	for _, i := range members {
		cfg.Endpoints = append(cfg.Endpoints, c.endpoints[i])
	}
	return cfg
}

func TestClusterParted(t *testing.T) {
	for _, what := range []string{"follower", "leader"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, roleParted)
			away := leaderOf(t, c.endpoints)
			if what == "follower" {
				away = (away + 1) % 3
			}
			ns, acct, all := penstocktest.Space(t), newAccount(), penstock.EtcdConfig(c.config(0, 1, 2))
			producer, consumer := harness.Runtime(t, ns, all, penstock.LeaseTTL(time.Minute)), harness.Runtime(t, ns, all, penstock.LeaseTTL(time.Minute))
			// Knows of that member alone, and its lease ends while that is away.
			lonely := harness.Runtime(t, ns, penstock.EtcdConfig(c.config(away)), penstock.LeaseTTL(2*time.Second))
			topic := makeTopic(t, producer, theTopic, 4)
			var subs []*penstock.Subscription
			for who, rt := range map[string]*penstock.Runtime{"consumer": consumer, "lonely": lonely} {
				s := subscribe(t, openTopic(t, rt, theTopic), theGroup, penstock.CommitEvery(100*time.Millisecond))
				acct.consume(t, who, s)
				subs = append(subs, s)
			}
			loads := []*load{acct.load(t, topic, 0), acct.load(t, openTopic(t, lonely, theTopic), apart)}
			acct.flows(t, "consumer", 100)
			acct.flows(t, "lonely", 100)

			c.members[away].tell(t, "part")
			acct.flows(t, "consumer", 200)
			untilOwned(t, producer, 1)
			loads[0].stop(t)
			// A third of what is asked is asked of the member that is away.
			began := time.Now()
			for i := range 30 {
				acct.put(t, topic, 2*apart+i, 2*apart+i+1)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("30 puts took %v", took)
			}

			c.members[away].tell(t, "join")
			acct.flows(t, "lonely", 100)
			untilOwned(t, producer, 2)
			loads[1].stop(t)
			acct.settle(t, producer, theTopic, "lonely")
			for _, s := range subs {
				unsubscribe(t, s)
			}
			caughtUp(t, producer, theTopic, theGroup)
			client, err := clientv3.New(c.config(0, 1, 2))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			if auditCommitsSince(t, client, ns, topic.Info().ID, theGroup, topic.Info().CreateRevision)() == 0 {
				t.Error("the audit saw no commit")
			}
		})
	}
}

// untilOwned waits until so many members have all partitions between them.
func untilOwned(t *testing.T, rt *penstock.Runtime, members int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("all partitions are owned by %d members", members), func() bool {
		owners := map[string]bool{}
		g, err := rt.DescribeConsumerGroup(harness.Context(t), theTopic, theGroup)
		if err != nil && !errors.Is(err, penstock.ErrUnavailable) {
			t.Fatal(err)
		}
		for _, p := range g.Partitions {
			owners[p.Owner] = true
		}
		return len(owners) == members && !owners[""]
	})
}

func leaderOf(t *testing.T, endpoints []string) int {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return (&cluster{endpoints: endpoints}).leader(t, client)
}
