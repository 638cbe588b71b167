package groups_test

// Promise: a bug in an actor of a topic loses nothing, puts nothing twice, keeps
// every partition's order, and leaves nobody waiting who asked for something.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

var topicActors = []string{"topic", "partition", "subscription", "consumer"}

func TestTopicCrashes(t *testing.T) {
	for _, kind := range topicActors {
		t.Run("under load/"+kind, func(t *testing.T) { topicCrashUnderLoad(t, kind) })
		t.Run("draining/"+kind, func(t *testing.T) { topicCrashDraining(t, kind) })
		t.Run("asked/"+kind, func(t *testing.T) { topicCrashAsked(t, kind) })
	}
}

// inOrder checks what a group handles, partition by partition.
type inOrder struct {
	mu      sync.Mutex
	next    map[int]int64
	values  map[string]int
	again   int
	faults  []string
	changed chan struct{}
}

func newInOrder() *inOrder {
	return &inOrder{next: make(map[int]int64), values: make(map[string]int), changed: make(chan struct{})}
}

func (o *inOrder) enter(r messages.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch next := o.next[r.Partition]; {
	case r.Offset > next:
		o.faults = append(o.faults, fmt.Sprintf("partition %d: offset %d after %d", r.Partition, r.Offset, next-1))
	case r.Offset < next:
		o.again++
		return
	}
	o.next[r.Partition] = r.Offset + 1
	o.values[string(r.Value)]++
	close(o.changed)
	o.changed = make(chan struct{})
}

// await waits until so many values were handled.
func (o *inOrder) await(t *testing.T, what string, n int) {
	t.Helper()
	late := time.After(enginetest.Patience)
	for {
		o.mu.Lock()
		have, changed, faults := len(o.values), o.changed, o.faults
		o.mu.Unlock()
		if len(faults) > 0 {
			t.Fatalf("%s: %v", what, faults)
		}
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s: not within %s: %d of %d handled", what, enginetest.Patience, have, n)
		}
	}
}

func (o *inOrder) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.values)
}

func topicCrashUnderLoad(t *testing.T, kind string) {
	const rounds, partitions, workers = 2, 4, 2
	ctx, cancel := context.WithTimeout(t.Context(), 2*enginetest.Patience)
	defer cancel()
	s := enginetest.NewSpace(t)
	putter, reader := s.Begin(t), s.Begin(t)
	out, err := putter.CreateTopic(ctx, "audit", messages.TopicConfig{Partitions: partitions}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := reader.Topic(ctx, "audit", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	// Two groups, one in a loop, one with handlers; and one who just reads.
	loop, handlers, read := newInOrder(), newInOrder(), newInOrder()
	var running sync.WaitGroup
	reading, stop := context.WithCancel(ctx)
	defer running.Wait()
	defer stop()
	subscribe := func(group string) *groups.Subscription {
		sub, err := in.Subscribe(ctx, groups.Config{Group: group, PartitionsAtOnce: workers, CommitEvery: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	looping, handling := subscribe("loop"), subscribe("handlers")
	running.Go(func() {
		for r, err := range looping.Records(reading) {
			if err != nil {
				if reading.Err() == nil {
					t.Errorf("the loop: %v", err)
				}
				return
			}
			loop.enter(r)
		}
	})
	running.Go(func() {
		err := handling.Consume(reading, func(_ context.Context, r messages.Record) error { handlers.enter(r); return nil })
		if reading.Err() == nil {
			t.Errorf("consume: %v", err)
		}
	})
	for p := range partitions {
		running.Go(func() {
			for r, err := range in.Read(reading, p, messages.Earliest()) {
				if err != nil {
					if reading.Err() == nil {
						t.Errorf("read: %v", err)
					}
					return
				}
				read.enter(r)
			}
		})
	}

	enough, sent := make(chan struct{}), make(chan int, 1)
	running.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			err := out.PutAsync(ctx, messages.Message{Key: strconv.AppendInt(nil, int64(n%13), 10), Value: strconv.AppendInt(nil, int64(n), 10)}, nil)
			if err != nil {
				t.Errorf("put: %v", err)
			}
			select {
			case <-tick.C:
			case <-enough:
				sent <- n + 1
				return
			case <-ctx.Done():
				sent <- n + 1
				return
			}
		}
	})
	all := []*inOrder{loop, handlers, read}
	flows := func(what string) {
		for _, o := range all {
			o.await(t, what, o.count()+100)
		}
	}
	crashed := 0
	for range rounds {
		flows("the load flows")
		for _, e := range []*actors.Engine{putter, reader} {
			crashed += enginetest.CrashAll(t, e, kind)
		}
	}
	if crashed == 0 {
		t.Fatalf("there is no %s to crash", kind)
	}
	flows("the load flows after the crashes")
	close(enough)
	n := <-sent
	if err := out.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		o.await(t, "everything put", n)
	}
	d, err := putter.DescribeTopic(ctx, "audit")
	if err != nil {
		t.Fatal(err)
	}
	var committed int64
	for _, p := range d.Partitions {
		committed += p.End
	}
	if committed != int64(n) {
		t.Errorf("%d records were put, the topic has %d", n, committed)
	}
	// A handler that is cut short hands its record back; nobody else does.
	spare := map[*inOrder]int{handlers: workers * crashed}
	if kind != "subscription" {
		spare = nil
	}
	for name, o := range map[string]*inOrder{"loop": loop, "handlers": handlers, "read": read} {
		if o.again > spare[o] {
			t.Errorf("%s: %d records came again, at most %d may", name, o.again, spare[o])
		}
	}
	if err := looping.Commit(ctx); err != nil {
		t.Errorf("commit: %v", err)
	}
}

// A subscription that is being left ends in time though an actor of it fails,
// with every claim released and what was handled committed.
func topicCrashDraining(t *testing.T, kind string) {
	const records, handled = 20, 7
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range records {
		if r := topic.Put(ctx, messages.Message{Value: strconv.AppendInt(nil, int64(n), 10)}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", CommitEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	consumed := enginetest.Aside(func() error {
		return sub.Consume(context.Background(), func(hctx context.Context, r messages.Record) error {
			if r.Offset < handled {
				return nil
			}
			once.Do(func() { close(inside) })
			select {
			case <-goOn:
			case <-hctx.Done(): // the subscription's other incarnation does not wait without end
			}
			return hctx.Err()
		})
	})
	<-inside
	left := enginetest.Aside(func() error { return sub.Unsubscribe(ctx) })
	for leaving := false; !leaving; {
		_, err := sub.Poll(ctx, 1)
		if leaving = errors.Is(err, messages.ErrClosed); leaving {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("it does not begin to leave")
		case <-time.After(time.Millisecond):
		}
	}
	if enginetest.CrashAll(t, e, kind) == 0 {
		t.Fatalf("there is no %s to crash", kind)
	}
	release()
	if err := enginetest.Outcome(t, "Unsubscribe", left); err != nil {
		t.Fatalf("unsubscribe: %v", err)
	}
	if err := enginetest.Outcome(t, "Consume", consumed); err != nil {
		t.Errorf("consume: %v", err)
	}
	g, err := e.DescribeConsumerGroup(ctx, "audit", "billing")
	if err != nil {
		t.Fatal(err)
	}
	if p := g.Partitions[0]; p.Owner != "" || p.Fence != 0 || p.Committed < handled || p.Committed > handled+1 {
		t.Errorf("%d were handled, one was in hand; left behind is %+v", handled, p)
	}
	if len(g.Members) != 0 {
		t.Errorf("members are left: %+v", g.Members)
	}
	// Who comes next goes on there.
	next, err := topic.Subscribe(ctx, groups.Config{Group: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	recs, err := next.Poll(ctx, 1)
	if err != nil || recs[0].Offset != g.Partitions[0].Committed {
		t.Errorf("next came %+v, %v", recs, err)
	}
}

// Who leaves and takes too long loses what the group gave to others, and its
// handler is told.
func TestDrainingMemberIsToldOfItsLoss(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := topic.Put(ctx, messages.Message{Value: []byte("one")}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	cfg := groups.Config{Group: "billing", RevokeTimeout: 200 * time.Millisecond}
	first, err := topic.Subscribe(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	inside, told := make(chan struct{}), make(chan error, 1)
	consumed := enginetest.Aside(func() error {
		return first.Consume(context.Background(), func(hctx context.Context, r messages.Record) error {
			if r.Offset == 0 {
				return nil
			}
			if err := first.Commit(hctx); err != nil { // then there is nothing to commit that would tell it
				t.Errorf("commit: %v", err)
			}
			close(inside)
			select {
			case <-hctx.Done():
				told <- context.Cause(hctx)
			case <-time.After(enginetest.Patience / 2):
				told <- errors.New("nobody told the handler")
			}
			return hctx.Err()
		})
	})
	<-inside
	second, err := topic.Subscribe(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	left := enginetest.Aside(func() error { return first.Unsubscribe(ctx) })
	recs, err := second.Poll(ctx, 1)
	if err != nil || len(recs) != 1 {
		t.Fatalf("the second member got %d records, %v", len(recs), err)
	}
	if err := enginetest.Outcome(t, "the first one's handler", told); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("the first one's handler: %v", err)
	}
	if err := enginetest.Outcome(t, "Unsubscribe", left); err != nil {
		t.Errorf("unsubscribe: %v", err)
	}
	if err := enginetest.Outcome(t, "Consume", consumed); err != nil {
		t.Errorf("consume: %v", err)
	}
}

// A Commit and a Seek that are under way are answered, whichever actor fails,
// and can be made again.
func topicCrashAsked(t *testing.T, kind string) {
	ctx := enginetest.Within(t)
	behind, gate := enginetest.NewSpace(t).Behind(t, "shut the gate")
	e := behind.Begin(t)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{Compression: messages.CompressNone}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if r := topic.Put(ctx, messages.Message{Value: strconv.AppendInt(nil, int64(n), 10)}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", ManualCommit: true, CommitEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	recs, err := sub.Poll(ctx, 3)
	if err != nil || len(recs) == 0 {
		t.Fatalf("poll: %d records, %v", len(recs), err)
	}
	// From here on etcd does what it is asked, and nobody hears of it.
	put := make(chan messages.PutResult, 1)
	if err := topic.PutAsync(ctx, messages.Message{Value: []byte("shut the gate")}, func(r messages.PutResult) { put <- r }); err != nil {
		t.Fatal(err)
	}
	<-gate.Closed()
	commit := enginetest.Aside(func() error { return sub.Commit(ctx, recs[0]) })
	seek := enginetest.Aside(func() error { return sub.Seek(ctx, 0, messages.Latest()) })
	if enginetest.CrashAll(t, e, kind) == 0 {
		t.Fatalf("there is no %s to crash", kind)
	}
	gate.Open()
	if err := enginetest.Outcome(t, "Commit", commit); err != nil && !errors.Is(err, messages.ErrRestarted) {
		t.Errorf("commit: %v", err)
	}
	if err := enginetest.Outcome(t, "Seek", seek); err != nil && !errors.Is(err, messages.ErrUnavailable) && !errors.Is(err, messages.ErrFenced) {
		t.Errorf("seek: %v", err)
	}
	if err := sub.Commit(ctx, recs[0]); err != nil {
		t.Errorf("commit again: %v", err)
	}
	if err := sub.Seek(ctx, 0, messages.AtOffset(4)); err != nil {
		t.Fatalf("seek again: %v", err)
	}
	select {
	case r := <-put:
		if r.Err != nil || r.Offset != 5 {
			t.Errorf("the record that was on its way: %+v", r)
		}
	case <-ctx.Done():
		t.Fatal("the record that was on its way hangs")
	}
	g, err := e.DescribeConsumerGroup(ctx, "audit", "billing")
	if err != nil || g.Partitions[0].Committed != recs[0].Offset+1 {
		t.Errorf("committed %+v, %v", g.Partitions, err)
	}
	for want := int64(4); want < 6; {
		got, err := sub.Poll(ctx, 1)
		if err != nil {
			t.Fatalf("offset %d: %v", want, err)
		}
		if got[0].Offset != want {
			t.Fatalf("offset %d came, want %d", got[0].Offset, want)
		}
		want++
	}
}
