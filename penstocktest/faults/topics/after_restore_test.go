package topics_test

// An etcd that is restored from a backup under the feet of everybody: its log
// and its revisions go back, and other batches come where some were. Promise: no
// gap, no record twice; what is answered after the restore is there; readers
// that were further are told; and everybody continues without a restart.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// seekBack makes s read a partition from its beginning whenever it is told that
// the log was rolled back.
func seekBack(t *testing.T, rt *penstock.Runtime, s *penstock.Subscription) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	events := rt.Events(ctx)
	done.Go(func() {
		for e := range events {
			back, ok := e.(messages.LogRolledBack)
			if !ok {
				continue
			}
			for ctx.Err() == nil {
				err := s.Seek(ctx, back.Partition, penstock.FromEarliest())
				if err == nil || errors.Is(err, penstock.ErrFenced) || errors.Is(err, penstock.ErrClosed) {
					break
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

// Promise: records are put all the time, and those that are answered after the
// restore are in the log, once, and are handled, by consumers that go back when
// they are told.
func TestRestoredUnderLoad(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	p := newEtcdParty(t, etcd.Config(), 4)
	for i, s := range p.subs {
		seekBack(t, p.rts[2+i], s)
	}
	etcd.BackUp()
	for _, who := range []string{"consumer 0", "consumer 1"} {
		p.acct.flows(t, who, 300)
	}
	etcd.Stop()
	time.Sleep(300 * time.Millisecond) // for answers that were on their way
	var before map[int]place
	p.acct.enter(func() { before, p.acct.accepted = p.acct.accepted, map[int]place{} })
	etcd.Restore()
	p.acct.await(t, "puts after the restore", func() bool { return len(p.acct.accepted) > 1000 })
	for _, l := range p.loads {
		l.stop(t)
	}
	logged := p.acct.audit(t, p.rts[0], theTopic)
	lost := 0
	for id, at := range before {
		if now, there := logged[id]; !there {
			lost++
		} else if now != at {
			t.Errorf("record %d was put at %v and is at %v", id, at, now)
		}
	}
	t.Logf("%d in the log, %d accepted after, %d lost that were accepted before", len(logged), len(p.acct.accepted), lost)
	p.acct.await(t, "all of the log to be handled where it is", func() bool {
		n := 0
		for id, at := range logged {
			if slices.ContainsFunc(p.acct.handled[id], func(h handling) bool { return h.place == at }) {
				n++
			}
		}
		return n == len(logged)
	})
	for _, s := range p.subs {
		unsubscribe(t, s)
	}
}

// Promise: who was further than the log is after the restore is told, although
// the log has grown beyond that place with other records before he looks.
func TestRestoredAndGrownAgain(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	link := penstocktest.NewProxy(t, etcd.Endpoint())
	producer := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, producer, theTopic, 1)
	cfg := etcd.Config()
	cfg.Endpoints = []string{link.Addr()}
	consumer := harness.Runtime(t, ns, penstock.EtcdConfig(cfg), penstock.LeaseTTL(time.Minute))
	told := penstocktest.Record(t, consumer)
	// A commit in between would be fenced, and what is read again from the stored offset.
	sub := subscribe(t, openTopic(t, consumer, theTopic), theGroup, penstock.CommitEvery(time.Hour))
	seekBack(t, consumer, sub)
	acct := newAccount()
	acct.consume(t, "consumer", sub)
	acct.put(t, topic, 0, 10)
	acct.await(t, "10 records", func() bool { return len(acct.handled) == 10 })
	etcd.BackUp()
	acct.put(t, topic, 10, 20)
	acct.await(t, "20 records", func() bool { return len(acct.handled) == 20 })
	link.Cut()
	etcd.Restore()
	acct.put(t, topic, 20, 50)
	link.Resume()
	penstocktest.WaitEvent[messages.LogRolledBack](t, told, harness.Patience, nil)
	acct.await(t, "all 30 that were put after", func() bool { return len(acct.handled) == 50 })
}

// A member that left, or moved, after the backup is there again after the
// restore, under a lease that lives on since its process does. Promise: it does
// not stand in the way of those who are really there.
func TestRestoredMemberThatLeft(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	first, second := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config())), harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, first, theTopic, 2)
	acct := newAccount()
	gone := subscribe(t, topic, theGroup, penstock.MemberID("gone"))
	acct.consume(t, "gone", gone)
	subscribe(t, topic, "others") // its process has more to do
	stays := subscribe(t, openTopic(t, second, theTopic), theGroup, penstock.MemberID("stays"))
	seekBack(t, second, stays)
	acct.consume(t, "stays", stays)
	acct.put(t, topic, 0, 10)
	acct.await(t, "10 records", func() bool { return len(acct.handled) == 10 })
	etcd.BackUp()
	unsubscribe(t, gone)
	acct.put(t, topic, 10, 20)
	acct.await(t, "20 records", func() bool { return len(acct.handled) == 20 })
	etcd.Restore()
	acct.put(t, topic, 20, 30)
	acct.await(t, "what was put after", func() bool { return len(acct.handled) == 30 })
	unsubscribe(t, stays)
}

// Promise: members and leases that the backup has never heard of are there again
// soon, without a restart.
func TestRestoredToBeforeItsMembers(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	producer := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, producer, theTopic, 2)
	acct := newAccount()
	acct.put(t, topic, 0, 10)
	etcd.BackUp()
	var subs []*penstock.Subscription
	for i := range 2 {
		rt := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
		s := subscribe(t, openTopic(t, rt, theTopic), theGroup)
		seekBack(t, rt, s)
		acct.consume(t, fmt.Sprint("consumer ", i), s)
		subs = append(subs, s)
	}
	acct.put(t, topic, 10, 30)
	acct.await(t, "30 records", func() bool { return len(acct.handled) == 30 })
	etcd.Restore()
	acct.put(t, topic, 30, 60)
	acct.await(t, "what was put after", func() bool { return len(acct.handled) == 60 })
	late := subscribe(t, openTopic(t, producer, theTopic), theGroup)
	acct.consume(t, "late", late)
	acct.put(t, topic, 60, 90)
	acct.await(t, "what was put to three", func() bool { return len(acct.handled) == 90 })
	for g := groupOf(t, producer, theTopic, theGroup); len(g.Members) < 3; g = groupOf(t, producer, theTopic, theGroup) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-harness.Context(t).Done():
			t.Fatalf("members %+v, want 3", g.Members)
		}
	}
	for _, s := range append(subs, late) {
		unsubscribe(t, s)
	}
	caughtUp(t, producer, theTopic, theGroup)
}

// Promise: settings of a topic that were made after the backup are forgotten, by
// its handles too.
func TestRestoredSettings(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, rt, theTopic, 2)
	etcd.BackUp()
	told := penstocktest.Record(t, rt)
	if _, err := rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, told, harness.Patience, func(e messages.TopicUpdated) bool { return e.Partitions == 4 })
	newAccount().put(t, topic, 0, 20)
	etcd.Restore()
	penstocktest.WaitEvent(t, told, harness.Patience, func(e messages.TopicUpdated) bool { return e.Partitions == 2 })
	acct := newAccount()
	acct.put(t, topic, 20, 40)
	acct.audit(t, rt, theTopic)
}

// Promise: a consumer that has read nothing of what was lost continues, also when
// it was just reading that.
func TestRestoredBeforeItWasRead(t *testing.T) {
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	producer := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, producer, theTopic, 1)
	consumer, on := meetTappedAt(t, etcd.Config(), ns, penstock.LeaseTTL(time.Minute))
	sub := subscribe(t, openTopic(t, consumer, theTopic), theGroup)
	acct := newAccount()
	acct.consume(t, "consumer", sub)
	acct.put(t, topic, 0, 10)
	acct.await(t, "10 records", func() bool { return len(acct.handled) == 10 })
	harness.Eventually(t, "it is committed", func() bool { return groupOf(t, producer, theTopic, theGroup).Lag == 0 })
	etcd.BackUp()
	var held, tried atomic.Bool
	held.Store(true)
	on.requests(func(r request) error {
		if held.Load() && r.reads("/body/") {
			tried.Store(true)
			return status.Error(codes.Unavailable, "held by the test")
		}
		return r.send()
	})
	for id := 10; id < 20; id++ {
		if _, _, err := topic.Put(harness.Context(t), bulky(id)); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "a read", tried.Load)
	etcd.Restore()
	acct.put(t, topic, 20, 50)
	held.Store(false)
	acct.await(t, "the 30 that were put after", func() bool { return len(acct.handled) == 40 })
}

// Promise: a member does not commit beyond the log of the backup what it handled
// of the one that is gone, so that nobody passes over what is put there.
func TestRestoredWithACommitUnderWay(t *testing.T) {
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	producer := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, producer, theTopic, 1)
	consumer, on := meetTappedAt(t, etcd.Config(), ns, penstock.LeaseTTL(time.Minute))
	sub := subscribe(t, openTopic(t, consumer, theTopic), theGroup, penstock.CommitEvery(50*time.Millisecond))
	acct := newAccount()
	acct.consume(t, "consumer", sub)
	put := func(from, to int) {
		t.Helper()
		acct.put(t, topic, from, to)
		acct.await(t, "they are handled", func() bool { return acct.by["consumer"] >= to })
	}
	committed := func() bool { return groupOf(t, producer, theTopic, theGroup).Lag == 0 }
	put(0, 10)
	harness.Eventually(t, "it is committed", committed)
	etcd.BackUp()
	put(10, 20)
	harness.Eventually(t, "it is committed, too", committed)
	var held, tried atomic.Bool
	held.Store(true)
	on.requests(func(r request) error {
		if held.Load() && r.writes("/offsets/") {
			tried.Store(true)
			return status.Error(codes.Unavailable, "held by the test")
		}
		return r.send()
	})
	put(20, 30)
	harness.Eventually(t, "a commit", tried.Load)
	etcd.Restore()
	held.Store(false)
	acct.put(t, topic, 30, 60)
	unsubscribe(t, sub)
	if p := groupOf(t, producer, theTopic, theGroup).Partitions[0]; p.Committed > p.End {
		t.Errorf("%d is committed, the end is %d", p.Committed, p.End)
	}
	// Whoever begins now misses nothing of what is there.
	next := subscribe(t, topic, theGroup)
	acct.consume(t, "next", next)
	acct.await(t, "all that was put after the restore", func() bool {
		for id := 30; id < 60; id++ {
			if len(acct.handled[id]) == 0 {
				return false
			}
		}
		return true
	})
}
