package topics_test

// What a subscription does before it gives partitions back.

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// gathering is a member that writes out what it gathered of a partition only
// when that goes away.
type gathering struct {
	mu       sync.Mutex
	gathered map[int]int
	written  map[int]int
	came     chan struct{} // one for each record
}

func (g *gathering) settle(_ context.Context, partitions []int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range partitions {
		g.written[p] += g.gathered[p]
		delete(g.gathered, p)
	}
	return nil
}

func (g *gathering) gather(t *testing.T, sub *penstock.Subscription) (ended <-chan struct{}) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for r, err := range sub.Records(context.Background()) {
			if err != nil {
				t.Error(err)
				return
			}
			g.mu.Lock()
			g.gathered[r.Partition]++
			g.mu.Unlock()
			g.came <- struct{}{}
		}
	}()
	return over
}

// Promise: what BeforeRelease has written out is committed with the release, so
// that a member that gathers without commits loses and repeats nothing, when
// another one joins and when it leaves.
func TestBeforeReleaseCommitsWhatIsFinished(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	const partitions, each = 4, 50
	topic := makeTopic(t, rt, theTopic, partitions)
	g := &gathering{gathered: map[int]int{}, written: map[int]int{}, came: make(chan struct{}, partitions*each)}
	for p := range partitions {
		for id := range each {
			if _, err := topic.PutTo(harness.Context(t), p, harness.Numbered(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit(), penstock.BeforeRelease(g.settle))
	ended := g.gather(t, sub)
	for range partitions * each {
		harness.Await(t, "a record", g.came)
	}

	other := subscribe(t, topic, theGroup)
	harness.Eventually(t, "half of the partitions moved", func() bool { return len(other.Partitions()) == partitions/2 })
	moved := other.Partitions()
	for _, p := range groupOf(t, rt, theTopic, theGroup).Partitions {
		want := int64(-1)
		if slices.Contains(moved, p.Partition) {
			want = each
		}
		if p.Committed != want {
			t.Errorf("partition %d: committed is %d, want %d", p.Partition, p.Committed, want)
		}
	}
	unsubscribe(t, sub)
	harness.Await(t, "the end of the loop", harness.Closing(ended))
	g.mu.Lock()
	for p := range partitions {
		if g.written[p] != each || g.gathered[p] != 0 {
			t.Errorf("partition %d: %d records are written, %d are not", p, g.written[p], g.gathered[p])
		}
	}
	g.mu.Unlock()
	if lag := groupOf(t, rt, theTopic, theGroup).Lag; lag != 0 {
		t.Errorf("lag %d", lag)
	}
	unsubscribe(t, other)
}

// Promise: a BeforeRelease that fails, panics or hangs is told of, commits
// nothing more and keeps no partition from the others.
func TestBeforeReleaseThatFails(t *testing.T) {
	broken := errors.New("the database is away")
	for name, c := range map[string]struct {
		settle func(context.Context, []int) error
		says   string
	}{
		"fails":  {func(context.Context, []int) error { return broken }, broken.Error()},
		"panics": {func(context.Context, []int) error { panic("what a mess") }, "what a mess"},
		"ends its goroutine": {func(context.Context, []int) error {
			runtime.Goexit()
			return nil
		}, "Goexit"},
		"hangs": {func(ctx context.Context, _ []int) error {
			<-ctx.Done()
			return ctx.Err()
		}, context.DeadlineExceeded.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			rt := harness.Runtime(t, penstocktest.Space(t))
			events := penstocktest.Record(t, rt)
			topic := makeTopic(t, rt, theTopic, 1)
			newAccount().put(t, topic, 0, 10)
			sub := subscribe(t, topic, theGroup, penstock.ManualCommit(), penstock.BeforeRelease(c.settle), penstock.RevokeTimeout(200*time.Millisecond))
			recs := polled(t, sub, 10)
			if err := sub.Commit(harness.Context(t), recs[3]); err != nil {
				t.Fatal(err)
			}
			unsubscribe(t, sub)
			if at := groupOf(t, rt, theTopic, theGroup).Partitions[0].Committed; at != 4 {
				t.Errorf("committed is %d, want 4", at)
			}
			penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.CommitDelayed) bool {
				return strings.Contains(e.Err.Error(), c.says) && strings.Contains(e.Err.Error(), "partitions [0]")
			})
		})
	}
}

// Promise: while one partition is being written out, the others are committed.
func TestCommitsContinueBesideBeforeRelease(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 2)
	for p := range 2 {
		if _, err := topic.PutTo(harness.Context(t), p, harness.Numbered(p)); err != nil {
			t.Fatal(err)
		}
	}
	writing, goOn := make(chan []int, 2), make(chan struct{})
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit(), penstock.BeforeRelease(func(_ context.Context, partitions []int) error {
		writing <- partitions
		<-goOn
		return nil
	}))
	var recs []penstock.Record
	came := make(chan penstock.Record)
	go func() {
		for r, err := range sub.Records(context.Background()) {
			if err != nil {
				t.Error(err)
				return
			}
			came <- r
		}
	}()
	for range 2 {
		recs = append(recs, harness.Await(t, "a record", came))
	}
	joined := make(chan *penstock.Subscription, 1)
	go func() {
		other, err := topic.Subscribe(context.Background(), theGroup)
		if err != nil {
			t.Error(err)
		}
		joined <- other
	}()
	moving := harness.Await(t, "what is written out", writing)
	for _, r := range recs {
		if r.Partition == moving[0] {
			continue
		}
		if err := sub.Commit(harness.Context(t), r); err != nil {
			t.Error(err)
		}
		if at := groupOf(t, rt, theTopic, theGroup).Partitions[r.Partition].Committed; at != 1 {
			t.Errorf("committed is %d, want 1", at)
		}
	}
	close(goOn)
	unsubscribe(t, harness.Await(t, "the other member", joined))
	unsubscribe(t, sub)
}
