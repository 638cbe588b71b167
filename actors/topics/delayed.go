package topics

// Records of a topic that wait until they are delivered.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
)

// Cancel is penstock.Topic.Cancel.
func (t *Topic) Cancel(ctx context.Context, partition int, offset int64) error {
	return t.deletes(ctx, "cancel a record of", []int{partition}, func(part *topiclog.Partition) error {
		return part.Log.Cancel(ctx, offset)
	})
}

// waitsAtOnce is how many records that wait are read at once.
const waitsAtOnce = 64

// Delayed is penstock.Topic.Delayed.
func (t *Topic) Delayed(ctx context.Context, partitions []int) iter.Seq2[messages.Record, error] {
	return func(yield func(messages.Record, error) bool) {
		if err := t.delayed(ctx, partitions, func(r messages.Record) bool { return yield(r, nil) }); err != nil {
			yield(messages.Record{}, fmt.Errorf("list what waits in %q: %w", t.Name(), err))
		}
	}
}

// delayed yields what waits, until yield has enough, which is no error.
func (t *Topic) delayed(ctx context.Context, partitions []int, yield func(messages.Record) bool) error {
	if err := node.ContextGiven(ctx); err != nil {
		return err
	}
	if err := t.ended(); err != nil {
		return err
	}
	parts, err := t.parts(partitions)
	if err != nil {
		return err
	}
	for _, part := range parts {
		for from, more := "", true; more; {
			page, err := part.Log.Waits(ctx, from, math.MaxInt64, waitsAtOnce)
			if err != nil {
				return err
			}
			for _, w := range page.Records {
				rec := messages.Record{Topic: t.Name(), Partition: part.P, Offset: w.Offset, Attempt: 1}
				if _, err := messages.ConsumeRecord(w.Raw, &rec.Payload); err != nil {
					return err
				}
				if rec.UnixNano == 0 {
					rec.UnixNano = w.Time
				}
				if !yield(rec) {
					return nil
				}
			}
			if len(page.Bad) > 0 {
				return errors.Join(page.Bad...)
			}
			from, more = page.Next, page.More
		}
	}
	return nil
}

// Purge is penstock.Topic.Purge: what waits is purged too.
func (t *Topic) Purge(ctx context.Context, partitions []int) ([]messages.Truncated, error) {
	err := t.deletes(ctx, "purge", partitions, func(part *topiclog.Partition) error {
		_, err := part.Log.CancelAll(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.Truncate(ctx, messages.Latest(), partitions)
}

// cancelKey cancels what waits with a key in a partition.
func (t *Topic) cancelKey(ctx context.Context, part *topiclog.Partition, key []byte) (cancelled int, err error) {
	var offsets []int64
	if err := t.delayed(ctx, []int{part.P}, func(r messages.Record) bool {
		if bytes.Equal(r.Key, key) {
			offsets = append(offsets, r.Offset)
		}
		return true
	}); err != nil {
		return 0, err
	}
	for _, offset := range offsets {
		switch err := part.Log.Cancel(ctx, offset); {
		case errors.Is(err, messages.ErrNotDelayed): // it is in the log by now
		case err != nil:
			return cancelled, err
		default:
			cancelled++
		}
	}
	return cancelled, nil
}
