package topics_test

// A member of a group in which records become dead letters pauses the group.

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: when half of what one member handles becomes dead letters, members in other processes
// stop too, whatever they handle well and wherever their options say nothing of a pause; and
// continue when it is over.
func TestDeadLettersOfOneMemberPauseTheGroup(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := makeTopic(t, rt, theTopic, 2)
	makeTopic(t, rt, theLetters, 1)
	acct := newAccount()
	other := spawn(t, childSpec{
		Role: roleHandler, Name: "other", Endpoints: []string{harness.Etcd.Endpoint()}, Space: ns, Topic: theTopic, Group: theGroup,
		Concurrency: 8, Poison: -1, Held: -1,
	}, acct)
	other.says(t, "ready")
	events := penstocktest.Record(t, rt)
	sub := subscribe(t, topic, theGroup, penstock.DeadLetterTopic(theLetters, 1), penstock.PauseAtDeadLetterShare(0.5, 10, time.Hour))
	consuming, stop := context.WithCancel(harness.Context(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = sub.Consume(consuming, func(_ context.Context, r penstock.Record) error {
			if recordNumber(r)%4 < 2 { // in turn: each partition has both
				return errors.New("the database is away")
			}
			return nil
		})
	}()
	defer func() {
		stop()
		harness.Await(t, "the end of Consume", harness.Closing(ended))
	}()
	// Both have a partition before there is anything.
	harness.Eventually(t, "each has a partition", func() bool {
		g, err := rt.DescribeConsumerGroup(harness.Context(t), theTopic, theGroup)
		return err == nil && len(g.Partitions) == 2 && g.Partitions[0].Owner != "" && g.Partitions[1].Owner != "" && g.Partitions[0].Owner != g.Partitions[1].Owner
	})
	l := acct.load(t, topic, 0)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.DeadLettersRepeated) bool { return e.Group == theGroup })
	accepted := func() (n int) {
		acct.enter(func() { n = len(acct.accepted) })
		return n
	}
	if n := len(other.done()); n == 0 {
		t.Log("the other member had nothing to do before the pause")
	}
	// stands reports whether the other handles nothing while 500 records are put.
	stands := func() bool {
		did, put := len(other.done()), accepted()
		harness.Eventually(t, "500 more records", func() bool { return accepted() >= put+500 })
		return len(other.done()) == did
	}
	for late := time.Now().Add(harness.Patience); !stands(); {
		if time.Now().After(late) {
			t.Fatal("the other member goes on")
		}
	}
	if g, err := rt.DescribeConsumerGroup(harness.Context(t), theTopic, theGroup); err != nil || g.PausedUntil.IsZero() {
		t.Errorf("the group is paused until %v: %v", g.PausedUntil, err)
	}
	stop() // who fails leaves, or it would pause the group again
	harness.Await(t, "the end of Consume", harness.Closing(ended))
	unsubscribe(t, sub)
	if err := rt.ResumeConsumerGroup(harness.Context(t), theTopic, theGroup); err != nil {
		t.Fatal(err)
	}
	did := len(other.done())
	harness.Eventually(t, "the other member continues", func() bool { return len(other.done()) > did+500 })
	l.stop(t)
	other.stop(t)
}
