package topics_test

// Consumers that die while their host answers: nobody waits for their leases.

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

// Promise: the partitions of a consumer that is killed go to the others as soon as its
// host says so, and not when its lease ends; those of the oldest member, who assigns,
// too. A consumer that stands still keeps its own.
func TestKilledConsumersAreNotWaitedFor(t *testing.T) {
	const ttl, soon = 30 * time.Second, 10 * time.Second // a lease that is renewed lasts for twenty at least
	p := newParty(t, 8)
	consumer := func(name string) *child { return p.spawn(t, roleConsumer, name, ttl) }
	oldest, heir, killed, frozen := consumer("oldest"), consumer("heir"), consumer("killed"), consumer("frozen")
	load := p.acct.load(t, p.topic, 0)
	for _, c := range []*child{oldest, heir, killed, frozen} {
		p.acct.flows(t, c.name, 100)
	}
	kept := func(before, after penstock.GroupInfo) (n int) {
		for i, was := range before.Partitions {
			if now := after.Partitions[i]; now.Owner == was.Owner && now.Fence == was.Fence {
				n++
			}
		}
		return n
	}

	resume := penstocktest.Freeze(t, frozen.cmd.Process)
	before := p.awaitOwners(t, 4)
	began := time.Now()
	killed.kill(t)
	after := p.awaitOwners(t, 3)
	if took := time.Since(began); took > soon {
		t.Errorf("the partitions moved after %s", took)
	}
	if n := kept(before, after); n != 6 {
		t.Errorf("%d partitions stayed where they were, want those of the three others: %+v, then %+v", n, before, after)
	}
	resume()
	p.acct.flows(t, "frozen", 100)

	before = p.awaitOwners(t, 3)
	began = time.Now()
	oldest.kill(t)
	after = p.awaitOwners(t, 2)
	if took := time.Since(began); took > soon {
		t.Errorf("the partitions of the oldest moved after %s", took)
	}
	if n := kept(before, after); n != 5 {
		t.Errorf("%d partitions stayed where they were, want those of the two others: %+v, then %+v", n, before, after)
	}
	load.stop(t)
	p.acct.settle(t, p.rt, theTopic, "oldest", "killed")
	heir.stop(t)
	frozen.stop(t)
	caughtUp(t, p.rt, theTopic, theGroup)
	p.audit()
}
