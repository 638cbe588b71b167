package commitlog

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Whether the log is still the one that somebody knows. An etcd that was restored
// from a backup may have grown beyond its old end by the time one looks, so that
// the end alone does not tell.

// Mark is a batch that was in a partition.
type Mark struct {
	Partition int
	// Entry is what the index said of it; Base, Count, Producer and Sequence
	// matter.
	format.Entry
}

// Stand answers for each mark whether its batch is still there, or was trimmed;
// another one in its place is none. It reads linearizably, and takes a request
// for each 64 marks. The error is that of a request, or wraps
// messages.ErrTopicDeleted when the partition of a mark is gone.
func (l *Log) Stand(ctx context.Context, t messages.TopicInfo, marks []Mark) ([]bool, error) {
	stand := make([]bool, 0, len(marks))
	err := inTurn(l.limits, places, marks, func(some []Mark) error {
		now, err := l.stand(ctx, t, some)
		stand = append(stand, now...)
		return err
	})
	return stand, err
}

func (l *Log) stand(ctx context.Context, t messages.TopicInfo, marks []Mark) ([]bool, error) {
	byPartition := func(a, b Mark) int { return a.Partition - b.Partition }
	low, high := slices.MinFunc(marks, byPartition).Partition, slices.MaxFunc(marks, byPartition).Partition
	ops := []clientv3.Op{clientv3.OpGet(l.space.LogStart(t.ID, low), clientv3.WithRange(l.space.LogStart(t.ID, high)+"\x00"))}
	for _, m := range marks {
		ops = append(ops, clientv3.OpGet(l.space.IndexEntry(t.ID, m.Partition, m.Base)))
	}
	op := fmt.Sprintf("look whether the log of %q is the same", t.Name)
	resp, err := l.do(ctx, op, nil, ops, nil)
	if err != nil {
		return nil, err
	}
	starts := byKey(kvsOf(resp, 0))
	stand := make([]bool, len(marks))
	for i, m := range marks {
		p := l.Partition(t, m.Partition)
		start, ok, err := p.parseStart(starts[p.startKey()])
		if err == nil && !ok {
			err = p.gone("look at")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		e, ok, err := p.one(kvsOf(resp, i+1))
		// What does not decode is damaged, and not another one.
		stand[i] = err != nil || ok && e.IsOf(m.Entry) || !ok && m.Base < start
	}
	return stand, nil
}
