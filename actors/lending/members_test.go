package lending_test

// What the members of a shared group make of records that are slow, fail, have one key, or
// come while members come and go.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/carrier"
)

// Promise: a record that takes long holds up nothing else, not what waits behind it at the
// same member either, and what is finished behind it is committed.
func TestSlowRecordHoldsNobodyUp(t *testing.T) {
	const records = 200
	c := newCrew(t)
	slow, release := make(chan string, 1), make(chan struct{})
	for _, name := range []string{"one", "two"} {
		c.consume(t, c.subscribe(t, name), func(ctx context.Context, r messages.Record) error {
			if r.Offset == 5 {
				slow <- name
				<-release
			}
			return nil
		})
	}
	c.put(t, unkeyed(records)...)
	enginetest.Await(t, "the slow record", slow)
	c.until(t, records-1)
	enginetest.Until(t, "the commit of what is finished", func() bool {
		g, err := c.engine.DescribeConsumerGroup(enginetest.Within(t), theTopic, theGroup)
		return err == nil && g.Partitions[0].Committed == 5 && g.Partitions[0].Done == records-6 && g.Mode == messages.GroupShared
	})
	close(release)
	c.committed(t, records)
	c.once(t, records)
}

// Promise: a record that fails is tried again, by whichever member, as often as
// RecordDeadLetters says, each attempt is counted once, and it holds up nothing but its key.
func TestFailedRecordIsTriedByAllMembers(t *testing.T) {
	const records, bad, rejected, late = 60, 7, 9, 11
	c := newCrew(t)
	var tries, wrong atomic.Int64
	var mu sync.Mutex
	dead := make(map[int64]string)
	var asked time.Time
	for _, name := range []string{"one", "two"} {
		c.consume(t, c.subscribe(t, name, func(cfg *actors.SubscriptionConfig) {
			cfg.Retry = messages.Retry{Min: time.Millisecond, Max: time.Millisecond}
			cfg.MaxAttempts = 3
			cfg.DeadLetter = func(_ context.Context, r messages.Record, cause error) error {
				mu.Lock()
				defer mu.Unlock()
				dead[r.Offset] = fmt.Sprint(r.Attempt, " ", cause)
				return nil
			}
		}), func(_ context.Context, r messages.Record) error {
			switch r.Offset {
			case bad:
				if int64(r.Attempt) != tries.Add(1) {
					wrong.Add(1)
				}
				return errors.New("out of order")
			case rejected:
				return fmt.Errorf("no such customer: %w", messages.ErrReject)
			case late:
				mu.Lock()
				defer mu.Unlock()
				if r.Attempt == 1 {
					asked = time.Now()
					return messages.RetryAfter(300*time.Millisecond, nil)
				}
				if time.Since(asked) < 300*time.Millisecond {
					wrong.Add(1)
				}
			}
			return nil
		})
	}
	c.put(t, unkeyed(records)...)
	c.committed(t, records)
	c.until(t, records-2)
	mu.Lock()
	defer mu.Unlock()
	want := map[int64]string{bad: "3 out of order", rejected: "1 no such customer: " + messages.ErrReject.Error()}
	if fmt.Sprint(dead) != fmt.Sprint(want) || tries.Load() != 3 || wrong.Load() > 0 {
		t.Errorf("dead letters %v after %d attempts, %d of them wrong; want %v", dead, tries.Load(), wrong.Load(), want)
	}
}

// Promise: the records of one key are handled one after the other in their order, whichever
// members have them.
func TestOrderPerKeyAcrossMembers(t *testing.T) {
	const records, keys = 300, 7
	c := newCrew(t)
	var mu sync.Mutex
	last, busy := make(map[string]int64), make(map[string]bool)
	var faults []string
	handle := func(_ context.Context, r messages.Record) error {
		key := string(r.Key)
		mu.Lock()
		if at, ok := last[key]; ok && r.Offset <= at || busy[key] {
			faults = append(faults, fmt.Sprintf("%s: %d after %d", key, r.Offset, at))
		}
		last[key], busy[key] = r.Offset, true
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		busy[key] = false
		mu.Unlock()
		return nil
	}
	for _, name := range []string{"one", "two", "three"} {
		c.consume(t, c.subscribe(t, name, func(cfg *actors.SubscriptionConfig) { cfg.Concurrency = 2 }), handle)
	}
	names := unkeyed(records)
	for i := range names {
		names[i] = fmt.Sprint("key ", i%keys)
	}
	c.put(t, names...)
	c.until(t, records)
	shares := c.once(t, records)
	mu.Lock()
	defer mu.Unlock()
	if len(faults) > 0 || len(shares) != 3 {
		t.Errorf("shares %v, out of order: %q", shares, faults)
	}
}

// Promise: members that join and leave in order under load, owners too, lose nothing and
// have nothing handled twice.
func TestMembersJoinAndLeaveUnderLoad(t *testing.T) {
	const rounds, each = 5, 150
	c := newCrew(t)
	work := func(context.Context, messages.Record) error { time.Sleep(500 * time.Microsecond); return nil }
	type at struct {
		sub  *actors.Subscription
		over <-chan error
	}
	join := func(n int) at {
		sub := c.subscribe(t, fmt.Sprint("member-", n))
		return at{sub, c.consume(t, sub, work)}
	}
	crew := []at{join(0), join(1)}
	for round := range rounds {
		c.put(t, unkeyed(each)...)
		crew = append(crew, join(round+2))
		oldest := crew[0] // it owns the partition
		crew = crew[1:]
		if err := oldest.sub.Unsubscribe(enginetest.Within(t)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := enginetest.Outcome(t, "Consume", oldest.over); err != nil {
			t.Errorf("round %d: consume: %v", round, err)
		}
	}
	c.until(t, rounds*each)
	c.committed(t, rounds*each)
	c.once(t, rounds*each)
}

// Promise: while a group is paused its members get nothing, not what was lent before either,
// and afterwards they go on. A member that is paused by itself leaves all to the others.
func TestPauseOfASharedGroup(t *testing.T) {
	const records = 100
	c := newCrew(t)
	one, two := c.subscribe(t, "one"), c.subscribe(t, "two")
	begun, release := make(chan struct{}, records), make(chan struct{})
	c.consume(t, two, func(context.Context, messages.Record) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	c.put(t, unkeyed(records)...)
	enginetest.Await(t, "a record", begun)
	ctx := enginetest.Within(t)
	if err := c.engine.PauseConsumerGroup(ctx, theTopic, theGroup, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	lent := func() int { return one.Stats().Lent + two.Stats().Lent }
	enginetest.Until(t, "what was lent is back, but for what was begun", func() bool { return lent() == 1 })
	close(release)
	enginetest.Until(t, "what was begun is finished", func() bool { return lent() == 0 })
	if len(c.once(t, 1)) != 1 || len(begun) != 0 {
		t.Errorf("%d records were begun while the group was paused", len(begun))
	}
	one.Pause()
	c.consume(t, one, nil)
	if err := c.engine.ResumeConsumerGroup(ctx, theTopic, theGroup); err != nil {
		t.Fatal(err)
	}
	c.until(t, records)
	if shares := c.once(t, records); shares["two"] != records {
		t.Errorf("a member that is paused had some: %v", shares)
	}
	one.Resume()
	two.Pause()
	c.put(t, unkeyed(records)...)
	c.until(t, 2*records)
	if shares := c.once(t, 2*records); shares["one"] != records {
		t.Errorf("shares %v", shares)
	}
}

// Promise: a loop finishes a record when it takes the next one, Poll those that it returned
// before, and what was not finished comes again.
func TestLoopsAndPollOfASharedGroup(t *testing.T) {
	const records = 50
	c := newCrew(t)
	sub := c.subscribe(t, "one")
	c.put(t, unkeyed(records)...)
	ctx := enginetest.Within(t)
	var got []int64
	for r, err := range sub.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, r.Offset); len(got) == 20 {
			break // which gives the last one back
		}
	}
	got = got[:19]
	first, err := sub.Poll(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Release(); err != nil {
		t.Fatal(err)
	}
	t.Logf("polled %d and released", len(first))
	for len(got) < records {
		recs, err := sub.Poll(ctx, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			got = append(got, r.Offset)
		}
	}
	if err := sub.Unsubscribe(ctx); err != nil { // gives back what Poll returned last
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := slices.Compact(slices.Clone(got)); len(want) != records || len(got) != records {
		t.Errorf("got %v", got)
	}
}

// Promise: what cannot work in a shared group is refused, with what to do in its place.
func TestWhatSharedGroupsRefuse(t *testing.T) {
	c := newCrew(t)
	sub := c.subscribe(t, "one")
	ctx := enginetest.Within(t)
	async := make(chan error, 1)
	sub.CommitAsync(func(err error) { async <- err })
	_, transact := sub.Transact(ctx, 1, func(*actors.Tx, []messages.Record) error { return nil })
	for what, err := range map[string]error{
		"Commit": sub.Commit(ctx), "CommitAsync": enginetest.Await(t, "the callback", async), "Seek": sub.Seek(ctx, 0, messages.Earliest()),
		"Transact": transact, "ConsumeTx": sub.ConsumeTx(ctx, 1, func(*actors.Tx, []messages.Record) error { return nil }),
		"ConsumeBatches": sub.ConsumeBatches(ctx, 2, func(context.Context, []messages.Record) (int, error) { return 0, nil }),
	} {
		if !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, set := range map[string]func(*actors.SubscriptionConfig){
		"manual commits": func(c *actors.SubscriptionConfig) { c.ManualCommit = true },
		"BeforeRelease": func(c *actors.SubscriptionConfig) {
			c.BeforeRelease = func(context.Context, []int) error { return nil }
		},
		"named partitions":   func(c *actors.SubscriptionConfig) { c.Partitions = []int{0} },
		"partitions at once": func(c *actors.SubscriptionConfig) { c.PartitionsAtOnce = 2 },
		"a short AckWait":    func(c *actors.SubscriptionConfig) { c.AckWait = time.Millisecond },
		"AckWait and no Shared": func(c *actors.SubscriptionConfig) {
			c.Shared, c.AckWait = false, time.Second
		},
	} {
		if _, err := c.try(t, c.topic, "another", set); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Promise: a handler of dead letters can end its own subscription, and is not waited for by
// itself.
func TestDeadLetterHandlerUnsubscribes(t *testing.T) {
	c := newCrew(t)
	var sub *actors.Subscription
	said := make(chan error, 1)
	sub = c.subscribe(t, "one", func(cfg *actors.SubscriptionConfig) {
		cfg.MaxAttempts = 1
		cfg.DeadLetter = func(ctx context.Context, _ messages.Record, _ error) error {
			said <- sub.Unsubscribe(ctx)
			return nil
		}
	})
	end := c.consume(t, sub, func(context.Context, messages.Record) error { return errors.New("no disk") })
	c.put(t, "key")
	if err := enginetest.Outcome(t, "Unsubscribe", said); !errors.Is(err, messages.ErrBusy) {
		t.Errorf("unsubscribe within the handler: %v", err)
	}
	if err := enginetest.Outcome(t, "Consume", end); err != nil {
		t.Error(err)
	}
	c.committed(t, 1)
}

// Promise: an owner that etcd may have given up lends nothing on: what nobody has begun
// comes back.
func TestOwnerWithoutALeaseRecalls(t *testing.T) {
	const records = 50
	c := newCrew(t)
	space, gate := c.space.Behind(t, "no such word in any request")
	e := space.Begin(t, func(cfg *actors.Config) { cfg.LeaseTTL = 2 * time.Second })
	sub, err := c.try(t, c.open(t, e), "owner")
	if err != nil {
		t.Fatal(err)
	}
	c.put(t, unkeyed(records)...)
	enginetest.Until(t, "all is lent, and nobody reads", func() bool { return sub.Stats().Lent == records })
	gate.Shut()
	enginetest.Until(t, "all has come back", func() bool { return sub.Stats().Lent == 0 })
	gate.Open()
	c.consume(t, sub, nil)
	c.until(t, records)
	c.once(t, records)
}

// Promise: AllowMembers is asked about the links over which a shared group lends, by the
// name of their destination, and who is refused handles what it owns and nothing else.
func TestAllowMembersIsAskedAboutLoans(t *testing.T) {
	const records = 100
	c := newCrew(t)
	var asked atomic.Int64
	refuses := func(cfg *actors.Config) {
		cfg.AllowMembers = func(destination, group string, _ carrier.Identity) error {
			if destination == keys.Loans(c.topic.Info().ID, theGroup) && group == theGroup {
				asked.Add(1)
			}
			return errors.New("nobody may")
		}
	}
	for _, name := range []string{"one", "two"} {
		sub, err := c.try(t, c.open(t, c.space.Begin(t, refuses)), name)
		if err != nil {
			t.Fatal(err)
		}
		c.consume(t, sub, func(context.Context, messages.Record) error { return nil })
	}
	enginetest.Until(t, "somebody is asked for", func() bool { return asked.Load() > 0 })
	c.put(t, unkeyed(records)...)
	c.until(t, records)
	if shares := c.once(t, records); len(shares) != 1 {
		t.Errorf("records of one partition were handled by %v", shares)
	}
}
