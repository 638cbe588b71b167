package topics_test

// Records that are acked one by one, while their consumers die.

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// handler starts a process that handles several records at once.
func (p *party) handler(t *testing.T, name string, poison, held int) *child {
	t.Helper()
	c := spawn(t, childSpec{
		Role: roleHandler, Name: name, Endpoints: []string{harness.Etcd.Endpoint()}, Space: p.ns, Topic: theTopic, Group: theGroup,
		LeaseTTL: 10 * time.Second, Concurrency: 8, Poison: poison, Held: held,
	}, p.acct)
	c.says(t, "ready")
	return c
}

// expire ends the leases of all members, whose processes are dead.
func (p *party) expire(t *testing.T) {
	t.Helper()
	ctx := harness.Context(t)
	members, err := harness.Client(t).Get(ctx, fmt.Sprintf("%s/groups/%s/%s/members/", p.ns, p.topic.Info().ID, theGroup), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range members.Kvs {
		if _, err := harness.Client(t).Revoke(ctx, clientv3.LeaseID(kv.Lease)); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *party) put(t *testing.T, records int) {
	t.Helper()
	var batch []penstock.Message
	for id := range records {
		m := harness.Numbered(id)
		m.Key = fmt.Append(nil, "key ", id%40)
		batch = append(batch, m)
	}
	results, err := p.topic.PutBatch(harness.Context(t), batch)
	if err != nil {
		t.Fatal(err, results)
	}
}

// Promise: of a consumer that is killed only what was not finished is handled again, though
// it had finished everything else behind that.
func TestKilledConsumerRepeatsOnlyWhatWasNotFinished(t *testing.T) {
	const records, held = 300, 10
	p := newParty(t, 1)
	p.put(t, records)
	first := p.handler(t, "first", -1, held)
	first.says(t, "holding")
	behind := int64(records - held - 1 - (records-held-1)/40) // those of its key wait for it
	harness.Eventually(t, "the commit of what is finished", func() bool {
		part := groupOf(t, p.rt, theTopic, theGroup).Partitions[0]
		return part.Committed == held && part.Done == behind && part.Lag == records-held-behind
	})
	first.kill(t)
	p.expire(t)
	second := p.handler(t, "second", -1, -1)
	harness.Eventually(t, "the end", func() bool {
		return groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Committed == records
	})
	second.stop(t)
	did := second.done()
	var want []int64
	for id := int64(held); id < records; id += 40 {
		want = append(want, id)
	}
	if !slices.Equal(did, want) {
		t.Errorf("the second one has handled %v, want %v", did, want)
	}
}

// Promise: a record that kills each process that handles it becomes a dead letter, and all
// others are handled.
func TestRecordThatKillsItsConsumersIsADeadLetter(t *testing.T) {
	const records, poison = 60, 25
	p := newParty(t, 1)
	p.put(t, records)
	times := map[int64]int{}
	owners := 0
	for over := false; !over; {
		if owners++; owners > 12 {
			t.Fatalf("%d processes have died, and there is no dead letter", owners-1)
		}
		c := p.handler(t, fmt.Sprint("owner ", owners), poison, -1)
		c.stopped.Store(true) // it may end by itself
		harness.Eventually(t, "its end, or that of the records", func() bool {
			select {
			case <-c.dead:
				return true
			default:
				over = groupOf(t, p.rt, theTopic, theGroup).Partitions[0].Committed == records
				return over
			}
		})
		if over {
			c.stop(t)
		} else {
			p.expire(t)
		}
		for _, id := range c.done() {
			times[id]++
		}
	}
	letters, err := p.rt.Topic(harness.Context(t), theLetters)
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.rt.DescribeTopic(harness.Context(t), theLetters)
	if err != nil || d.Partitions[0].End != 1 {
		t.Fatalf("%d dead letters, %v", d.Partitions[0].End, err)
	}
	for r, err := range letters.Read(harness.Context(t), 0, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		of, ok := messages.DeadRecordOf(r.Payload)
		if !ok || recordNumber(r) != poison || of.Topic != theTopic || of.Offset != poison || of.Group != theGroup || of.Deaths != letterAfter {
			t.Errorf("the dead letter %d is %+v", recordNumber(r), of)
		}
		break
	}
	for id := range int64(records) {
		if n := times[id]; id != poison && n == 0 || n > owners {
			t.Errorf("record %d was handled %d times", id, n)
		}
	}
	// One that committed something before it died was no death without progress.
	if least := 2 + letterAfter + 1; owners < least || owners > least+2 {
		t.Errorf("%d processes, want %d, or two more", owners, least)
	}
}
