package lending

// The borrowing side: a member of the destination of its group.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Borrow is groups.Lending.Borrow.
func (l *Lending) Borrow(ctx context.Context, b groups.Borrowing) (groups.Borrower, error) {
	m, err := l.pipes.Join(ctx, members.Config{
		Destination: keys.Loans(b.TopicID, b.Group), Group: b.Group, ID: b.Member, Lends: true,
		Concurrency: b.Concurrency, AckWait: b.AckWait, WindowBytes: b.Bytes,
	})
	if err != nil {
		return nil, err
	}
	return &borrower{m: m, topic: b.Topic}, nil
}

// borrower is a member that takes records.
type borrower struct {
	m     *members.Member
	topic string

	mu     sync.Mutex
	polled []messages.Delivery // what the last Poll returned
}

// record is the record of a delivery.
func (b *borrower) record(d *messages.Delivery) (messages.Record, error) {
	r, err := recordOf(b.topic, d.Payload)
	if err != nil {
		return r, err
	}
	return messages.Lent(r, d.Settler, d.Seq), nil
}

// Consume is groups.Borrower.Consume.
func (b *borrower) Consume(ctx context.Context, handler messages.RecordHandler) error {
	b.settlePolled(messages.Delivery.Ack)
	return b.m.Consume(ctx, func(ctx context.Context, d messages.Delivery) error {
		r, err := b.record(&d)
		if err != nil {
			return err
		}
		return handler(ctx, r)
	})
}

// Records is groups.Borrower.Records.
func (b *borrower) Records(ctx context.Context) iter.Seq2[messages.Record, error] {
	return func(yield func(messages.Record, error) bool) {
		b.settlePolled(messages.Delivery.Ack)
		for d, err := range b.m.Messages(ctx, false) {
			if err != nil {
				yield(messages.Record{}, err)
				return
			}
			r, err := b.record(&d)
			if err != nil {
				d.Nack(err)
				continue
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Poll is groups.Borrower.Poll.
func (b *borrower) Poll(ctx context.Context, limit int) (out []messages.Record, err error) {
	b.settlePolled(messages.Delivery.Ack)
	for len(out) == 0 {
		got, err := b.m.Poll(ctx, limit, true)
		if err != nil {
			return nil, err
		}
		var good []messages.Delivery
		for i := range got {
			r, err := b.record(&got[i])
			if err != nil {
				got[i].Nack(err)
				continue
			}
			good, out = append(good, got[i]), append(out, r)
		}
		b.mu.Lock()
		b.polled = good
		b.mu.Unlock()
	}
	return out, nil
}

// Release is groups.Borrower.Release.
func (b *borrower) Release() { b.settlePolled(messages.Delivery.Release) }

// settlePolled ends what the last Poll returned.
func (b *borrower) settlePolled(how func(messages.Delivery)) {
	b.mu.Lock()
	polled := b.polled
	b.polled = nil
	b.mu.Unlock()
	for _, d := range polled {
		how(d)
	}
}

// Pause is groups.Borrower.Pause.
func (b *borrower) Pause() { b.m.Pause() }

// Resume is groups.Borrower.Resume.
func (b *borrower) Resume() { b.m.Resume() }

// Reads is groups.Borrower.Reads.
func (b *borrower) Reads(c *usercode.Run) bool { return b.m.Reads(c) }

// LeaveUnasked is groups.Borrower.LeaveUnasked.
func (b *borrower) LeaveUnasked() {
	b.Release()
	b.m.LeaveUnasked()
}

// Leave is groups.Borrower.Leave.
func (b *borrower) Leave(ctx context.Context) error {
	b.Release()
	err := b.m.Leave(ctx)
	if errors.Is(err, messages.ErrClosed) {
		return nil // it has ended before
	}
	if err != nil {
		return fmt.Errorf("finish what was borrowed: %w", err)
	}
	return nil
}

// Abandon is groups.Borrower.Abandon.
func (b *borrower) Abandon() { b.m.Abandon() }
