package topics_test

// Records that expire, through both faces; the promise is listed in both_faces_test.go. What a
// callback of RecordExpired does wrong. And keepers that die while they delete what has expired.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// expiredIsPassed: some of the records expire before there is a group.
func expiredIsPassed(s stage) {
	const n, late = 30, 10
	p := s.opened(penstock.TopicConfig{})
	var msgs []penstock.Message
	for id := range n {
		m := harness.Numbered(id)
		if id%3 == 2 {
			m.ExpiresAt = time.Now()
		}
		msgs = append(msgs, m)
	}
	if _, err := p.put(harness.Context(s.T), msgs...); err != nil {
		s.Fatal(err)
	}
	j := newJournal()
	told := make(chan penstock.Record, n)
	c := s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r)%3 == 2 {
			s.Errorf("handed out is %d", recordNumber(r))
		}
		return j.enter(r)
	}, penstock.RecordExpired(func(_ context.Context, r penstock.Record) { told <- r }))
	for i := range late {
		if r := harness.Await(s.T, "what expired", told); recordNumber(r) != 3*i+2 || !r.Expired() {
			s.Errorf("told is %d: %+v", recordNumber(r), r)
		}
	}
	j.await(s.T, n-late)
	if rows := s.rt.Stats().Subscriptions; len(rows) != 1 || rows[0].Expired != late {
		s.Errorf("counted: %+v", rows)
	}
	if err := c.leave(harness.Context(s.T)); err != nil {
		s.Fatal(err)
	}
	if g, err := s.rt.DescribeConsumerGroup(harness.Context(s.T), facesTopic, "export"); err != nil || g.Lag != 0 {
		s.Errorf("the group is %+v: %v", g, err)
	}
	yielded := 0
	topic, err := s.rt.Topic(harness.Context(s.T), facesTopic)
	if err != nil {
		s.Fatal(err)
	}
	for r, err := range topic.Read(harness.Context(s.T), 0, penstock.FromEarliest()) {
		if err != nil || r.Expired() != (yielded%3 == 2) {
			s.Fatalf("Read yields %+v, %v", r, err)
		}
		if yielded++; yielded == n {
			break
		}
	}
}

// Promise: a callback of RecordExpired that panics, or calls the Unsubscribe that would
// wait for it, harms nobody.
func TestRecordExpiredSurvivesItsCallbacks(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	topic := makeTopic(t, rt, theTopic, 1)
	for range 2 {
		if _, _, err := topic.Put(harness.Context(t), penstock.Message{ExpiresAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	subscribed, refused := make(chan *penstock.Subscription, 1), make(chan error, 1)
	sub, err := topic.Subscribe(harness.Context(t), "export", penstock.RecordExpired(func(_ context.Context, r penstock.Record) {
		if r.Offset == 0 {
			panic("the first")
		}
		refused <- (<-subscribed).Unsubscribe(context.Background())
	}))
	if err != nil {
		t.Fatal(err)
	}
	subscribed <- sub
	reading := make(chan error, 1)
	go func() {
		reading <- sub.Consume(harness.Context(t), func(context.Context, penstock.Record) error { return nil })
	}()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.CallbackPanicked) bool { return e.Value == "the first" })
	if err := harness.Await(t, "the callback", refused); !errors.Is(err, penstock.ErrBusy) {
		t.Errorf("Unsubscribe in a callback: %v", err)
	}
	if err := harness.Await(t, "Consume", reading); err != nil {
		t.Errorf("Consume: %v", err)
	}
	if err := sub.Unsubscribe(harness.Context(t)); err != nil {
		t.Errorf("Unsubscribe: %v", err)
	}
	if g, err := rt.DescribeConsumerGroup(harness.Context(t), theTopic, "export"); err != nil || g.Lag != 0 {
		t.Errorf("the group is %+v: %v", g, err)
	}
}

// Keepers are killed while they delete what has expired, and others continue. In the end all of it is
// gone, and what has not expired is where it was.
func TestExpiringKeeperIsKilled(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	ctx := harness.Context(t)
	topic, err := rt.CreateTopic(ctx, theTopic, penstock.TopicConfig{MaxBytes: 1 << 30}) // whoever has it open may be the keeper
	if err != nil {
		t.Fatal(err)
	}
	spec := childSpec{Role: roleProducer, Name: "life 0", Endpoints: []string{harness.Etcd.Endpoint()}, Space: ns, Topic: theTopic, LeaseTTL: 2 * time.Second}
	const batches = 400 // 64 of which are written again a second
	value := bytes.Repeat([]byte{'x'}, 2<<10)
	gone, later := time.Now().Add(-2*time.Minute), time.Now().Add(time.Hour)
	for i := range batches {
		batch := []penstock.Message{{Value: value, ExpiresAt: later}, {Value: value, ExpiresAt: gone}, {Value: value}}
		if i < 10 {
			batch = []penstock.Message{{Value: value, ExpiresAt: gone}, {Value: value, ExpiresAt: gone}, {Value: value, ExpiresAt: gone}}
		}
		if results, err := topic.PutBatch(harness.Context(t), batch); err != nil {
			t.Fatal(results, err)
		}
	}
	if err := rt.Stop(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	look := harness.Client(t)
	// erased is how many batches were written again: their entries have another revision then.
	erased := func() (n int) {
		resp, err := look.Get(harness.Context(t), keys.Space(ns).Log(topic.Info().ID)+"index/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range resp.Kvs {
			if kv.Version > 1 {
				n++
			}
		}
		return n
	}
	had := erased()
	children := []*child{spawn(t, spec, newAccount())}
	children[0].says(t, "ready")
	for i := range 2 {
		spec.Name = fmt.Sprint("life ", i+1)
		children = append(children, spawn(t, spec, newAccount())) // waits for the office
		children[i+1].says(t, "ready")
		harness.Eventually(t, "it erases", func() bool { return erased() >= had+20 })
		children[i].kill(t)
		if had = erased(); had >= batches-10 {
			t.Fatalf("%s was killed when all was done", children[i].name)
		}
	}
	children[2].kill(t)
	reader := harness.Runtime(t, ns)
	topic = openTopic(t, reader, theTopic)
	check := func() (left int) {
		living := 0
		for r, err := range topic.ReadTo(harness.Context(t), 0, penstock.FromEarliest(), 3*batches) {
			lives := r.Offset >= 30 && r.Offset%3 != 1
			switch {
			case err != nil:
				t.Fatal(err)
			case lives && !bytes.Equal(r.Value, value):
				t.Fatalf("offset %d lost its value", r.Offset)
			case lives:
				living++
			case len(r.Value) > 0:
				left++
			}
		}
		if living != 2*(batches-10) {
			t.Fatalf("%d records live, want %d", living, 2*(batches-10))
		}
		return left
	}
	harness.Eventually(t, "all that has expired is gone", func() bool { return check() == 0 })
}
