package topics_test

// Where a group begins, and how it stays alive: one request that fails, a key
// that somebody spoilt, a member that takes its time.

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a group that begins at the end begins there, and has that in etcd
// when Subscribe returns, also when a request had to be made twice.
func TestLatestBeginsAtTheEndThoughARequestFailed(t *testing.T) {
	for _, c := range []struct {
		name  string
		meant func() func(request) bool
	}{
		{"the one that finds the end", func() func(request) bool {
			return func(r request) bool { return r.reads("/hint/") }
		}},
		{"the one that commits it", func() func(request) bool {
			return func(r request) bool { return r.writes("/offsets/") }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			writer := harness.Runtime(t, ns)
			reader, on := meetTapped(t, ns)
			topic, acct := makeTopic(t, writer, theTopic, 1), newAccount()
			acct.put(t, topic, 0, 10)
			there := openTopic(t, reader, theTopic)
			failed := on.failOnce(codes.Unavailable, "this one fails", c.meant())
			sub := subscribe(t, there, theGroup, penstock.FromLatest())
			if !failed() {
				t.Fatal("no request failed")
			}
			if at := groupOf(t, writer, theTopic, theGroup).Partitions[0].Committed; at != 10 {
				t.Errorf("committed is %d, want the end, 10", at)
			}
			acct.put(t, topic, 10, 11)
			if rec := polled(t, sub, 1)[0]; rec.Offset != 10 {
				t.Errorf("the first record is that at %d, want 10", rec.Offset)
			}
			unsubscribe(t, sub)
		})
	}
}

// busyMember subscribes to two partitions and has a record of partition 0 in its
// handler until release. Partition 1 is idle.
func busyMember(t *testing.T, topic *penstock.Topic) (s *penstock.Subscription, release func(), ended <-chan error) {
	t.Helper()
	if _, err := topic.PutTo(harness.Context(t), 0, harness.Numbered(0)); err != nil {
		t.Fatal(err)
	}
	s = subscribe(t, topic, theGroup)
	in, out, end := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	release = func() { once.Do(func() { close(out) }) }
	t.Cleanup(release)
	ctx := harness.Context(t)
	go func() {
		for _, err := range s.Records(ctx) {
			if err != nil {
				end <- err
				return
			}
			in <- struct{}{}
			<-out
		}
		end <- nil
	}()
	harness.Await(t, "the record in hand", in)
	return s, release, end
}

// Promise: a member that takes its time to leave holds up nobody: others come
// in, and get what it has not in hand.
func TestGroupContinuesWhileItsOldestMemberDrains(t *testing.T) {
	ns := penstocktest.Space(t)
	oldest, other := harness.Runtime(t, ns), harness.Runtime(t, ns)
	topic := makeTopic(t, oldest, theTopic, 2)
	s, release, ended := busyMember(t, topic)
	events := penstocktest.Record(t, oldest)
	left := make(chan error, 1)
	ctx := harness.Context(t)
	go func() { left <- s.Unsubscribe(ctx) }()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.PartitionReleased) bool { return e.Partition == 1 })
	taken := penstocktest.Record(t, other)
	next := subscribe(t, openTopic(t, other, theTopic), theGroup)
	penstocktest.WaitEvent(t, taken, harness.Patience, func(e messages.PartitionClaimed) bool { return e.Partition == 1 })
	if len(left) > 0 {
		t.Fatal("it left with a record in hand")
	}
	if owned := next.Partitions(); !slices.Equal(owned, []int{1}) {
		t.Errorf("the next owns %v, want [1] while a record of 0 is in hand", owned)
	}
	release()
	for what, ch := range map[string]<-chan error{"Unsubscribe": left, "the end of the loop": ended} {
		if err := harness.Await(t, what, ch); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if e := penstocktest.WaitEvent(t, taken, harness.Patience, func(e messages.PartitionClaimed) bool { return e.Partition == 0 }); e.Offset != 1 {
		t.Errorf("the next begins at %d in partition 0, want 1", e.Offset)
	}
	unsubscribe(t, next)
}

// Promise: everybody who waits for a subscription to leave is told when it has.
func TestAllWhoWaitForALeaverAreAnswered(t *testing.T) {
	for _, c := range []struct {
		name  string
		calls int // of Unsubscribe, besides the first
		stop  bool
	}{{"many Unsubscribes", 8, false}, {"Unsubscribe and Stop", 0, true}} {
		t.Run(c.name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			rt, admin := harness.Runtime(t, ns), harness.Runtime(t, ns)
			s, release, _ := busyMember(t, makeTopic(t, rt, theTopic, 2))
			events := penstocktest.Record(t, rt)
			ctx := harness.Context(t)
			answers := make(chan string, 1+c.calls+1)
			call := func(what string, do func(context.Context) error) {
				calling := make(chan struct{}, 1)
				go func() {
					calling <- struct{}{}
					if err := do(ctx); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					answers <- what
				}()
				harness.Await(t, "the call", calling)
			}
			call("Unsubscribe", s.Unsubscribe)
			penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.PartitionReleased) bool { return e.Partition == 1 })
			for range c.calls {
				call("Unsubscribe", s.Unsubscribe)
			}
			if c.stop {
				call("Stop", rt.Stop)
			}
			for range 20 { // no call shows that it waits; these take longer
				groupOf(t, admin, theTopic, theGroup)
			}
			if len(answers) > 0 {
				t.Fatal("it left with a record in hand")
			}
			release()
			want := 1 + c.calls
			if c.stop {
				want++
			}
			for range want {
				t.Log(harness.Await(t, "who waits", answers))
			}
		})
	}
}

// Promise: an Unsubscribe that waits for etcd is answered when its runtime stops
// meanwhile.
func TestUnsubscribeIsAnsweredThoughTheRuntimeStops(t *testing.T) {
	rt, on := meetTapped(t, penstocktest.Space(t))
	s := subscribe(t, makeTopic(t, rt, theTopic, 1), theGroup)
	held, _ := on.holdOnce(t, func(r request) bool { return r.deletes("/members/") })
	left, stopped := make(chan error, 1), make(chan error, 1)
	ctx := harness.Context(t)
	go func() { left <- s.Unsubscribe(ctx) }()
	harness.Await(t, "the end of the member's key", held)
	go func() { stopped <- rt.Stop(ctx) }()
	if err := harness.Await(t, "Stop", stopped); err != nil {
		t.Error("stop: ", err)
	}
	if err := harness.Await(t, "Unsubscribe", left); err != nil {
		t.Error("unsubscribe: ", err)
	}
}

// Promise: where nothing can begin, Subscribe says so, and leaves nothing.
func TestSubscribeRefusesAPlacePastTheEnd(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 2)
	newAccount().put(t, topic, 0, 6)
	_, err := topic.Subscribe(harness.Context(t), theGroup, penstock.FromOffset(100))
	if !errors.Is(err, penstock.ErrOffsetOutOfRange) {
		t.Fatalf("%v, want ErrOffsetOutOfRange", err)
	}
	sub := subscribe(t, topic, theGroup, penstock.FromOffset(2))
	for _, rec := range polled(t, sub, 2) {
		if rec.Offset != 2 {
			t.Errorf("the first of partition %d is that at %d, want 2", rec.Partition, rec.Offset)
		}
	}
	unsubscribe(t, sub)
}

// Promise: whatever somebody has written over a group's keys, the group mends
// itself, or Subscribe says what is wrong.
func TestGroupWithSpoiltKeys(t *testing.T) {
	const noise = "\xff\xff\xff"
	last, err := proto.Marshal(&pb.Assignment{Generation: 1<<63 - 1, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		key         func(s keys.Space, id string) string
		want        error
	}{
		{"assignment", noise, func(s keys.Space, id string) string { return s.Assignment(id, theGroup) }, nil},
		{"empty assignment", "", func(s keys.Space, id string) string { return s.Assignment(id, theGroup) }, nil},
		{"the last generation", string(last), func(s keys.Space, id string) string { return s.Assignment(id, theGroup) }, nil},
		{"claim", noise, func(s keys.Space, id string) string { return s.Claim(id, theGroup, 0) }, nil},
		{"committed offset", noise, func(s keys.Space, id string) string { return s.Committed(id, theGroup, 0) }, penstock.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			rt, on := meetTapped(t, ns)
			topic := makeTopic(t, rt, theTopic, 2)
			newAccount().put(t, topic, 0, 4)
			harness.OverwriteKey(t, harness.Client(t), c.key(keys.Space(ns), topic.Info().ID), c.value)
			before := on.sent.Load()
			s, err := topic.Subscribe(harness.Context(t), theGroup, penstock.RevokeTimeout(time.Second))
			if n := on.sent.Load() - before; n > 100 {
				t.Errorf("it took %d requests", n)
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want == nil {
				polled(t, s, 4)
				unsubscribe(t, s)
			}
		})
	}
}

// Promise: two members of one runtime are two members.
func TestMemberIDIsTakenInOneRuntimeToo(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 4)
	first := subscribe(t, topic, theGroup, penstock.MemberID("m"))
	for _, handle := range []*penstock.Topic{topic, openTopic(t, rt, theTopic)} {
		if _, err := handle.Subscribe(harness.Context(t), theGroup, penstock.MemberID("m")); !errors.Is(err, penstock.ErrTaken) {
			t.Errorf("a second one: %v, want ErrTaken", err)
		}
	}
	elsewhere := subscribe(t, topic, "others", penstock.MemberID("m"))
	if len(first.Partitions()) != 4 || len(elsewhere.Partitions()) != 4 {
		t.Errorf("they own %v and %v, want all in each group", first.Partitions(), elsewhere.Partitions())
	}
	unsubscribe(t, elsewhere)
	unsubscribe(t, first)
	unsubscribe(t, subscribe(t, topic, theGroup, penstock.MemberID("m")))
}

// Promise: a subscription can be left at any moment, also at that of its topic's
// end, and its reader hears why it is over, as often as it asks.
func TestSubscriptionsLeaveADeletedTopic(t *testing.T) {
	const n = 20
	ns := penstocktest.Space(t)
	rt, other := harness.Runtime(t, ns), harness.Runtime(t, ns)
	topic := makeTopic(t, rt, theTopic, 2)
	var subs []*penstock.Subscription
	for i := range n {
		subs = append(subs, subscribe(t, topic, string(rune('a'+i))))
	}
	stays := subscribe(t, topic, "stays")
	if err := other.DeleteTopic(harness.Context(t), theTopic); err != nil {
		t.Fatal(err)
	}
	ctx := harness.Context(t)
	left := make(chan error, n)
	for _, s := range subs {
		go func() { left <- s.Unsubscribe(ctx) }()
	}
	for range subs {
		if err := harness.Await(t, "Unsubscribe", left); err != nil && !errors.Is(err, penstock.ErrTopicDeleted) {
			t.Error(err)
		}
	}
	for range 2 {
		if _, err := stays.Poll(ctx, 1); !errors.Is(err, penstock.ErrTopicDeleted) {
			t.Errorf("poll: %v, want ErrTopicDeleted", err)
		}
	}
	unsubscribe(t, stays)
}
