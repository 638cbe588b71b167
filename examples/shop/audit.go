package main

// Audit: writes each order down in a topic.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock"
)

// openAudit opens the topic audit; whoever comes first makes it.
func (s *service) openAudit(ctx context.Context) (*penstock.Topic, error) {
	return s.rt.EnsureTopic(ctx, auditName, penstock.TopicConfig{Partitions: 4})
}

// audit joins the group audit of orders.
func (s *service) audit(ctx context.Context) (func() error, error) {
	topic, err := s.openAudit(ctx)
	if err != nil {
		return nil, err
	}
	// Puts that wait at the same time travel in one append.
	member, err := s.rt.Join(ctx, ordersName, "audit", penstock.KeepFor(time.Hour), penstock.Concurrency(64))
	if err != nil {
		return nil, err
	}
	return func() error {
		return member.Consume(context.Background(), func(ctx context.Context, d penstock.Delivery) error {
			// The order is acked once etcd has the record. An order that comes again, or
			// whose Put ends in ErrUnknownOutcome, may be in the topic twice.
			_, _, err := topic.Put(ctx, d.Message())
			return err
		})
	}, nil
}
