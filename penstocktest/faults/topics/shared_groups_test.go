package topics_test

// Groups whose members lend each other records, while members die, stand still and lose
// their leases.

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// borrower starts a process that is a member of the shared group.
func (p *party) borrower(t *testing.T, name string, poison, held int, wait time.Duration) *child {
	t.Helper()
	c := spawn(t, childSpec{
		Role: roleHandler, Name: name, Endpoints: []string{harness.Etcd.Endpoint()}, Space: p.ns, Topic: theTopic, Group: theGroup,
		LeaseTTL: 10 * time.Second, Concurrency: 1, Poison: poison, Held: held, Shared: true, AckWait: wait,
	}, p.acct)
	c.says(t, "ready")
	return c
}

// loans is what members in this process have handled.
type loans struct {
	mu    sync.Mutex
	times map[int]int
	last  map[int]penstock.Record
}

// share subscribes to the group in this process, and handles what comes unless idle.
func (p *party) share(t *testing.T, l *loans, idle bool, opts ...penstock.SubscribeOption) *penstock.Subscription {
	t.Helper()
	opts = append([]penstock.SubscribeOption{penstock.Shared(), penstock.CommitEvery(20 * time.Millisecond), penstock.DeadLetterTopic(theLetters, letterAfter)}, opts...)
	rt := harness.Runtime(t, p.ns)
	sub := subscribe(t, openTopic(t, rt, theTopic), theGroup, opts...)
	if idle {
		return sub
	}
	go func() {
		_ = sub.Consume(context.Background(), func(_ context.Context, r penstock.Record) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			n := recordNumber(r)
			l.times[n]++
			l.last[n] = r.Clone()
			return nil
		})
	}()
	return sub
}

func newLoans() *loans { return &loans{times: map[int]int{}, last: map[int]penstock.Record{}} }

// spread puts records without keys, which any member may have at any time.
func (p *party) spread(t *testing.T, from, to int) {
	t.Helper()
	var batch []penstock.Message
	for id := from; id < to; id++ {
		batch = append(batch, harness.Numbered(id))
	}
	if results, err := p.topic.PutBatch(harness.Context(t), batch); err != nil {
		t.Fatal(err, results)
	}
}

// all waits until the group has committed everything, and fails for what nobody has
// handled. It returns how often records were handled more than once.
func (l *loans) all(t *testing.T, p *party, records int, others ...*child) (again int) {
	t.Helper()
	harness.Eventually(t, "the commit of all", func() bool {
		return groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Committed == int64(records)
	})
	times := map[int]int{}
	l.mu.Lock()
	for id, n := range l.times {
		times[id] += n
	}
	l.mu.Unlock()
	for _, c := range others {
		for _, id := range c.done() {
			times[int(id)]++
		}
	}
	for id := range records {
		switch n := times[id]; {
		case n == 0:
			t.Errorf("record %d was handled by nobody", id)
		case n > 1:
			again += n - 1
		}
	}
	return again
}

// Promise: what a member of a shared group has in hand when it is killed, others get, with a
// death counted of what it may have begun; what it has finished comes again only where its
// ack was on the way.
func TestBorrowerKilled(t *testing.T) {
	const records, held = 400, 150
	p, l := newParty(t, 1), newLoans()
	p.share(t, l, true) // the owner, who has no handler
	killed, other := p.borrower(t, "killed", -1, held, 0), p.borrower(t, "other", -1, held+records, 0)
	p.spread(t, 0, held)
	harness.Eventually(t, "those before", func() bool {
		return groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Committed == held
	})
	other.kill(t) // the record that is held goes to the one who holds it
	p.spread(t, held, records)
	killed.says(t, "holding")
	killed.kill(t)
	p.share(t, l, false)
	if again := l.all(t, p, records, killed, other); again > 32 {
		t.Errorf("%d records were handled again, more than were in hand", again)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.last[held]; r.Deaths != 1 || r.Attempt != 1 {
		t.Errorf("the record in hand came with %d deaths, attempt %d", r.Deaths, r.Attempt)
	}
}

// Promise: an owner of a shared group that is killed is followed by another member, which
// repeats nothing that was committed.
func TestLendingOwnerKilled(t *testing.T) {
	const records = 600
	p, l := newParty(t, 1), newLoans()
	owner := p.borrower(t, "owner", -1, -1, 0)
	p.share(t, l, false)
	p.share(t, l, false)
	for from := 0; from < records/2; from += 50 {
		p.spread(t, from, from+50)
	}
	var before penstock.GroupInfo
	harness.Eventually(t, "a commit", func() bool {
		before = groupOf(t, p.rt, theTopic, theGroup)
		return before.Partitions[0].Committed > 0
	})
	owner.kill(t)
	p.spread(t, records/2, records)
	l.all(t, p, records, owner)
	own := map[int]int{}
	for _, id := range owner.done() {
		own[int(id)]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range int(before.Partitions[0].Committed) {
		if n := l.times[id] + own[id]; n != 1 {
			t.Errorf("record %d was committed, and handled %d times", id, n)
		}
	}
}

// Promise: an owner whose lease is revoked loses its partition and commits nothing more; the
// group goes on under the next claim, and nothing is lost.
func TestLendingOwnerLosesItsLease(t *testing.T) {
	const records = 500
	p, l := newParty(t, 1), newLoans()
	sub := p.share(t, l, false)
	p.share(t, l, false)
	p.spread(t, 0, records/2)
	fence := groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Fence
	members, err := harness.Client(t).Get(harness.Context(t), fmt.Sprintf("%s/groups/%s/%s/members/%s", p.ns, p.topic.Info().ID, theGroup, sub.ID()))
	if err != nil || len(members.Kvs) != 1 {
		t.Fatal(members, err)
	}
	if _, err := harness.Client(t).Revoke(harness.Context(t), clientv3.LeaseID(members.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	p.spread(t, records/2, records)
	l.all(t, p, records)
	if after := groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Fence; after <= fence {
		t.Errorf("fence %d after %d", after, fence)
	}
}

// Promise: what a member keeps that stands still goes to others after AckWait, and when it
// goes on nothing is lost or counted for it.
func TestBorrowerFrozen(t *testing.T) {
	const records = 300
	p, l := newParty(t, 1), newLoans()
	p.share(t, l, true)
	frozen := p.borrower(t, "frozen", -1, 20, 2*time.Second)
	p.spread(t, 0, 21)
	frozen.says(t, "holding")
	resume := penstocktest.Freeze(t, frozen.cmd.Process)
	p.share(t, l, false, penstock.AckWait(2*time.Second))
	p.spread(t, 21, records)
	harness.Eventually(t, "the record in hand, by another", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.times[20] > 0
	})
	again := l.all(t, p, records, frozen)
	resume()
	if again > 32 {
		t.Errorf("%d records were handled again, more than were in hand", again)
	}
}

// Promise: a record that kills each member that gets it becomes a dead letter, with its
// deaths, and the owner and all other records live.
func TestRecordThatKillsBorrowersIsADeadLetter(t *testing.T) {
	const records, poison = 60, 25
	p, l := newParty(t, 1), newLoans()
	owner := p.share(t, l, true)
	p.spread(t, 0, records)
	var all []*child
	committed := func() int64 { return groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Committed }
	for committed() < records {
		if len(all) > letterAfter+1 { // the first one may have died before its acks were sent
			t.Fatalf("%d processes have died, and there is no dead letter", len(all))
		}
		c := p.borrower(t, fmt.Sprint("borrower ", len(all)), poison, -1, 0)
		c.stopped.Store(true) // it may end by itself
		all = append(all, c)
		harness.Eventually(t, "its end, or that of the records", func() bool {
			select {
			case <-c.dead:
				return true
			default:
				return committed() == records
			}
		})
	}
	all[len(all)-1].stop(t)
	if n := owner.Stats().Died; n < letterAfter || n > letterAfter+1 {
		t.Errorf("%d deaths were counted", n)
	}
	letters := openTopic(t, p.rt, theLetters)
	for r, err := range letters.ReadTo(harness.Context(t), 0, penstock.FromEarliest(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if of, ok := messages.DeadRecordOf(r.Payload); !ok || of.Offset != poison || of.Deaths != letterAfter || of.Attempts != 1 {
			t.Errorf("the dead letter is %+v", of)
		}
	}
}

// Promise: a record that kills the owner that handles it, as often as there is one, becomes a
// dead letter: its deaths are written before it is lent.
func TestRecordThatKillsLendingOwnersIsADeadLetter(t *testing.T) {
	const records, poison = 40, 15
	p := newParty(t, 1)
	p.spread(t, 0, records)
	committed := func() int64 { return groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Committed }
	for owners, over := 0, false; !over; owners++ {
		if owners > 2+letterAfter+3 {
			t.Fatalf("%d owners have died, and there is no dead letter", owners)
		}
		c := p.borrower(t, fmt.Sprint("owner ", owners), poison, -1, 0)
		c.stopped.Store(true) // it may end by itself
		harness.Eventually(t, "its end, or that of the records", func() bool {
			select {
			case <-c.dead:
				return true
			default:
				over = committed() == records
				return over
			}
		})
		if over {
			c.stop(t)
		} else {
			p.expire(t)
		}
	}
	d, err := p.rt.DescribeTopic(harness.Context(t), theLetters)
	if err != nil || d.Partitions[0].End != 1 {
		t.Fatalf("%+v, %v", d.Partitions, err)
	}
}
