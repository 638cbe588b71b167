package topics_test

// Producers, consumers and coordinators that die, stand still and come back.

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// party is a topic in a namespace of its own on the package's etcd, with a
// runtime to look at it.
type party struct {
	ns    string
	rt    *penstock.Runtime
	topic *penstock.Topic
	acct  *account
	audit func() int
}

const theTopic, theGroup = "events", "workers"

func newParty(t *testing.T, partitions int) *party {
	t.Helper()
	p := &party{ns: penstocktest.Space(t), acct: newAccount()}
	p.rt = harness.Runtime(t, p.ns)
	p.topic = makeTopic(t, p.rt, theTopic, partitions)
	p.audit = auditCommits(t, harness.Client(t), p.ns, p.topic.Info().ID, theGroup)
	return p
}

func (p *party) spawn(t *testing.T, role, name string, ttl time.Duration) *child {
	t.Helper()
	c := spawn(t, childSpec{
		Role: role, Name: name, Endpoints: []string{harness.Etcd.Endpoint()}, Space: p.ns, Topic: theTopic, Group: theGroup, LeaseTTL: ttl,
	}, p.acct)
	c.says(t, "ready")
	return c
}

// Promise: what a producer was told is committed is there after it was killed,
// once, and what it was not told is there once or not at all; the next producer
// continues, and consumers notice nothing.
func TestProducerKilledUnderLoad(t *testing.T) {
	p := newParty(t, 4)
	sub := subscribe(t, p.topic, theGroup)
	p.acct.consume(t, "consumer", sub)
	for round := range 3 {
		producer := p.spawn(t, roleProducer, fmt.Sprint("producer ", round), 0)
		producer.tell(t, fmt.Sprint("put ", round*apart))
		p.acct.flows(t, "", 500)
		producer.kill(t)
	}
	last := p.acct.load(t, p.topic, 10*apart)
	p.acct.flows(t, "", 200)
	last.stop(t)
	p.acct.settle(t, p.rt, theTopic)
	unsubscribe(t, sub)
	caughtUp(t, p.rt, theTopic, theGroup)
	if n := p.audit(); n == 0 {
		t.Error("the audit saw no commit")
	}
}

// Promise: the partitions of a consumer that is killed go to the others, which
// handle again only what it had not committed; of the oldest member, who
// assigns, too; and of all at once.
func TestConsumersKilledUnderLoad(t *testing.T) {
	p := newParty(t, 8)
	consumer := func(name string) *child { return p.spawn(t, roleConsumer, name, 2*time.Second) }
	oldest, second, third := consumer("oldest"), consumer("second"), consumer("third")
	load := p.acct.load(t, p.topic, 0)
	for _, c := range []*child{oldest, second, third} {
		p.acct.flows(t, c.name, 200)
	}
	third.kill(t)
	p.awaitOwners(t, 2)
	p.acct.flows(t, "oldest", 200)
	p.acct.flows(t, "second", 200)
	oldest.kill(t)
	p.awaitOwners(t, 1)
	p.acct.flows(t, "second", 500)
	fourth := consumer("fourth")
	p.acct.flows(t, "fourth", 200)
	second.kill(t)
	fourth.kill(t)
	fifth := p.spawn(t, roleConsumer, "fifth", 0)
	p.acct.flows(t, "fifth", 500)
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic, "oldest", "second", "third", "fourth")
	fifth.stop(t)
	caughtUp(t, p.rt, theTopic, theGroup)
	if n := p.audit(); n == 0 {
		t.Error("the audit saw no commit")
	}
}

// awaitOwners waits until every partition has an owner, and the n of them have
// even shares.
func (p *party) awaitOwners(t *testing.T, n int) penstock.GroupInfo {
	t.Helper()
	var g penstock.GroupInfo
	err := harness.UntilKeys(harness.Context(t), harness.Client(t), p.ns+"/groups/", func([]string) bool {
		g = groupOf(t, p.rt, theTopic, theGroup)
		shares := map[string]int{}
		for _, part := range g.Partitions {
			shares[part.Owner]++
		}
		least, most := len(g.Partitions), 0
		for _, share := range shares {
			least, most = min(least, share), max(most, share)
		}
		return shares[""] == 0 && len(shares) == n && len(g.Members) == n && most-least <= 1
	})
	if err != nil {
		t.Fatalf("%d owners of all partitions: %v; the group is %+v", n, err, g)
	}
	return g
}

// Promise: liveness is judged by the lease, and ownership by the fence. A
// consumer frozen past its lease with a record in hand loses its partitions; the
// commit of that record, made when it wakes, is refused, and the record carries
// a fence that is older than its successor's. Then it works again.
func TestConsumerFrozenPastItsLease(t *testing.T) {
	p := newParty(t, 4)
	frozen := p.spawn(t, roleConsumer, "frozen", 2*time.Second)
	load := p.acct.load(t, p.topic, 0)
	p.acct.flows(t, "frozen", 200)
	frozen.tell(t, "hold")
	in := frozen.says(t, "holding")
	held, partition, fence := int(in[0]), int(in[1]), in[3]

	resume := penstocktest.Freeze(t, frozen.cmd.Process)
	other := subscribe(t, p.topic, theGroup)
	p.acct.consume(t, "other", other)
	p.awaitOwners(t, 1)
	p.acct.await(t, "the record in hand, by the other", func() bool { return len(p.acct.handled[held]) > 0 })
	p.acct.mu.Lock()
	after := p.acct.handled[held][0]
	p.acct.mu.Unlock()
	if after.who != "other" || after.place.partition != partition || after.fence <= fence {
		t.Errorf("the record was in hand under fence %d, and then %+v", fence, after)
	}
	p.acct.flows(t, "other", 200)
	before := groupOf(t, p.rt, theTopic, theGroup)
	frozen.tell(t, "commit")
	resume()
	frozen.says(t, "fenced")
	for i, part := range groupOf(t, p.rt, theTopic, theGroup).Partitions {
		if part.Committed < before.Partitions[i].Committed {
			t.Errorf("partition %d went back from %d to %d", i, before.Partitions[i].Committed, part.Committed)
		}
	}
	p.awaitOwners(t, 2)
	p.acct.flows(t, "frozen", 200)
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic, "frozen")
	frozen.stop(t)
	unsubscribe(t, other)
	caughtUp(t, p.rt, theTopic, theGroup)
	p.audit()
}
