package main

// Billing: gets each order at least once, and bills it once.

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
)

// billing joins the group billing of orders.
func (s *service) billing(ctx context.Context) (func() error, error) {
	member, err := s.rt.Join(ctx, ordersName, "billing",
		penstock.KeepFor(time.Hour), // so long orders are queued while all of billing is away
		penstock.Concurrency(4),
		penstock.Timeout(10*time.Second),
	)
	if err != nil {
		return nil, err
	}
	// Not the signal's context, which would cut the handlers off. Stop ends them.
	return func() error { return typed.Member(member).Consume(context.Background(), s.bill) }, nil
}

// bill handles one order. Its error says what becomes of the order. What does not decode
// is rejected before.
func (s *service) bill(ctx context.Context, d penstock.TypedDelivery[order]) error {
	if d.Body.Quantity <= 0 {
		return fmt.Errorf("%w: a quantity of %d cannot be billed", penstock.ErrReject, d.Body.Quantity)
	}
	switch err := s.db.bill(ctx, d.Body); {
	case isBusy(err):
		return penstock.RetryAfter(500*time.Millisecond, err) // the others need the database, too
	default:
		return err // nil acks; anything else is tried again, later each time
	}
}
