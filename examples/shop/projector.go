package main

// Projector: keeps the database in step with the topic, each record exactly once.

import (
	"context"

	"github.com/penstock-io/penstock"
)

// projector subscribes the group projector to the topic audit.
func (s *service) projector(ctx context.Context) (func() error, error) {
	topic, err := s.openAudit(ctx)
	if err != nil {
		return nil, err
	}
	sub, err := topic.Subscribe(ctx, "projector")
	if err != nil {
		return nil, err
	}
	return func() error { return sub.Consume(context.Background(), s.project) }, nil
}

// project handles one record. After an error it comes again, here, or where the
// partition has gone.
func (s *service) project(ctx context.Context, r penstock.Record) error {
	o, err := typed.Decode(r.Payload)
	if err != nil {
		o = order{Item: "illegible"} // it counts, too: to reject it would leave a gap
	}
	return s.db.project(ctx, r, o)
}
