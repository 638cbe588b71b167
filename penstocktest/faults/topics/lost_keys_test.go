package topics_test

// Keys that vanish or are damaged, sessions that end, topics that grow, and an
// etcd that hangs.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a session that is lost costs its consumer what was not committed, and
// nothing else: everybody gets his share again.
func TestSessionsLostUnderLoad(t *testing.T) {
	t.Parallel()
	s := penstocktest.Etcd(t)
	p := &party{ns: penstocktest.Space(t), acct: newAccount()}
	begin := func() *penstock.Runtime {
		return penstocktest.Runtime(t, s, penstock.Prefix(p.ns), penstock.LeaseTTL(5*time.Second))
	}
	p.rt = begin()
	p.topic = makeTopic(t, p.rt, theTopic, 6)
	p.audit = auditCommits(t, s.Client(t), p.ns, p.topic.Info().ID, theGroup)
	rts := []*penstock.Runtime{begin(), begin(), begin()}
	var subs []*penstock.Subscription
	for i, rt := range rts {
		sub := subscribe(t, openTopic(t, rt, theTopic), theGroup, penstock.CommitEvery(100*time.Millisecond))
		p.acct.consume(t, fmt.Sprint("consumer ", i), sub)
		subs = append(subs, sub)
	}
	load := p.acct.load(t, p.topic, 0)
	share := func(what string) {
		t.Helper()
		for i := range subs {
			p.acct.flows(t, fmt.Sprint("consumer ", i), 100)
		}
	}
	share("at first")
	for _, rt := range append(rts, p.rt) { // the producer's, too
		r := penstocktest.Record(t, rt)
		penstocktest.ExpireLease(t, s, rt)
		penstocktest.WaitEvent[messages.SessionRenewed](t, r, harness.Patience, nil)
		share("after a loss")
	}
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic, "consumer 0", "consumer 1", "consumer 2")
	for _, sub := range subs {
		unsubscribe(t, sub)
	}
	caughtUp(t, p.rt, theTopic, theGroup)
	p.audit()
}

// Promise: whatever key of a group somebody deletes, the group recovers by
// itself and loses nothing.
func TestGroupKeysDeletedUnderLoad(t *testing.T) {
	p := newParty(t, 4)
	c := harness.Client(t)
	var subs []*penstock.Subscription
	names := []string{"first", "second"}
	for _, name := range names {
		sub := subscribe(t, openTopic(t, harness.Runtime(t, p.ns), theTopic), theGroup, penstock.CommitEvery(100*time.Millisecond))
		p.acct.consume(t, name, sub)
		subs = append(subs, sub)
	}
	load := p.acct.load(t, p.topic, 0)
	group := keys.Space(p.ns).ConsumerGroup(p.topic.Info().ID, theGroup)
	for _, prefix := range []string{"claims/", "members/", "assignment", "meta", ""} {
		for _, name := range names {
			p.acct.flows(t, name, 100)
		}
		if _, err := c.Delete(harness.Context(t), group+prefix, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		p.awaitOwners(t, 2)
	}
	for _, name := range names {
		p.acct.flows(t, name, 100)
	}
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic, names...)
	for _, sub := range subs {
		unsubscribe(t, sub)
	}
	caughtUp(t, p.rt, theTopic, theGroup)
	p.audit()
}

// Promise: a group keeps its mode for as long as it has members, though somebody
// deletes the key that says it: one of them puts it back, and who comes in the
// other mode is refused.
func TestGroupKeepsItsMode(t *testing.T) {
	for mode, subscribe := range map[messages.GroupMode]func(topic *penstock.Topic, p int) (*penstock.Subscription, error){
		messages.GroupAutomatic: func(topic *penstock.Topic, _ int) (*penstock.Subscription, error) {
			return topic.Subscribe(harness.Context(t), theGroup)
		},
		messages.GroupManual: func(topic *penstock.Topic, p int) (*penstock.Subscription, error) {
			return topic.SubscribePartitions(harness.Context(t), theGroup, []int{p})
		},
	} {
		t.Run(string(mode), func(t *testing.T) {
			ns := penstocktest.Space(t)
			rts := []*penstock.Runtime{harness.Runtime(t, ns), harness.Runtime(t, ns)}
			topic := makeTopic(t, rts[0], theTopic, 2)
			key := keys.Space(ns).ConsumerGroupMeta(topic.Info().ID, theGroup)
			var subs []*penstock.Subscription
			for p, rt := range rts {
				s, err := subscribe(openTopic(t, rt, theTopic), p)
				if err != nil {
					t.Fatal(err)
				}
				subs = append(subs, s)
			}
			putBack := func(by *penstock.Runtime) {
				t.Helper()
				r := penstocktest.Record(t, by)
				if got, err := harness.Client(t).Delete(harness.Context(t), key); err != nil || got.Deleted != 1 {
					t.Fatal(got, err)
				}
				penstocktest.WaitEvent(t, r, harness.Patience, func(e messages.RegistrationRestored) bool { return e.Key == key })
				if g := groupOf(t, by, theTopic, theGroup); g.Mode != mode {
					t.Errorf("the mode is %q, want %q", g.Mode, mode)
				}
				var err error
				if mode == messages.GroupAutomatic {
					_, err = topic.SubscribePartitions(harness.Context(t), theGroup, []int{0})
				} else {
					_, err = topic.Subscribe(harness.Context(t), theGroup)
				}
				if !errors.Is(err, penstock.ErrGroupMode) {
					t.Errorf("who came in the other mode: %v, want ErrGroupMode", err)
				}
			}
			putBack(rts[0])
			putBack(rts[0])
			unsubscribe(t, subs[0]) // the oldest
			putBack(rts[1])
			unsubscribe(t, subs[1])
		})
	}
}

// Promise: a topic that grows is noticed within a second or so by producers and
// consumers, who continue meanwhile.
func TestPartitionsAddedUnderLoad(t *testing.T) {
	p := newParty(t, 2)
	var subs []*penstock.Subscription
	for i := range 2 {
		sub := subscribe(t, openTopic(t, harness.Runtime(t, p.ns), theTopic), theGroup)
		p.acct.consume(t, fmt.Sprint("consumer ", i), sub)
		subs = append(subs, sub)
	}
	load := p.acct.load(t, p.topic, 0)
	p.acct.flows(t, "", 200)
	for _, n := range []int{3, 8} {
		if _, err := p.rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{Partitions: n}); err != nil {
			t.Fatal(err)
		}
		p.acct.await(t, fmt.Sprint("records of partition ", n-1), func() bool {
			for _, hs := range p.acct.handled {
				if hs[0].place.partition == n-1 {
					return true
				}
			}
			return false
		})
		p.awaitOwners(t, 2)
	}
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic)
	for _, sub := range subs {
		unsubscribe(t, sub)
	}
	caughtUp(t, p.rt, theTopic, theGroup)
	p.audit()
}

// Promise: a batch that does not decode, or is not there, is a typed error and
// an event, never silence and never a skip; other partitions are not touched.
func TestDamagedBatch(t *testing.T) {
	flip := func(t *testing.T, c *clientv3.Client, key string) {
		resp, err := c.Get(harness.Context(t), key)
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatal(resp, err)
		}
		value := slices.Clone(resp.Kvs[0].Value)
		value[len(value)-1] ^= 1
		if _, err := c.Put(harness.Context(t), key, string(value)); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(t *testing.T, c *clientv3.Client, key string) {
		if _, err := c.Put(harness.Context(t), key, "\x08"); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(t *testing.T, c *clientv3.Client, key string) {
		if _, err := c.Delete(harness.Context(t), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		apart  bool // the batches have bodies of their own
		damage func(t *testing.T, c *clientv3.Client, key string)
	}{
		{"a flipped bit", true, flip},
		{"a body that is cut short", true, cut},
		{"a body that is gone", true, gone},
		{"a flipped bit in an entry", false, flip},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			writer, reader := harness.Runtime(t, ns), harness.Runtime(t, ns) // who reads has nothing in memory
			topic := makeTopic(t, writer, theTopic, 2)
			const damaged = 4
			key := keys.Space(ns).IndexEntry(topic.Info().ID, 0, damaged)
			message := harness.Numbered
			if c.apart {
				key, message = keys.Space(ns).Body(topic.Info().ID, 0, damaged), bulky
			}
			for id := range 20 { // a batch each
				if _, err := topic.PutBatch(harness.Context(t), []penstock.Message{message(id)}); err != nil {
					t.Fatal(err)
				}
			}
			c.damage(t, harness.Client(t), key)
			events := penstocktest.Record(t, reader)
			there := openTopic(t, reader, theTopic)
			next := int64(0)
			err := harness.Within(t, harness.Patience, "the read", func() error {
				for rec, err := range there.Read(harness.Context(t), 0, penstock.FromEarliest()) {
					if err != nil {
						return err
					}
					if rec.Offset != next {
						t.Errorf("offset %d came after %d", rec.Offset, next-1)
					}
					next++
				}
				return nil
			})
			if !errors.Is(err, penstock.ErrCorrupt) || next != damaged {
				t.Errorf("after %d records: %v, want ErrCorrupt after %d", next, err, damaged)
			}
			// A group stops at the same place, and continues elsewhere.
			group := newAccount()
			sub := subscribe(t, there, theGroup)
			group.consume(t, "consumer", sub)
			penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.BatchCorrupt) bool {
				return e.Partition == 0 && e.Offset == damaged && errors.Is(e.Err, penstock.ErrCorrupt)
			})
			group.await(t, "the records before it, and all of the other partition", func() bool { return len(group.handled) == damaged+10 })
			unsubscribe(t, sub)
			if at := groupOf(t, writer, theTopic, theGroup).Partitions; at[0].Committed != damaged || at[1].Committed != 10 {
				t.Errorf("committed are %d and %d, want %d and 10", at[0].Committed, at[1].Committed, damaged)
			}
		})
	}
}

// Promise: an etcd that comes back with nothing, as another cluster, has no such
// topic: who reads is told so, and nobody continues in a log that is another one.
func TestEtcdWiped(t *testing.T) {
	t.Parallel()
	s := penstocktest.Etcd(t)
	rt := penstocktest.Runtime(t, s, penstock.LeaseTTL(5*time.Second))
	acct := newAccount()
	topic := makeTopic(t, rt, theTopic, 2)
	acct.put(t, topic, 0, 100)
	sub := subscribe(t, topic, theGroup)
	ended := make(chan error, 2)
	came := make(chan struct{}, 200)
	loop := func(records iter.Seq2[penstock.Record, error]) {
		for _, err := range records {
			if err != nil {
				ended <- err
				return
			}
			came <- struct{}{}
		}
		ended <- errors.New("no error came last")
	}
	go loop(sub.Records(t.Context()))
	go loop(topic.Read(t.Context(), 0, penstock.FromEarliest()))
	for range 150 {
		harness.Await(t, "the records", came)
	}
	s.Wipe()
	for range 2 {
		if err := harness.Await(t, "the end of who reads", ended); !errors.Is(err, penstock.ErrTopicDeleted) && !errors.Is(err, penstock.ErrLogRolledBack) {
			t.Errorf("who reads: %v, want ErrTopicDeleted or ErrLogRolledBack", err)
		}
	}
	if _, _, err := topic.Put(harness.Context(t), harness.Numbered(100)); !errors.Is(err, penstock.ErrTopicDeleted) {
		t.Errorf("put: %v, want ErrTopicDeleted", err)
	}
	fresh := makeTopic(t, rt, theTopic, 2)
	second := newAccount()
	second.put(t, fresh, 0, 50)
	again := subscribe(t, fresh, theGroup)
	second.consume(t, "again", again)
	second.settle(t, rt, theTopic)
	unsubscribe(t, again)
}

// Promise: every call obeys its context. With an etcd that takes what is written
// and never answers, each fails in time and typed, and the runtime continues when
// etcd does.
func TestEtcdHangs(t *testing.T) {
	t.Parallel()
	proxy := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
	cfg := harness.Etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(cfg), penstock.LeaseTTL(time.Minute))
	acct := newAccount()
	topic := makeTopic(t, rt, theTopic, 2)
	acct.put(t, topic, 0, 10)
	sub := subscribe(t, topic, theGroup)
	recs, err := sub.Poll(harness.Context(t), 5)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Hang()
	for name, c := range map[string]struct {
		call func(context.Context) error
		want error // or the context's cause
	}{
		"Put": {func(ctx context.Context) error { _, _, err := topic.Put(ctx, harness.Numbered(100)); return err }, penstock.ErrUnknownOutcome},
		"PutBatch": {func(ctx context.Context) error {
			_, err := topic.PutBatch(ctx, []penstock.Message{harness.Numbered(101)})
			return err
		}, penstock.ErrUnknownOutcome},
		"Flush": {func(ctx context.Context) error {
			topic.PutAsync(ctx, harness.Numbered(102), nil)
			return topic.Flush(ctx)
		}, nil},
		"CreateTopic": {func(ctx context.Context) error {
			_, err := rt.CreateTopic(ctx, "another", penstock.TopicConfig{})
			return err
		}, penstock.ErrUnavailable},
		"Topic":         {func(ctx context.Context) error { _, err := rt.Topic(ctx, "another"); return err }, penstock.ErrUnavailable},
		"ListTopics":    {func(ctx context.Context) error { _, err := rt.ListTopics(ctx); return err }, penstock.ErrUnavailable},
		"DescribeTopic": {func(ctx context.Context) error { _, err := rt.DescribeTopic(ctx, theTopic); return err }, penstock.ErrUnavailable},
		"Subscribe":     {func(ctx context.Context) error { _, err := topic.Subscribe(ctx, "another"); return err }, penstock.ErrUnavailable},
		"Commit":        {func(ctx context.Context) error { return sub.Commit(ctx, recs...) }, penstock.ErrUnavailable},
		"Lag":           {func(ctx context.Context) error { _, err := sub.Lag(ctx); return err }, penstock.ErrUnavailable},
		"Read": {func(ctx context.Context) error {
			for _, err := range topic.Read(ctx, 0, penstock.FromTime(time.Now())) {
				return err
			}
			return nil
		}, penstock.ErrUnavailable},
	} {
		why := errors.New("enough of " + name)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, why)
		err := harness.Within(t, harness.Soon, name, func() error { return c.call(ctx) })
		cancel()
		if !errors.Is(err, why) && (c.want == nil || !errors.Is(err, c.want)) {
			t.Errorf("%s: got %v, want %v or the context's cause", name, err, c.want)
		}
		if c.want == penstock.ErrUnknownOutcome && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v; whether it was put is not known", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := harness.Within(t, harness.Soon+5*time.Second, "Unsubscribe", func() error { return sub.Unsubscribe(ctx) }); err == nil {
		t.Errorf("Unsubscribe said after %s that it has left, which nobody can know", time.Since(began))
	}
	proxy.Resume()
	// What was taken comes, once; and everything continues.
	acct.put(t, topic, 200, 210)
	if err := topic.Flush(harness.Context(t)); err != nil {
		t.Error(err)
	}
	logged := acct.audit(t, rt, theTopic)
	var odd []string
	for id := range logged {
		if id >= 10 && id < 100 || id > 102 && id < 200 || id >= 210 {
			odd = append(odd, fmt.Sprint(id))
		}
	}
	if len(odd) > 0 {
		t.Errorf("records that nobody put: %s", strings.Join(odd, " "))
	}
	again := newAccount()
	late := subscribe(t, openTopic(t, harness.Runtime(t, ns), theTopic), "late")
	again.consume(t, "late", late)
	again.flows(t, "late", len(logged))
	unsubscribe(t, late)
}
