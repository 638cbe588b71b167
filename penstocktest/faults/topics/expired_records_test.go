package topics_test

// Records that expire, through both faces; the promise is listed in both_faces_test.go.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock"
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
