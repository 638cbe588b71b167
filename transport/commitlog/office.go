package commitlog

// The office of the keeper: the one process of all that share a prefix which trims,
// sweeps and finishes what others have left.

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// ErrNotKeeper says that a write was refused because its writer is not the keeper any
// more: its key is gone, or another's.
var ErrNotKeeper = errors.New("not the keeper any more")

// Office is the right to write as the keeper. Every write under it compares the key:
// that it has the value and the CreateRevision that it was taken with. The zero Office
// compares nothing: it is for what a user asks for.
type Office struct {
	value    string
	revision int64
}

// TakeOffice makes the caller the keeper, unless another is. value says whose the key
// is: no two keepers may have the same. The key ends with lease. held is false when
// another has it. What the caller has taken before, under the same value, is still its
// own. Errors: messages.ErrUnavailable, ErrDenied, ErrNoSpace; with the first the office
// may have been taken.
func (l *Log) TakeOffice(ctx context.Context, lease clientv3.LeaseID, value string) (o Office, held bool, err error) {
	key := l.space.Keeper()
	resp, err := l.do(ctx, "become the keeper",
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(key, value, clientv3.WithLease(lease))},
		[]clientv3.Op{clientv3.OpGet(key)})
	switch {
	case err != nil:
		return Office{}, false, err
	case resp.Succeeded:
		return Office{value: value, revision: resp.Header.Revision}, true, nil
	}
	for _, kv := range ranged(resp, 0).Kvs {
		if string(kv.Value) == value && kv.Lease == int64(lease) {
			return Office{value: value, revision: kv.CreateRevision}, true, nil
		}
	}
	return Office{}, false, nil
}

// LeaveOffice gives the office up. Errors: messages.ErrUnavailable, ErrDenied.
func (l *Log) LeaveOffice(ctx context.Context, o Office) error {
	_, err := l.do(ctx, "leave the keeper's office", l.holds(o), []clientv3.Op{clientv3.OpDelete(l.space.Keeper())}, nil)
	return err
}

// Holds reports whether the office is still o's.
func (l *Log) Holds(ctx context.Context, o Office) (bool, error) {
	resp, err := l.do(ctx, "look who is the keeper", l.holds(o), nil, nil)
	return err == nil && resp.Succeeded, err
}

// holds are the guards that o is the keeper's.
func (l *Log) holds(o Office) []clientv3.Cmp {
	if o.revision == 0 {
		return nil
	}
	key := l.space.Keeper()
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(key), "=", o.revision),
		clientv3.Compare(clientv3.Value(key), "=", o.value),
	}
}

// lost reports whether a response to exists(key of the keeper) shows that the office is
// not o's any more. Its value is compared by the next write.
func (o Office) lost(r *clientv3.GetResponse) bool {
	return createRevision(r) != o.revision
}

// heldBy reports whether a response to a get of the key shows that the office is o's.
func (o Office) heldBy(r *clientv3.GetResponse) bool {
	return createRevision(r) == o.revision && string(r.Kvs[0].Value) == o.value
}

// Starts reads where the partitions of topics begin: for each topic its starts, by
// partition, -1 for one that makes no sense or is gone. It takes a request for each 64
// topics. Errors: messages.ErrUnavailable, ErrDenied.
func (l *Log) Starts(ctx context.Context, topics []messages.TopicInfo) (all [][]int64, err error) {
	err = inTurn(l.limits, places, topics, func(some []messages.TopicInfo) error {
		ops := make([]clientv3.Op, len(some))
		for i, t := range some {
			ops[i] = clientv3.OpGet(l.space.Starts(t.ID), clientv3.WithPrefix())
		}
		resp, err := l.do(ctx, "read where partitions begin", nil, ops, nil)
		if err != nil {
			return err
		}
		for i, t := range some {
			found := byKey(kvsOf(resp, i))
			starts := make([]int64, t.Config.Partitions)
			for n := range starts {
				p := l.Partition(t, n)
				start, ok, err := p.parseStart(found[p.startKey()])
				if starts[n] = start; err != nil || !ok {
					starts[n] = -1
				}
			}
			all = append(all, starts)
		}
		return nil
	})
	return all, err
}

// Done returns for each partition of a topic up to where every group of the topic has
// committed, without a gap: 0 where there is no group, or one that did nothing yet. Errors:
// messages.ErrTopicDeleted, ErrUnavailable, ErrDenied.
func (l *Log) Done(ctx context.Context, t messages.TopicInfo) ([]int64, error) {
	d, err := atOneRevision(func() (messages.TopicDescription, error) {
		return l.describe(ctx, "read the groups of "+t.Name, t.Name)
	})
	if err != nil {
		return nil, err
	}
	if d.ID != t.ID {
		return nil, fmt.Errorf("read the groups of %q: %w", t.Name, messages.ErrTopicDeleted)
	}
	done := make([]int64, len(d.Partitions))
	for p := range done {
		for i, g := range d.Groups {
			at := int64(0)
			if part := g.Partitions[p]; g.Err == nil && part.Err == nil {
				at = part.End - part.Lag - part.Done // what is done behind it stands among what is not
			}
			if i == 0 || at < done[p] {
				done[p] = at
			}
		}
	}
	return done, nil
}

// Revision is etcd's at present. Errors: messages.ErrUnavailable, ErrDenied.
func (l *Log) Revision(ctx context.Context) (int64, error) {
	resp, err := l.get(ctx, "read the revision", l.space.Keeper(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// Compact has etcd forget what was overwritten or deleted before a revision, of all
// prefixes, if the office is o's. What is compacted already is no error. Errors:
// ErrNotKeeper, messages.ErrUnavailable, ErrDenied.
func (l *Log) Compact(ctx context.Context, o Office, revision int64) error {
	const op = "compact the history"
	held, err := l.Holds(ctx, o)
	if err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("%s: %w", op, ErrNotKeeper)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := l.client.Compact(ctx, revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return l.classify(op, err)
	}
	return nil
}
