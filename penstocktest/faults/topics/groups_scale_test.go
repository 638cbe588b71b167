package topics_test

// Groups whose members come and go, and many of them.

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// graceful watches runtimes of which none fails: when the test ends, nobody may
// have lost a partition, or had one taken away.
func graceful(t *testing.T, rts []*penstock.Runtime) (check func()) {
	t.Helper()
	var all []*penstocktest.Recording
	for _, rt := range rts {
		all = append(all, penstocktest.Record(t, rt))
	}
	return func() {
		t.Helper()
		for i, r := range all {
			for _, e := range r.Events() {
				switch e.(type) {
				case messages.PartitionLost, messages.ClaimRevoked, messages.ActorStopped, messages.SessionLost:
					t.Errorf("runtime %d: %T%+v, though everybody lived and left in order", i, e, e)
				}
			}
		}
	}
}

// Promise: members that come and go gracefully cost no record a second
// handling, in whatever way they read. The member that leaves is always the oldest, so that each time
// another one assigns.
func TestScaleUpsAndDowns(t *testing.T) {
	rounds := 200
	if testing.Short() || harness.RaceEnabled {
		rounds = 24
	}
	p := newParty(t, 8)
	rts := []*penstock.Runtime{harness.Runtime(t, p.ns), harness.Runtime(t, p.ns), harness.Runtime(t, p.ns)}
	check := graceful(t, rts)
	load := p.acct.load(t, p.topic, 0)
	type member struct {
		sub    *penstock.Subscription
		how    reading
		enough chan struct{}
		ended  <-chan struct{}
	}
	var members []member
	leave := func() {
		t.Helper()
		m := members[0]
		members = members[1:]
		if m.how == byPoll {
			close(m.enough)
			harness.Await(t, "the last poll", harness.Closing(m.ended))
		}
		unsubscribe(t, m.sub)
		harness.Await(t, "the end of the loop", harness.Closing(m.ended))
	}
	began := time.Now()
	for round := range rounds {
		how := []reading{byLoop, byPoll, byHandler}[round%3]
		name := fmt.Sprintf("member %d, by %s", round, how)
		s := subscribe(t, openTopic(t, rts[round/3%len(rts)], theTopic), theGroup, penstock.PartitionsAtOnce(1+round%2))
		enough := make(chan struct{})
		members = append(members, member{s, how, enough, p.acct.read(t, name, s, how, enough)})
		p.acct.flows(t, name, 10)
		if len(members) > 3 {
			leave()
		}
	}
	t.Logf("%d ups and downs took %s", rounds, time.Since(began))
	for len(members) > 1 {
		leave()
	}
	last := subscribe(t, p.topic, theGroup)
	p.acct.consume(t, "last", last)
	leave()
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic)
	unsubscribe(t, last)
	caughtUp(t, p.rt, theTopic, theGroup)
	check()
	if n := p.audit(); n == 0 {
		t.Error("the audit saw no commit")
	}
}

// Promise: 64 members join one group at once, share all partitions evenly,
// and leave at once, and nothing is handled twice.
func TestScaleToManyMembers(t *testing.T) {
	n := 64
	if testing.Short() || harness.RaceEnabled {
		n = 12
	}
	p := newParty(t, 2*n)
	rts := []*penstock.Runtime{harness.Runtime(t, p.ns), harness.Runtime(t, p.ns), harness.Runtime(t, p.ns), harness.Runtime(t, p.ns)}
	check := graceful(t, rts)
	load := p.acct.load(t, p.topic, 0)
	each := func(do func(i int) error) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if err := do(i); err != nil {
					t.Errorf("member %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	for round := range 2 {
		ctx := harness.Context(t)
		subs := make([]*penstock.Subscription, n)
		began := time.Now()
		each(func(i int) (err error) {
			topic, err := rts[i%len(rts)].Topic(ctx, theTopic)
			if err != nil {
				return err
			}
			subs[i], err = topic.Subscribe(ctx, theGroup)
			for errors.Is(err, penstock.ErrUnavailable) && ctx.Err() == nil { // they wait for one another, on a busy machine too long
				subs[i], err = topic.Subscribe(ctx, theGroup)
			}
			return err
		})
		for i, s := range subs {
			p.acct.consume(t, fmt.Sprintf("member %d of round %d", i, round), s)
		}
		p.awaitOwners(t, n)
		t.Logf("%d members own %d partitions after %s", n, 2*n, time.Since(began))
		p.acct.flows(t, "", 500)
		began = time.Now()
		each(func(i int) error { return subs[i].Unsubscribe(ctx) })
		t.Logf("they left in %s", time.Since(began))
	}
	load.stop(t)
	last := subscribe(t, p.topic, theGroup)
	p.acct.consume(t, "last", last)
	p.acct.settle(t, p.rt, theTopic)
	unsubscribe(t, last)
	caughtUp(t, p.rt, theTopic, theGroup)
	check()
	p.audit()
}

// Promise: a hundred groups read one topic, each all of it, once.
func TestScaleToManyGroups(t *testing.T) {
	n := 100
	if testing.Short() || harness.RaceEnabled {
		n = 20
	}
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := makeTopic(t, rt, theTopic, 4)
	reader := openTopic(t, harness.Runtime(t, ns), theTopic) // not the process that puts
	accts, subs := make([]*account, n), make([]*penstock.Subscription, n)
	puts := newAccount()
	const records = 1000
	puts.put(t, topic, 0, records/2)
	for i := range n {
		accts[i], subs[i] = newAccount(), subscribe(t, reader, fmt.Sprint("group-", i))
		accts[i].consume(t, "consumer", subs[i])
	}
	puts.put(t, topic, records/2, records)
	for i := range n {
		accts[i].await(t, fmt.Sprint("all records in group ", i), func() bool { return len(accts[i].handled) == records })
		if accts[i].total != records {
			t.Errorf("group %d: %d handlings of %d records", i, accts[i].total, records)
		}
	}
	puts.audit(t, rt, theTopic)
	for i, s := range subs {
		unsubscribe(t, s)
		caughtUp(t, rt, theTopic, fmt.Sprint("group-", i))
	}
}

// Promise: who has left holds nothing, also who left while a partition was just
// coming to it: nobody has to take a claim away, and offsets can be reset.
func TestLeaversHoldNothing(t *testing.T) {
	rounds := 30
	if testing.Short() || harness.RaceEnabled {
		rounds = 10
	}
	p := newParty(t, 8)
	rts := []*penstock.Runtime{harness.Runtime(t, p.ns), harness.Runtime(t, p.ns)}
	p.acct.put(t, p.topic, 0, 80)
	c := harness.Client(t)
	group := keys.Space(p.ns).ConsumerGroup(p.topic.Info().ID, theGroup)
	for round := range rounds {
		ctx := harness.Context(t)
		var subs []*penstock.Subscription
		for i := range 4 {
			subs = append(subs, subscribe(t, openTopic(t, rts[i%2], theTopic), theGroup))
		}
		var wg sync.WaitGroup
		for i, s := range subs {
			leave := func() {
				if err := s.Unsubscribe(ctx); err != nil {
					t.Errorf("round %d, member %d: %v", round, i, err)
				}
			}
			if round%2 == 0 {
				leave() // as its partitions go to the next, which leaves then
			} else {
				wg.Go(leave)
			}
		}
		wg.Wait()
		left, err := c.Get(ctx, group, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range left.Kvs {
			if rest := strings.TrimPrefix(string(kv.Key), group); rest != "meta" && rest != "assignment" {
				t.Errorf("round %d: everybody has left, and %s is there", round, rest)
			}
		}
		if _, err := p.rt.ResetOffsets(ctx, theTopic, theGroup, penstock.FromEarliest()); err != nil {
			t.Errorf("round %d: reset: %v", round, err)
		}
		if t.Failed() {
			return
		}
	}
}
