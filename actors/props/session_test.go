package props_test

// Children whose session is lost, and partitions that change hands.

import (
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// leaseOf is the lease of the one key with word in it; 0 when it is not there.
func leaseOf(t *testing.T, s enginetest.Space, c *clientv3.Client, word string) clientv3.LeaseID {
	t.Helper()
	keys := s.With(t, c, word)
	if len(keys) != 1 {
		return 0
	}
	resp, err := c.Get(enginetest.Within(t), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return 0
	}
	return clientv3.LeaseID(resp.Kvs[0].Lease)
}

// revoke ends the session that has a key with word, as if it had not been renewed.
func revoke(t *testing.T, s enginetest.Space, c *clientv3.Client, word string) (ended clientv3.LeaseID) {
	t.Helper()
	ended = leaseOf(t, s, c, word)
	if _, err := c.Revoke(enginetest.Within(t), ended); err != nil {
		t.Fatal(err)
	}
	return ended
}

// Children outlive their session: the next one has their keys, and no parent hears of a
// failure.
func TestChildrenOutliveTheirSession(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	topic(t, e, "audit", 2)
	got := make(chan string, 100)
	to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.Delivery); ok {
			d.Ack()
			got <- string(d.Value)
		}
	}))
	t.Cleanup(func() { stop(t, e, to) })
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders", SoleSender: true}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	puts := &household{}
	_, producer := audit(t, e, puts, actors.ProducerConfig{})
	l := newLedger(t)
	reports := &household{}
	_, child := report(t, e, reports, actors.SubscriptionConfig{ID: "r"}, actors.Receiver{To: receiver(t, e, func(r messages.Record) error { l.note(r); return nil })})
	for round := range 3 {
		publish(t, e, pids["orders"], 10)
		put(t, e, producer, round*10, round*10+10)
		for range 10 {
			enginetest.Await(t, "a message", got)
		}
		l.await(round*10 + 10)
		ended := revoke(t, s, c, "/members/b")
		for _, word := range []string{"/members/b", "/members/r", "/sole", "/senders/"} {
			enginetest.Until(t, "the next session has "+word, func() bool {
				lease := leaseOf(t, s, c, word)
				return lease != 0 && lease != ended
			})
		}
	}
	if left := ask[*messages.Left](t, e, child, &messages.Leave{}); left.Err != nil {
		t.Error(left.Err)
	}
	askAll(t, e, pids)
	for _, told := range []chan any{p.told, puts.told, reports.told} {
		for len(told) > 0 {
			if f, ok := (<-told).(*supervisor.Failed); ok {
				t.Errorf("%s failed: %v", f.Who.Id, f.Err)
			}
		}
	}
	nothingLeft(t, s, c)
}

// partitions waits until the parent was told of n partitions in messages of type T, and
// returns them in order.
func partitions[T any](t *testing.T, h *household, n int, of func(T) []int) (all []int) {
	t.Helper()
	h.passed = slices.DeleteFunc(h.passed, func(m any) bool {
		got, ok := m.(T)
		if ok {
			all = append(all, of(got)...)
		}
		return ok
	})
	for len(all) < n {
		all = append(all, of(expect[T](t, h))...)
	}
	slices.Sort(all)
	return all
}

func assigned(m *messages.Assigned) []int { return m.Partitions }
func revoking(m *messages.Revoking) []int { return m.Partitions }
func lost(m *messages.Lost) []int         { return m.Partitions }

// Of two subscriptions the second gets what the first one's parent has released, and
// begins behind it; when it leaves, the first has it again.
func TestPartitionsAreHandedOver(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	topic(t, e, "audit", 4)
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	l := newLedger(t)
	to := func() actors.Receiver {
		return actors.Receiver{AwaitReleased: true, To: receiver(t, e, func(r messages.Record) error { l.note(r); return nil })}
	}
	release := func(*messages.Revoking) *messages.Released { return &messages.Released{} }
	first, second := &household{release: release}, &household{release: release}
	report(t, e, first, actors.SubscriptionConfig{ID: "first", Start: messages.Earliest()}, to())
	if all := partitions(t, first, 4, assigned); !slices.Equal(all, []int{0, 1, 2, 3}) {
		t.Errorf("the first has %v", all)
	}
	put(t, e, producer, 0, 200)
	l.await(200)
	_, child := report(t, e, second, actors.SubscriptionConfig{ID: "second", Start: messages.Earliest()}, to())
	gave, has := partitions(t, first, 2, revoking), partitions(t, second, 2, assigned)
	if !slices.Equal(gave, has) {
		t.Errorf("the first releases %v, the second has %v", gave, has)
	}
	put(t, e, producer, 200, 400)
	l.await(400)
	if left := ask[*messages.Left](t, e, child, &messages.Leave{}); left.Err != nil {
		t.Error(left.Err)
	}
	if gave := partitions(t, second, 2, revoking); !slices.Equal(gave, has) {
		t.Errorf("the second releases %v, it had %v", gave, has)
	}
	if again := partitions(t, first, 2, assigned); !slices.Equal(again, has) {
		t.Errorf("the first has %v again, the second had %v", again, has)
	}
	put(t, e, producer, 400, 600)
	l.await(600)
	l.mu.Lock()
	defer l.mu.Unlock()
	for value, times := range l.vals {
		if times != 1 {
			t.Errorf("%s came %d times", value, times)
		}
	}
}

// A subscription that is fenced, because its session ended and another runtime took its
// partitions, tells its parent which it has lost, and nobody misses a record.
func TestAParentHearsOfAFencing(t *testing.T) {
	s := enginetest.NewSpace(t)
	c := s.Client(t)
	mine, other := s.Begin(t), s.Begin(t)
	topic(t, mine, "audit", 4)
	_, producer := audit(t, mine, &household{}, actors.ProducerConfig{})
	l := newLedger(t)
	note := func(r messages.Record) error { l.note(r); return nil }
	first, second := &household{}, &household{}
	report(t, mine, first, actors.SubscriptionConfig{ID: "first", Start: messages.Earliest()}, actors.Receiver{To: receiver(t, mine, note)})
	report(t, other, second, actors.SubscriptionConfig{ID: "second", Start: messages.Earliest()}, actors.Receiver{To: receiver(t, other, note)})
	partitions(t, second, 2, assigned)
	put(t, mine, producer, 0, 100)
	l.await(100)
	revoke(t, s, c, "/members/first")
	gone := partitions(t, first, 2, lost)
	got := partitions(t, second, 2, assigned)
	if !slices.Equal(gone, got) {
		t.Errorf("the first has lost %v, the second got %v", gone, got)
	}
	put(t, mine, producer, 100, 200)
	l.await(200)
}

// A subscription that is stopped asks nobody to finish its partitions, which is one event,
// and no warning.
func TestAStoppedSubscriptionAsksNobody(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	topic(t, e, "audit", 4)
	l := newLedger(t)
	to := receiver(t, e, func(r messages.Record) error { l.note(r); return nil })
	h := &household{}
	_, child := report(t, e, h, actors.SubscriptionConfig{}, actors.Receiver{To: to, AwaitReleased: true})
	_, producer := audit(t, e, &household{}, actors.ProducerConfig{})
	put(t, e, producer, 0, 100)
	l.await(100)
	stop(t, e, child)
	enginetest.Until(t, "the member has left", func() bool { return e.Stats().Events["unsubscribed"] == 1 })
	if n := e.Stats().Events; n["release_unasked"] != 1 || n["commit_delayed"] != 0 {
		t.Errorf("%v", n)
	}
}
