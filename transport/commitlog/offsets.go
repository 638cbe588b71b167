package commitlog

// Moving groups. Where a group is moved to, nothing is finished behind the offset.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// ResetOffsets moves a group to where to says, in the partitions given, or all
// when that is nil; a group that never was gets offsets, too. While a member has
// a claim (with partitions given, to one of those) it is refused with
// messages.ErrGroupLive; forced, it takes the claims away in the same
// transaction. Up to forty partitions go into one transaction: with an error, the
// changes returned were made. A request that was given up moves nothing that was
// written since, however late it reaches etcd. A dry run writes nothing; it returns
// what would be changed, with ErrGroupLive when it would be refused. When
// ctx ends while members commit in between, its cause. Errors besides:
// messages.ErrNoPartition, ErrOffsetOutOfRange, ErrTopicDeleted, ErrNoTopic,
// ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace.
func (l *Log) ResetOffsets(ctx context.Context, t messages.TopicInfo, group string, to messages.Start, partitions []int, dryRun, force bool) ([]messages.OffsetChange, error) {
	op := "reset offsets of group " + group + " of topic " + t.Name
	fail := func(err error) ([]messages.OffsetChange, error) { return nil, fmt.Errorf("%s: %w", op, err) }
	if err := keys.ValidateName("group", group); err != nil {
		return fail(err)
	}
	// The topic may have grown since the caller looked.
	now, err := l.Topic(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	if now.CreateRevision != t.CreateRevision {
		return fail(messages.ErrTopicDeleted)
	}
	r := resetting{l: l, op: op, topic: now, group: group, dryRun: dryRun, force: force, whole: partitions == nil}
	if r.whole {
		partitions = upTo(now.Config.Partitions)
	}
	if err := format.CheckPartitions(partitions, now.Config.Partitions); err != nil {
		return fail(err)
	}
	partitions = slices.Sorted(slices.Values(partitions))
	targets, err := l.resolveAll(ctx, now, to, partitions)
	if err != nil {
		return nil, err
	}
	var changes []messages.OffsetChange
	var refused error
	if len(targets) > 0 {
		r.last = targets[len(targets)-1].Partition
	}
	err = inTurn(l.limits, nests, targets, func(chunk []format.Position) error {
		found, err := r.chunk(ctx, chunk)
		changes = append(changes, found...)
		if dryRun && errors.Is(err, messages.ErrGroupLive) {
			refused = cmp.Or(refused, err)
			return nil
		}
		return err
	})
	return changes, cmp.Or(err, refused)
}

// resolveAll turns a start into an offset in each partition.
func (l *Log) resolveAll(ctx context.Context, t messages.TopicInfo, to messages.Start, partitions []int) ([]format.Position, error) {
	places, err := l.ResolveEach(ctx, t, partitions, func(int) messages.Start { return to })
	if err != nil {
		return nil, err
	}
	targets := make([]format.Position, len(partitions))
	for i, p := range partitions {
		if places[i].Err != nil {
			return nil, places[i].Err
		}
		targets[i] = format.Position{Partition: p, Offset: places[i].Offset, Base: places[i].Base}
	}
	return targets, nil
}

// Place is what Partition.Resolve returns of one partition.
type Place struct {
	Offset, Base int64
	// Err is of this partition alone: it wraps messages.ErrCorrupt or
	// ErrOffsetOutOfRange.
	Err error
}

// ResolveEach is Partition.Resolve of several partitions, in their order: two requests,
// or some more, for those that begin at one of their ends, one for each forty that
// begin at an offset, and those of Resolve for each that begins at a time. Errors that
// are of no partition alone are returned: messages.ErrTopicDeleted, ErrUnavailable,
// ErrDenied.
func (l *Log) ResolveEach(ctx context.Context, t messages.TopicInfo, partitions []int, from func(p int) messages.Start) ([]Place, error) {
	places := make([]Place, len(partitions))
	var bounds, offsets, times []int // which of partitions
	for i, p := range partitions {
		s := from(p)
		_, atOffset := s.Offset()
		_, atTime := s.Time()
		switch {
		case atOffset:
			offsets = append(offsets, i)
		case atTime:
			times = append(times, i)
		default:
			bounds = append(bounds, i)
		}
	}
	// put notes a place, or returns an error that is not the partition's.
	put := func(i int, offset, base int64, err error) error {
		if err != nil && !errors.Is(err, messages.ErrCorrupt) && !errors.Is(err, messages.ErrOffsetOutOfRange) {
			return err
		}
		places[i] = Place{Offset: offset, Base: base, Err: err}
		return nil
	}
	if len(bounds) > 0 {
		some := make([]int, len(bounds))
		for at, i := range bounds {
			some[at] = partitions[i]
		}
		all, err := atOneRevision(func() ([]searching, error) {
			all, _, err := l.searchAt(ctx, t, some, 0)
			return all, err
		})
		if err != nil {
			return nil, err
		}
		for at, i := range bounds {
			err := all[at].err
			if err != nil {
				err = fmt.Errorf("find the end of %s: %w", all[at].p, err)
			}
			offset := all[at].start
			if from(partitions[i]).IsLatest() {
				offset = all[at].Offset
			}
			if err := put(i, offset, offset, err); err != nil {
				return nil, err
			}
		}
	}
	if err := inTurn(l.limits, nests, offsets, func(some []int) error {
		var ops []clientv3.Op
		for _, i := range some {
			offset, _ := from(partitions[i]).Offset()
			ops = append(ops, l.Partition(t, partitions[i]).lookFor(offset)...)
		}
		resp, err := l.do(ctx, fmt.Sprintf("find offsets in %q", t.Name), nil, ops, nil)
		if err != nil {
			return err
		}
		for at, i := range some {
			want, _ := from(partitions[i]).Offset()
			offset, base, err := l.Partition(t, partitions[i]).located(ctx, want, kvsOf(resp, 2*at), kvsOf(resp, 2*at+1))
			if err := put(i, offset, base, err); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, i := range times {
		offset, base, err := l.Partition(t, partitions[i]).Resolve(ctx, from(partitions[i]))
		if err := put(i, offset, base, err); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// resetting is one call of ResetOffsets.
type resetting struct {
	l             *Log
	op            string
	topic         messages.TopicInfo
	group         string
	dryRun, force bool
	whole         bool // all partitions: any claim in the group counts
	last          int  // the last of them
}

// chunk moves some partitions in one transaction, which compares the offsets and
// claims that it found: a request that reaches etcd late, when it was given up,
// changes nothing that has changed since. When something changed meanwhile it
// looks again; members of a group that is forced may commit all the time, so there
// it continues with fewer at a time. With messages.ErrGroupLive a dry run returns
// what it would have changed.
func (r resetting) chunk(ctx context.Context, targets []format.Position) ([]messages.OffsetChange, error) {
	var done []messages.OffsetChange
	for size := len(targets); len(targets) > 0; {
		some := targets[:min(size, len(targets))]
		changes, err := r.once(ctx, some)
		switch {
		case r.l.limits.fewer(nests, len(some), err):
			size = r.l.limits.of(nests)
		case errors.Is(err, ErrRaced):
			if r.force {
				size = (len(some) + 1) / 2
			}
			if ctx.Err() != nil {
				return done, fmt.Errorf("%s: its members commit all the time: %w", r.op, context.Cause(ctx))
			}
		case errors.Is(err, messages.ErrGroupLive) && r.dryRun:
			return append(done, changes...), err
		case err != nil:
			return done, err
		default:
			done, targets = append(done, changes...), targets[len(some):]
		}
	}
	return done, nil
}

// once looks at some partitions and moves them as it found them. With ErrRaced
// something has changed in between, and nothing was written.
func (r resetting) once(ctx context.Context, targets []format.Position) ([]messages.OffsetChange, error) {
	topic := r.l.space.Topic(r.topic.Name)
	look := []clientv3.Op{exists(topic)}
	if r.whole {
		look = append(look, clientv3.OpGet(r.l.space.Claims(r.topic.ID, r.group), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)))
	}
	first := len(look)
	for _, target := range targets {
		look = append(look, clientv3.OpGet(r.l.space.Committed(r.topic.ID, r.group, target.Partition)), exists(r.l.space.Claim(r.topic.ID, r.group, target.Partition)))
	}
	resp, err := r.l.do(ctx, r.op, nil, look, nil)
	if err != nil {
		return nil, err
	}
	if createRevision(ranged(resp, 0)) != r.topic.CreateRevision {
		return nil, fmt.Errorf("%s: %w", r.op, messages.ErrTopicDeleted)
	}
	claimed := r.whole && len(ranged(resp, 1).Kvs) > 0
	guards, write := []clientv3.Cmp{r.l.lives(r.topic)}, []clientv3.Op(nil)
	if r.whole && !r.force {
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(r.l.space.Claims(r.topic.ID, r.group)).WithPrefix(), "=", 0))
	}
	changes := make([]messages.OffsetChange, len(targets))
	for i, target := range targets {
		key, claim := r.l.space.Committed(r.topic.ID, r.group, target.Partition), r.l.space.Claim(r.topic.ID, r.group, target.Partition)
		kvs, fence := ranged(resp, first+2*i).Kvs, createRevision(ranged(resp, first+2*i+1))
		claimed = claimed || fence != 0
		// One that cannot be read counts as none: it is written over.
		from, _, _, _ := committedIn(kvs)
		changes[i] = messages.OffsetChange{Partition: target.Partition, From: from, To: target.Offset}
		guards = append(guards,
			clientv3.Compare(clientv3.ModRevision(key), "=", standingIn(kvs, fence, 0).modRevision),
			clientv3.Compare(clientv3.CreateRevision(claim), "=", fence))
		write = append(write, clientv3.OpPut(key, committedValue(target, 0, 0)))
		if fence != 0 {
			write = append(write, clientv3.OpDelete(claim), clientv3.OpDelete(r.l.space.Owned(r.topic.ID, r.group, target.Partition)))
		}
	}
	if r.whole && targets[len(targets)-1].Partition == r.last {
		// It has begun then: what comes later is read from its beginning.
		began := r.l.space.Beginning(r.topic.ID, r.group)
		write = append(write, clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(began), "=", 0)},
			[]clientv3.Op{clientv3.OpPut(began, format.Beginning{}.Value(time.Now()))}, nil))
	}
	if claimed && !r.force {
		return changes, fmt.Errorf("%s: %w", r.op, messages.ErrGroupLive)
	}
	if r.dryRun {
		return changes, nil
	}
	resp, err = r.l.do(ctx, r.op, guards, write, nil)
	if err == nil && !resp.Succeeded {
		err = fmt.Errorf("%s: %w", r.op, ErrRaced)
	}
	if err != nil {
		return nil, err
	}
	return changes, nil
}
