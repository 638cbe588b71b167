package topics_test

// A partition has one owner in a group, by a lease and not by heartbeats; and what
// a log and a subscription owe besides.

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a log is keys that stay, not etcd's history: a compaction takes no record
// away.
func TestLogSurvivesCompaction(t *testing.T) {
	s := penstocktest.Etcd(t)
	rt := penstocktest.Runtime(t, s)
	acct := newAccount()
	topic := makeTopic(t, rt, theTopic, 3)
	acct.put(t, topic, 0, 300)
	s.Compact()
	s.Restart() // nor is it the memory that remembers
	acct.put(t, topic, 300, 600)
	s.Compact()
	sub := subscribe(t, topic, theGroup)
	acct.consume(t, "consumer", sub)
	acct.settle(t, rt, theTopic)
}

// Promise: no clock of a member judges another. What a member holds is under a lease: an idle member writes nothing, and one
// whose lease is over holds nothing.
func TestLeasesNotHeartbeats(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	s := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	begin := func() *penstock.Runtime {
		return penstocktest.Runtime(t, s, penstock.Prefix(ns), penstock.LeaseTTL(ttl))
	}
	first, second := begin(), begin()
	topic := makeTopic(t, first, theTopic, 4)
	p := &party{acct: newAccount()}
	p.acct.put(t, topic, 0, 40)
	subs := []*penstock.Subscription{subscribe(t, topic, theGroup), subscribe(t, openTopic(t, second, theTopic), theGroup)}
	p.acct.consume(t, "first", subs[0])
	p.acct.consume(t, "second", subs[1])
	p.acct.settle(t, first, theTopic)
	c := s.Client(t)
	until := func(what string, wanted func(penstock.GroupInfo) bool) {
		t.Helper()
		var g penstock.GroupInfo
		if err := harness.UntilKeys(harness.Context(t), c, ns+"/", func([]string) bool {
			g = groupOf(t, first, theTopic, theGroup)
			return wanted(g)
		}); err != nil {
			t.Fatalf("%s: %v; the group is %+v", what, err, g)
		}
	}
	owners := func(g penstock.GroupInfo) map[string]int {
		by := map[string]int{}
		for _, part := range g.Partitions {
			by[part.Owner]++
		}
		return by
	}
	until("two by two, all committed", func(g penstock.GroupInfo) bool {
		by := owners(g)
		return by[subs[0].ID()] == 2 && by[subs[1].ID()] == 2 && g.Lag == 0
	})
	leases := map[int64]bool{first.Engine().Lease(): true, second.Engine().Lease(): true}
	resp, err := c.Get(harness.Context(t), ns+"/groups/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, kv := range resp.Kvs {
		if kv.Lease != 0 {
			held++
			if !leases[kv.Lease] {
				t.Errorf("%s is under the lease %x, which is no runtime's", kv.Key, kv.Lease)
			}
		}
	}
	if held != 2+4 {
		t.Errorf("%d keys are under a lease, want two members and four claims", held)
	}
	// Longer than a lease: nobody writes, and everybody is alive.
	quiet, cancel := context.WithTimeout(t.Context(), ttl+time.Second)
	defer cancel()
	for resp := range c.Watch(quiet, ns+"/", clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision+1)) {
		for _, ev := range resp.Events {
			t.Errorf("somebody wrote %s while nothing happened", ev.Kv.Key)
		}
	}
	before := groupOf(t, first, theTopic, theGroup)
	penstocktest.ExpireLease(t, s, second)
	until("what the lost session held is claimed again", func(g penstock.GroupInfo) bool {
		for i, was := range before.Partitions {
			if now := g.Partitions[i]; now.Owner == "" || was.Owner == subs[1].ID() && now.Fence <= was.Fence {
				return false
			}
		}
		return true
	})
	p.acct.put(t, topic, 100, 140)
	p.acct.settle(t, first, theTopic, "second")
}

// Promise: a put that gets no answer in its time is ErrUnknownOutcome and breaks
// nothing: what was taken is put once etcd is back.
func TestFailedPut(t *testing.T) {
	s := penstocktest.Etcd(t)
	rt := penstocktest.Runtime(t, s)
	acct := newAccount()
	topic := makeTopic(t, rt, theTopic, 2)
	acct.put(t, topic, 0, 10)
	s.Stop()
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
	defer cancel()
	failed := make(chan error, 2)
	if err := topic.PutAsync(t.Context(), harness.Numbered(11), func(r penstock.PutResult) { failed <- r.Err }); err != nil {
		t.Fatal(err)
	}
	_, _, err := topic.Put(ctx, harness.Numbered(10))
	if !errors.Is(err, penstock.ErrUnknownOutcome) || !errors.Is(err, why) {
		t.Errorf("put: %v, want ErrUnknownOutcome with the context's cause", err)
	}
	results, err := topic.PutBatch(ctx, []penstock.Message{harness.Numbered(12), harness.Numbered(13)})
	if err == nil || len(results) != 2 || results[0].Err == nil || results[1].Err == nil {
		t.Errorf("batch: %+v, %v", results, err)
	}
	s.Restart()
	// What was taken is put all the same, and what comes now.
	if err := harness.Await(t, "the record that waited", failed); err != nil {
		t.Error(err)
	}
	acct.put(t, topic, 20, 30)
	logged := acct.audit(t, rt, theTopic)
	if _, there := logged[11]; !there {
		t.Error("a record that was taken, and whose put did not fail, is not there")
	}
}

// Promise: no two consumers own a partition at a time.
func TestNeverTwoOwners(t *testing.T) {
	p := newParty(t, 1)
	ctx := harness.Context(t)
	const n = 4
	rts := make([]*penstock.Runtime, n)
	for i := range rts {
		rts[i] = harness.Runtime(t, p.ns)
	}
	load := p.acct.load(t, p.topic, 0)
	subs := make(chan *penstock.Subscription, n)
	for i, rt := range rts {
		topic := openTopic(t, rt, theTopic)
		s, err := topic.SubscribePartitions(ctx, theGroup, []int{0})
		if err != nil {
			t.Fatal(err)
		}
		p.acct.consume(t, []string{"a", "b", "c", "d"}[i], s)
		subs <- s
	}
	var fence int64
	for len(subs) > 0 {
		p.acct.flows(t, "", 100)
		owning := 0
		all := make([]*penstock.Subscription, 0, n)
		for range len(subs) {
			all = append(all, <-subs)
		}
		var owner *penstock.Subscription
		for _, s := range all {
			if len(s.Partitions()) > 0 {
				owning++
				owner = s
				continue
			}
			subs <- s
		}
		if owning != 1 {
			t.Fatalf("%d of %d subscriptions own the partition", owning, len(all))
		}
		g := groupOf(t, p.rt, theTopic, theGroup)
		if g.Partitions[0].Owner != owner.ID() || g.Partitions[0].Fence <= fence {
			t.Errorf("etcd says %+v, after the fence %d", g.Partitions[0], fence)
		}
		fence = g.Partitions[0].Fence
		unsubscribe(t, owner)
	}
	load.stop(t)
	last, err := p.topic.SubscribePartitions(ctx, theGroup, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	p.acct.consume(t, "last", last)
	p.acct.settle(t, p.rt, theTopic)
	unsubscribe(t, last)
	p.audit()
}

// Promise: Unsubscribe leaves no goroutine.
func TestUnsubscribeLeavesNothing(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.LeaseTTL(time.Hour)) // the stream of renewals begins after the test
	topic := makeTopic(t, rt, theTopic, 8)
	acct := newAccount()
	acct.put(t, topic, 0, 80)
	warm := subscribe(t, topic, theGroup) // what is made once is made now
	unsubscribe(t, warm)
	before, actors := goleak.IgnoreCurrent(), len(rt.Engine().Tree())
	for range 10 {
		s := subscribe(t, topic, theGroup)
		for range s.Records(harness.Context(t)) {
			break
		}
		unsubscribe(t, s)
	}
	deadline := time.Now().Add(harness.Patience / 4)
	for {
		err := goleak.Find(before) // it waits a little itself
		if now := len(rt.Engine().Tree()); err == nil && now <= actors {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d actors, were %d; %v", now, actors, err)
		}
	}
}
