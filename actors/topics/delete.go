package topics

// What a handle deletes of its topic.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
)

// Truncate is penstock.Topic.Truncate.
func (t *Topic) Truncate(ctx context.Context, before messages.Start, partitions []int) (done []messages.Truncated, err error) {
	err = t.deletes(ctx, "truncate", partitions, func(part *topiclog.Partition) error {
		offset, _, err := part.Log.Resolve(ctx, before)
		if err != nil {
			return err
		}
		d, err := part.Log.Truncate(ctx, offset)
		if d.From >= 0 {
			done = append(done, d)
		}
		return err
	})
	return done, err
}

// DeleteRecords is penstock.Topic.DeleteRecords.
func (t *Topic) DeleteRecords(ctx context.Context, offsets map[int][]int64) (deleted int, err error) {
	if err := node.ContextGiven(ctx); err != nil {
		return 0, fmt.Errorf("delete records of %q: %w", t.Name(), err)
	}
	partitions := slices.Sorted(maps.Keys(offsets))
	if len(partitions) == 0 {
		return 0, nil
	}
	err = t.deletes(ctx, "delete records of", partitions, func(part *topiclog.Partition) error {
		n, err := part.Log.EraseOffsets(ctx, offsets[part.P])
		deleted += n
		return err
	})
	return deleted, err
}

// DeleteKey is penstock.Topic.DeleteKey.
func (t *Topic) DeleteKey(ctx context.Context, key []byte) (deleted int, err error) {
	if len(key) == 0 {
		return 0, fmt.Errorf("delete a key of %q: the key is empty, which records without a key have: %w", t.Name(), messages.ErrInvalid)
	}
	err = t.deletes(ctx, "delete a key of", nil, func(part *topiclog.Partition) error {
		waited, err := t.cancelKey(ctx, part, key)
		deleted += waited
		if err != nil {
			return err
		}
		n, err := part.Log.EraseWhere(ctx, func(_ int64, r *messages.Payload) bool { return bytes.Equal(r.Key, key) })
		deleted += n
		return err
	})
	return deleted, err
}

// deletes does something to partitions, or all, one after the other, until one fails.
// There is something to sweep then.
func (t *Topic) deletes(ctx context.Context, op string, partitions []int, do func(*topiclog.Partition) error) error {
	fail := func(err error) error { return fmt.Errorf("%s %q: %w", op, t.Name(), err) }
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	if err := t.ended(); err != nil {
		return fail(err)
	}
	parts, err := t.parts(partitions)
	if err != nil {
		return fail(err)
	}
	env := t.path.Env
	env.Send(env.Root, &keeperWanted{})
	for _, part := range parts {
		if err := do(part); err != nil {
			if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
				err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return fail(fmt.Errorf("partition %d: %w", part.P, err))
		}
	}
	return nil
}

// parts are those partitions, or all.
func (t *Topic) parts(partitions []int) (parts []*topiclog.Partition, err error) {
	if len(partitions) == 0 {
		for p := range t.path.Partitions() {
			partitions = append(partitions, p)
		}
	}
	parts = make([]*topiclog.Partition, len(partitions))
	for i, p := range partitions {
		if parts[i], err = t.path.Partition(p); err != nil {
			return nil, err
		}
	}
	return parts, nil
}
