package commitlog

// Deleting topics. The first transaction is the end; what follows is
// cleaning, in steps that do not hold up others, which anybody may finish.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// givenUp is when a topic that is being made counts as given up.
const givenUp = 10 * time.Minute

// DeleteTopic removes a topic, its records, groups and offsets, and returns what
// it was. From its first request on nothing can be put into it, claimed or
// committed. It blocks until everything is swept. An error that comes with a
// topic means that the topic is gone and Sweep has to finish. Errors:
// messages.ErrInvalid, ErrNoTopic, ErrUnavailable, ErrDenied.
func (l *Log) DeleteTopic(ctx context.Context, name string) (messages.TopicInfo, error) {
	t, err := l.Topic(ctx, name)
	if err != nil {
		return messages.TopicInfo{}, err
	}
	op := "delete topic " + name
	for range tries {
		// Refused, it was deleted by an attempt before, or by another process:
		// either way it is gone, and there may be something to sweep.
		if _, err = l.do(ctx, op, []clientv3.Cmp{l.lives(t)},
			[]clientv3.Op{clientv3.OpDelete(l.space.Topic(name)), clientv3.OpPut(l.space.Deleting(t.ID), mark(name, pb.Deleting_SWEEPING))},
			nil); err == nil {
			return t, l.sweep(ctx, t.ID)
		}
		if errors.Is(err, messages.ErrNoSpace) {
			return t, l.deleteUnmarked(ctx, op, t)
		}
		if ctx.Err() != nil || !errors.Is(err, messages.ErrUnavailable) {
			break
		}
	}
	return messages.TopicInfo{}, err
}

// deleteUnmarked removes a topic from an etcd that has no room for a mark, and
// takes nothing but deletes. The topic's key goes last, so that DeleteTopic can
// be called again when it was interrupted. Without the starts nothing can be
// appended, and a full etcd takes no commit.
func (l *Log) deleteUnmarked(ctx context.Context, op string, t messages.TopicInfo) error {
	alive := []clientv3.Cmp{l.lives(t)}
	if _, err := l.do(ctx, op, alive, []clientv3.Op{clientv3.OpDelete(l.space.Starts(t.ID), clientv3.WithPrefix())}, nil); err != nil {
		return err
	}
	if err := l.sweepAll(ctx, t.ID); err != nil {
		return err
	}
	_, err := l.do(ctx, op, alive, []clientv3.Op{clientv3.OpDelete(l.space.Topic(t.Name))}, nil)
	return err
}

// DeleteGroup removes a group of a topic that has no members: its settings, assignment,
// beginning and offsets, in one transaction. Errors: messages.ErrNoGroup, ErrGroupLive
// (it has a member, or a claim that has yet to end), ErrTopicDeleted, ErrInvalid,
// ErrUnavailable, ErrDenied.
func (l *Log) DeleteGroup(ctx context.Context, t messages.TopicInfo, group string) error {
	op := "delete group " + group + " of topic " + t.Name
	fail := func(err error) error { return fmt.Errorf("%s: %w", op, err) }
	if err := keys.ValidateName("group", group); err != nil {
		return fail(err)
	}
	empty := func(prefix string) clientv3.Cmp {
		return clientv3.Compare(clientv3.CreateRevision(prefix).WithPrefix(), "=", 0)
	}
	resp, err := l.do(ctx, op,
		[]clientv3.Cmp{l.lives(t), empty(l.space.ConsumerMembers(t.ID, group)), empty(l.space.Claims(t.ID, group))},
		[]clientv3.Op{
			clientv3.OpDelete(l.space.ConsumerGroupPaused(t.ID, group), clientv3.WithPrevKV()),
			clientv3.OpDelete(l.space.ConsumerGroup(t.ID, group), clientv3.WithPrefix()),
			clientv3.OpDelete(l.space.GroupOffsets(t.ID, group), clientv3.WithPrefix()),
		},
		[]clientv3.Op{exists(l.space.Topic(t.Name))})
	switch {
	case err != nil:
		return err
	case !resp.Succeeded && createRevision(ranged(resp, 0)) != t.CreateRevision:
		return fail(messages.ErrTopicDeleted)
	case !resp.Succeeded:
		return fail(messages.ErrGroupLive)
	}
	var deleted int64
	for _, r := range resp.Responses {
		deleted += r.GetResponseDeleteRange().Deleted
	}
	if deleted == 0 {
		return fail(messages.ErrNoGroup)
	}
	for _, was := range resp.Responses[0].GetResponseDeleteRange().PrevKvs {
		l.revoke(ctx, was.Lease)
	}
	_ = l.sweepLoans(ctx, op, l.space.Groups(keys.Loans(t.ID, group))) // else it goes with the topic
	return nil
}

// Sweep removes what is left of topics that were deleted, or whose making began
// more than ten minutes ago and did not end. It can be called at any time, by
// several at once; with nothing to do it costs one request. Errors, joined for
// all topics: messages.ErrUnavailable, ErrDenied.
func (l *Log) Sweep(ctx context.Context) error {
	marks, err := atOneRevision(func() ([]*mvccpb.KeyValue, error) {
		kvs, _, err := l.list(ctx, "list deleted topics", l.space.AllDeleting(), 0)
		return kvs, err
	})
	if err != nil {
		return err
	}
	var faults []error
	for _, kv := range marks {
		k, ok := l.space.Parse(string(kv.Key))
		if !ok {
			continue
		}
		if err := l.sweepMarked(ctx, k.Topic, kv); err != nil {
			faults = append(faults, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(faults...)
}

func (l *Log) sweepMarked(ctx context.Context, id string, kv *mvccpb.KeyValue) error {
	d, err := format.ParseDeleting(string(kv.Key), kv.Value)
	if err != nil {
		return err
	}
	if d.State == pb.Deleting_SWEEPING {
		return l.sweep(ctx, id)
	}
	if time.Since(pb.Time(d.SinceUnixMs)) < givenUp {
		return nil
	}
	// Its maker compares the mark's revision: from here on it fails.
	resp, err := l.do(ctx, "sweep topic "+id,
		[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)},
		[]clientv3.Op{clientv3.OpPut(string(kv.Key), mark(d.Name, pb.Deleting_SWEEPING))}, nil)
	if err != nil || !resp.Succeeded {
		return err
	}
	return l.sweep(ctx, id)
}

// sweep removes every key of a topic that is gone, its mark last. Records go
// before groups and claims before offsets, so that a writer that is slow to notice
// leaves nothing behind.
func (l *Log) sweep(ctx context.Context, id string) error {
	if err := l.sweepAll(ctx, id); err != nil {
		return err
	}
	_, err := l.do(ctx, "sweep topic "+id, nil, []clientv3.Op{clientv3.OpDelete(l.space.Deleting(id))}, nil)
	return err
}

func (l *Log) sweepAll(ctx context.Context, id string) error {
	if err := l.sweepLog(ctx, id); err != nil {
		return err
	}
	for _, prefix := range []string{l.space.Log(id), l.space.ConsumerGroups(id), l.space.TopicOffsets(id)} {
		if err := l.sweepPages(ctx, "sweep topic "+id, prefix); err != nil {
			return err
		}
	}
	return l.sweepLoans(ctx, "sweep topic "+id, l.space.LoansOf(id))
}

// sweepLoans removes what members of shared groups leave behind which lend each other
// records. Who has no right to that leaves it: two small keys for each group.
func (l *Log) sweepLoans(ctx context.Context, op, prefix string) error {
	if err := l.sweepPages(ctx, op, prefix); !errors.Is(err, messages.ErrDenied) {
		return err
	}
	return nil
}

// sweepPages removes a prefix of small values, a page at a time.
func (l *Log) sweepPages(ctx context.Context, op, prefix string) error {
	for {
		n := l.limits.of(pages)
		page, err := l.get(ctx, op, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(int64(n)))
		if l.limits.fewer(pages, n, err) {
			continue
		}
		if err != nil || len(page.Kvs) == 0 {
			return err
		}
		last := string(page.Kvs[len(page.Kvs)-1].Key)
		if _, err := l.do(ctx, op, nil, []clientv3.Op{clientv3.OpDelete(prefix, clientv3.WithRange(last+"\x00"))}, nil); err != nil {
			return err
		}
	}
}

// sweepLog removes bodies with their index, partition by partition, in strokes
// over the offsets: listing them page by page would make etcd count all that
// follows each page.
func (l *Log) sweepLog(ctx context.Context, id string) error {
	op := "sweep topic " + id
	for {
		first, err := l.get(ctx, op, l.space.Indexes(id), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
		if err != nil || len(first.Kvs) == 0 {
			return err
		}
		k, ok := l.space.Parse(string(first.Kvs[0].Key))
		if !ok {
			// No key of ours, so no body belongs to it.
			if _, err := l.do(ctx, op, nil, []clientv3.Op{clientv3.OpDelete(string(first.Kvs[0].Key))}, nil); err != nil {
				return err
			}
			continue
		}
		for s := newStroke(k.Base); ; {
			resp, err := l.do(ctx, op, nil, []clientv3.Op{
				clientv3.OpDelete(l.space.IndexEntry(id, k.Partition, s.from), clientv3.WithRange(l.space.IndexEntry(id, k.Partition, s.last())+"\x00")),
				clientv3.OpDelete(l.space.Body(id, k.Partition, s.from), clientv3.WithRange(l.space.Body(id, k.Partition, s.last())+"\x00")),
			}, nil)
			if err != nil {
				return err
			}
			if s, ok = s.next(resp.Responses[0].GetResponseDeleteRange().Deleted); !ok {
				break
			}
		}
	}
}

// stroke is a run of offsets wide enough to hold several hundred batches, as
// far as one can tell from the last one.
type stroke struct{ from, width int64 }

const (
	firstWidth  = 1024
	widestWidth = 1 << 30
	// fewDeleted and manyDeleted are what a request should stay between: few
	// round trips, and no long stop for everybody else in etcd.
	fewDeleted, manyDeleted = 256, 1024
)

func newStroke(base int64) stroke { return stroke{from: base, width: firstWidth} }

// last is the last offset in the stroke.
func (s stroke) last() int64 {
	if s.from > math.MaxInt64-s.width {
		return math.MaxInt64
	}
	return s.from + s.width - 1
}

// next is the stroke after one that held that many batches, or false when the
// log is through: batches follow each other without a gap, so a stroke that is as
// wide as the largest batch and holds none is after the last.
func (s stroke) next(deleted int64) (stroke, bool) {
	if deleted == 0 && s.width >= messages.MaxBatchRecords || s.last() == math.MaxInt64 {
		return s, false
	}
	n := stroke{from: s.last() + 1, width: s.width}
	switch {
	case deleted < fewDeleted:
		n.width = min(s.width*2, widestWidth)
	case deleted > manyDeleted:
		n.width = max(s.width/2, 1)
	}
	return n, true
}

// mark is the value of the mark of a topic.
func mark(name string, state pb.Deleting_State) string {
	return format.Encode(&pb.Deleting{SinceUnixMs: time.Now().UnixMilli(), Name: name, State: state})
}
