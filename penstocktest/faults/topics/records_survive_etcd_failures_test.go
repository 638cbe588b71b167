package topics_test

// etcd restarted, compacted, lagging, full, or silent about what it did.
// Promise, in all of them: what was accepted is in the log, once, without a
// hole, and is handled, once.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// etcdParty is a topic with two producers and two consumers, each in a runtime
// of its own.
type etcdParty struct {
	ns    string
	rts   []*penstock.Runtime // producer, producer, consumer, consumer
	acct  *account
	loads []*load
	subs  []*penstock.Subscription
}

// newEtcdParty begins a party on the etcd of cfg. Its leases outlive what is done
// to etcd, so that nobody may lose a partition.
func newEtcdParty(t *testing.T, cfg clientv3.Config, partitions int) *etcdParty {
	t.Helper()
	p := &etcdParty{ns: penstocktest.Space(t), acct: newAccount()}
	for range 4 {
		p.rts = append(p.rts, harness.Runtime(t, p.ns, penstock.EtcdConfig(cfg), penstock.LeaseTTL(time.Minute)))
	}
	makeTopic(t, p.rts[0], theTopic, partitions)
	for i, rt := range p.rts[2:] {
		s := subscribe(t, openTopic(t, rt, theTopic), theGroup)
		p.acct.consume(t, fmt.Sprint("consumer ", i), s)
		p.subs = append(p.subs, s)
	}
	for i, rt := range p.rts[:2] {
		p.loads = append(p.loads, p.acct.load(t, openTopic(t, rt, theTopic), i*apart))
	}
	p.acct.flows(t, "", 100)
	return p
}

// unharmed ends the load and checks that nothing was lost and nothing came
// twice, neither in the log nor to the consumers.
func (p *etcdParty) unharmed(t *testing.T) {
	t.Helper()
	for _, l := range p.loads { // all, before one is waited for
		l.end()
	}
	for _, l := range p.loads {
		l.stop(t)
	}
	p.acct.settle(t, p.rts[0], theTopic)
	for _, s := range p.subs {
		unsubscribe(t, s)
	}
	caughtUp(t, p.rts[0], theTopic, theGroup)
}

func TestEtcdRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	s := penstocktest.Etcd(t)
	p := newEtcdParty(t, s.Config(), 4)
	for range 3 {
		s.Stop()
		s.Restart()
		for _, who := range []string{"consumer 0", "consumer 1"} {
			p.acct.flows(t, who, 200)
		}
	}
	p.unharmed(t)
}

// etcd forgets its history all the time, and a log that lived in the history
// would be gone.
func TestEtcdCompactedUnderLoad(t *testing.T) {
	t.Parallel()
	s := penstocktest.Etcd(t)
	quiet := s.Config()
	quiet.Logger = zap.NewNop() // compactions overtake one another
	c, err := clientv3.New(quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	compacted, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			resp, err := c.Get(ctx, "/", clientv3.WithCountOnly())
			if err == nil {
				_, err = c.Compact(ctx, resp.Header.Revision)
			}
			if err == nil {
				compacted++
			} else if ctx.Err() == nil && !errors.Is(err, rpctypes.ErrCompacted) {
				t.Error("compact: ", err)
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	p := newEtcdParty(t, s.Config(), 4)
	for round := range 5 {
		p.acct.flows(t, "", 500)
		// A newcomer, who has all of the log to read.
		late := newAccount()
		name := fmt.Sprint("late ", round)
		sub := subscribe(t, openTopic(t, p.rts[3], theTopic), fmt.Sprint("late-", round))
		late.consume(t, name, sub)
		late.flows(t, name, 500)
		unsubscribe(t, sub)
	}
	p.unharmed(t)
	cancel()
	<-done
	if compacted < 5 {
		t.Errorf("%d compactions", compacted)
	}
}

// Answers of etcd get lost after it did what it was asked: appends, claims,
// commits and releases alike. Each is found out, none is done twice.
func TestRepliesDropped(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	// Two partitions for two producers: they meet.
	quiet := harness.Runtime(t, ns)
	makeTopic(t, quiet, theTopic, 2)
	replies := penstocktest.DropReplies(5)
	cfg := harness.Etcd.Config()
	cfg.DialOptions = append(cfg.DialOptions, replies.Option())
	acct := newAccount()
	audit := auditCommits(t, harness.Client(t), ns, openTopic(t, quiet, theTopic).Info().ID, theGroup)
	var loads []*load
	var subs []*penstock.Subscription
	for i := range 2 {
		s := insist(t, openTopic(t, harness.Runtime(t, ns, penstock.EtcdConfig(cfg)), theTopic), penstock.CommitEvery(20*time.Millisecond))
		acct.consume(t, fmt.Sprint("consumer ", i), s)
		subs = append(subs, s)
	}
	for i := range 2 {
		loads = append(loads, acct.load(t, openTopic(t, harness.Runtime(t, ns, penstock.EtcdConfig(cfg)), theTopic), i*apart))
	}
	for _, who := range []string{"consumer 0", "consumer 1"} {
		acct.flows(t, who, 1000)
	}
	// Handoffs, too.
	for i := range 4 {
		name := fmt.Sprint("guest ", i)
		s := insist(t, openTopic(t, harness.Runtime(t, ns, penstock.EtcdConfig(cfg)), theTopic))
		acct.consume(t, name, s)
		acct.flows(t, "", 200)
		unsubscribe(t, s)
	}
	for _, l := range loads {
		l.stop(t)
	}
	acct.settle(t, quiet, theTopic)
	if len(acct.unknown) > 0 {
		t.Errorf("%d outcomes stayed unknown, with an etcd that answers when asked again", len(acct.unknown))
	}
	for _, s := range subs {
		unsubscribe(t, s)
	}
	caughtUp(t, quiet, theTopic, theGroup)
	if audit() == 0 || replies.Dropped() < 50 {
		t.Errorf("%d answers were lost: the test tested nothing", replies.Dropped())
	}
}

// insist subscribes again while it is told that etcd did not answer.
func insist(t *testing.T, topic *penstock.Topic, opts ...penstock.SubscribeOption) *penstock.Subscription {
	t.Helper()
	for {
		s, err := topic.Subscribe(harness.Context(t), theGroup, opts...)
		if err == nil {
			return s
		}
		if !errors.Is(err, penstock.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// cluster is three etcds in processes of their own, of roleEtcd or roleParted.
type cluster struct {
	specs     []childSpec
	members   []*child
	endpoints []string
}

func newCluster(t *testing.T, role string) *cluster {
	t.Helper()
	c := &cluster{}
	var peers, initial []string
	for i := range 3 {
		c.endpoints = append(c.endpoints, harness.Loopback(penstocktest.FreePort(t)))
		peers = append(peers, harness.Loopback(penstocktest.FreePort(t)))
		initial = append(initial, fmt.Sprintf("m%d=http://%s", i, peers[i]))
	}
	for i := range 3 {
		dir, err := os.MkdirTemp("", "penstock-cluster-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) }) // after the child's end
		c.specs = append(c.specs, childSpec{
			Role: role, Name: fmt.Sprintf("m%d", i), Dir: dir, Client: c.endpoints[i], Peer: peers[i], Cluster: strings.Join(initial, ","),
		})
		c.members = append(c.members, spawn(t, c.specs[i], newAccount()))
	}
	for _, m := range c.members {
		m.says(t, "ready")
	}
	return c
}

// leader returns which member leads.
func (c *cluster) leader(t *testing.T, client *clientv3.Client) int {
	t.Helper()
	ctx := harness.Context(t)
	ids := map[uint64]int{}
	var leader uint64
	for i, e := range c.endpoints {
		resp, err := client.Status(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		ids[resp.Header.MemberId], leader = i, resp.Leader
	}
	return ids[leader]
}

// One of three etcds stands still for a while: a follower, which then lags and
// has holes, and the leader.
func TestClusterMemberFrozen(t *testing.T) {
	t.Parallel()
	c := newCluster(t, roleEtcd)
	cfg := clientv3.Config{Endpoints: c.endpoints, DialTimeout: 5 * time.Second}
	client, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	p := newEtcdParty(t, cfg, 4)
	leader := c.leader(t, client)
	for _, frozen := range []int{(leader + 1) % 3, leader} {
		resume := penstocktest.Freeze(t, c.members[frozen].cmd.Process)
		p.acct.flows(t, "", 1000)
		resume()
		p.acct.flows(t, "consumer 0", 500)
		p.acct.flows(t, "consumer 1", 500)
		// Who reads everything now reads from a member that lags, too.
		late := newAccount()
		rt := harness.Runtime(t, p.ns, penstock.EtcdConfig(cfg))
		sub := subscribe(t, openTopic(t, rt, theTopic), fmt.Sprint("late-", frozen))
		late.consume(t, "late", sub)
		late.flows(t, "late", 1000)
		unsubscribe(t, sub)
	}
	p.unharmed(t)
}

// Each of three etcds is killed and comes back, one after the other.
func TestClusterMembersKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, roleEtcd)
	p := newEtcdParty(t, clientv3.Config{Endpoints: c.endpoints, DialTimeout: 5 * time.Second}, 4)
	for i := range c.members {
		c.members[i].kill(t)
		p.acct.flows(t, "consumer 0", 300)
		p.acct.flows(t, "consumer 1", 300)
		c.members[i] = spawn(t, c.specs[i], newAccount())
		c.members[i].says(t, "ready")
		p.acct.flows(t, "", 300)
	}
	p.unharmed(t)
}

// Promise: a full etcd refuses records with ErrNoSpace, and what was refused is
// not in the log; reading continues, and so does putting, once there is room.
func TestEtcdWithoutRoom(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(harness.Context(t), "", embedded.UnsafeNoFsync(), embedded.Quota(24<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	client, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	const ballast = "/ballast/"
	for i := range 10 {
		if _, err := client.Put(harness.Context(t), fmt.Sprint(ballast, i), string(make([]byte, 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.EtcdConfig(srv.Config()))
	topic := makeTopic(t, rt, theTopic, 2)
	acct := newAccount()
	fat := func(id int) penstock.Message {
		m := harness.Numbered(id)
		m.Key = make([]byte, 200<<10)
		rand.Read(m.Key)
		return m
	}
	id, refused := 0, []int{}
	for ; len(refused) < 5; id++ {
		if id == 1000 {
			t.Fatal("etcd never filled up")
		}
		partition, offset, err := topic.Put(harness.Context(t), fat(id))
		switch {
		case err == nil:
			acct.accept(id, place{partition, offset})
		case errors.Is(err, penstock.ErrNoSpace):
			refused = append(refused, id)
		default:
			t.Fatalf("put %d: %v, want ErrNoSpace", id, err)
		}
	}
	results, err := topic.PutBatch(harness.Context(t), []penstock.Message{fat(id), fat(id + 1)})
	if !errors.Is(err, penstock.ErrNoSpace) {
		t.Errorf("batch: %v, want ErrNoSpace", err)
	}
	for i, r := range results {
		if r.Err == nil {
			acct.accept(id+i, place{r.Partition, r.Offset})
		} else {
			refused = append(refused, id+i)
		}
	}
	whole := func() {
		t.Helper()
		logged := acct.audit(t, rt, theTopic)
		for _, id := range refused {
			if at, there := logged[id]; there {
				t.Errorf("record %d was refused and is in the log at %v", id, at)
			}
		}
	}
	whole()
	keys, err := client.Get(harness.Context(t), "/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	entries, bodies := map[string]string{}, map[string]bool{}
	for _, kv := range keys.Kvs {
		if _, batch, ok := strings.Cut(string(kv.Key), "/index/"); ok {
			entries[batch] = string(kv.Key)
		}
		if _, batch, ok := strings.Cut(string(kv.Key), "/body/"); ok {
			bodies[batch] = true
		}
	}
	for batch := range bodies {
		if entries[batch] == "" {
			t.Errorf("batch %s has no entry", batch)
		}
	}
	for batch, key := range entries {
		if bodies[batch] {
			continue
		}
		var e pb.IndexEntry
		if resp, err := client.Get(harness.Context(t), key); err != nil || proto.Unmarshal(resp.Kvs[0].Value, &e) != nil || len(e.GetBody()) == 0 {
			t.Errorf("batch %s has no body: %v, %v", batch, &e, err)
		}
	}

	// Room again.
	if _, err := client.Delete(harness.Context(t), ballast, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(harness.Context(t), "/", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(harness.Context(t), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Defragment(harness.Context(t), srv.Endpoint()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AlarmDisarm(harness.Context(t), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	acct.put(t, topic, id+2, id+10)
	whole()
}
