package topics_test

// Producers that put again what they may have put before a death.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// resent is how many records a resender puts at once: after a death so many may be in
// the topic or not.
const resent = 25

// resend puts numbered records with ids, in order, beginning behind the last one that the
// topic is sure to have.
func (s childSpec) resend(ctx context.Context, topic *penstock.Topic) error {
	tell("ready")
	told := orders()
	if _, ok := <-told; !ok {
		return nil
	}
	last, err := topic.LastID(ctx, s.Producer)
	if err != nil {
		return err
	}
	next := 0
	if last != "" {
		if _, err := fmt.Sscanf(last, s.Producer+"/%d", &next); err != nil {
			return err
		}
		next = max(0, next+1-resent)
	}
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	for ; ; next += resent {
		select {
		case <-told:
			return nil
		case <-tick.C:
		}
		var msgs []penstock.Message
		for n := next; n < next+resent; n++ {
			m := harness.Numbered(s.First + n)
			m.ID = fmt.Sprintf("%s/%d", s.Producer, n)
			if n%2 == 0 {
				m.Key = fmt.Append(nil, n%14)
			}
			msgs = append(msgs, m)
		}
		results, err := topic.PutBatch(ctx, msgs)
		if err != nil {
			return err
		}
		for i, r := range results {
			tell("accepted", s.First+next+i, r.Partition, r.Offset)
		}
	}
}

// Promise: in a topic with a window of ids each record is there once, and every put of
// its id is told where, though producers are killed, continue from LastID, and put again
// what they had put; and though the one before is still alive and puts the same.
func TestProducersPutAgainAfterDeaths(t *testing.T) {
	p := newParty(t, 4)
	if _, err := p.rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{DedupeWindow: time.Hour}); err != nil {
		t.Fatal(err)
	}
	names := []string{"till-1", "till-2"}
	first := map[string]int{names[0]: 0, names[1]: apart}
	begun := 0
	begin := func(name string) *child {
		begun++
		c := spawn(t, childSpec{
			Role: roleResender, Name: fmt.Sprint(name, " #", begun), Producer: name, Endpoints: []string{harness.Etcd.Endpoint()}, Space: p.ns, Topic: theTopic, First: first[name],
		}, p.acct)
		c.says(t, "ready")
		c.tell(t, "go")
		return c
	}
	puts := func(c *child, batches int) {
		p.acct.await(t, fmt.Sprint(batches, " batches of ", c.name), func() bool { return p.acct.puts[c.name] >= batches*resent })
	}
	alive := []*child{begin(names[0]), begin(names[1])}
	for round := range 4 {
		i := round % 2
		puts(alive[i], 8)
		if round < 2 { // the next one comes while it puts
			next := begin(names[i])
			puts(next, 4)
			alive[i].kill(t)
			alive[i] = next
		} else {
			alive[i].kill(t)
			alive[i] = begin(names[i])
		}
	}
	for _, c := range alive {
		puts(c, 8)
		c.stop(t)
	}
	logged := p.acct.audit(t, p.rt, theTopic)
	if p.acct.moved > 0 {
		t.Errorf("%d puts of an id were told another place than an earlier one", p.acct.moved)
	}
	for _, name := range names {
		most := -1
		for id := range logged {
			if id/apart == first[name]/apart {
				most = max(most, id)
			}
		}
		for id := first[name]; id <= most; id++ {
			if _, there := logged[id]; !there {
				t.Errorf("record %d of %s is missing", id, name)
			}
		}
		last, err := p.topic.LastID(harness.Context(t), name)
		var n int
		if _, serr := fmt.Sscanf(last, name+"/%d", &n); err != nil || serr != nil || n > most-first[name] || n <= most-first[name]-resent {
			t.Errorf("the last id of %s is %q, %v; the last record is %d", name, last, err, most-first[name])
		}
	}
}
