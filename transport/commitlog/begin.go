package commitlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Where a group begins is decided once, for the partitions that there are at that
// moment: by the subscription that makes the group, or by a reset of all of them.
// It is one key, so that it is there whole or not at all, however many partitions
// there are and whoever dies.

// Joining is how a subscription comes to its group.
type Joining struct {
	// Manual: members name their partitions, among them Named.
	Manual bool
	Named  []int
	// Start is where the group begins, if it has yet to.
	Start messages.Start
	// Began is where it did, as far as this member knows: it is put back when
	// somebody deleted it.
	Began *format.Beginning
}

// EnsureGroup makes a group, or sees that it has the mode asked for, and returns
// where it began and whether anything was made. A group whose settings are there
// and which has no beginning was made by a version that did not record it: it
// began at the earliest records, wherever it has committed nothing, so that none is
// passed over. Errors: messages.ErrGroupMode, ErrTopicDeleted, ErrInvalid,
// ErrCorrupt, ErrOffsetOutOfRange (the Start), ErrUnavailable, ErrDenied,
// ErrNoSpace; it can be called again after each.
func (l *Log) EnsureGroup(ctx context.Context, t messages.TopicInfo, group string, j Joining) (began format.Beginning, made bool, err error) {
	op := "join group " + group + " of topic " + t.Name
	if err := keys.ValidateName("group", group); err != nil {
		return format.Beginning{}, false, fmt.Errorf("join group of topic %s: %w", t.Name, err)
	}
	for range tries {
		began, made, err = l.ensureGroup(ctx, op, t, group, j)
		if !errors.Is(err, ErrRaced) {
			return began, made, err
		}
	}
	return format.Beginning{}, false, fmt.Errorf("%s: its keys do not stay as they are: %w", op, messages.ErrUnavailable)
}

// ensureGroup looks at a group and writes what it lacks. With ErrRaced somebody
// wrote in between.
func (l *Log) ensureGroup(ctx context.Context, op string, t messages.TopicInfo, group string, j Joining) (began format.Beginning, made bool, err error) {
	topic, settings, beginning := l.space.Topic(t.Name), l.space.ConsumerGroupMeta(t.ID, group), l.space.Beginning(t.ID, group)
	resp, err := l.do(ctx, op, nil, []clientv3.Op{clientv3.OpGet(topic), clientv3.OpGet(settings), clientv3.OpGet(beginning)}, nil)
	if err != nil {
		return format.Beginning{}, false, err
	}
	fail := func(err error) (format.Beginning, bool, error) {
		return format.Beginning{}, false, fmt.Errorf("%s: %w", op, err)
	}
	if createRevision(ranged(resp, 0)) != t.CreateRevision {
		return fail(messages.ErrTopicDeleted)
	}
	guards := []clientv3.Cmp{
		l.lives(t),
		clientv3.Compare(clientv3.CreateRevision(settings), "=", createRevision(ranged(resp, 1))),
		clientv3.Compare(clientv3.CreateRevision(beginning), "=", createRevision(ranged(resp, 2))),
	}
	var write []clientv3.Op
	hasSettings, hasBegun := kvsOf(resp, 1), kvsOf(resp, 2)
	if len(hasSettings) > 0 {
		meta, err := format.ParseGroup(settings, hasSettings[0].Value)
		if err == nil && meta.Manual != j.Manual {
			err = fmt.Errorf("%w: it is %s, %s was asked for", messages.ErrGroupMode, modeOf(meta.Manual), modeOf(j.Manual))
		}
		if err != nil {
			return fail(err)
		}
	} else {
		write = append(write, clientv3.OpPut(settings, format.Encode(&pb.ConsumerGroup{Manual: j.Manual, CreatedUnixMs: time.Now().UnixMilli()})))
	}
	switch {
	case len(hasBegun) > 0:
		if began, err = format.ParseBeginning(beginning, hasBegun[0].Value); err != nil {
			return fail(err)
		}
	case j.Began != nil:
		began = *j.Began
	case len(hasSettings) == 0:
		now, err := l.topicIn(op, t.Name, ranged(resp, 0))
		if err != nil {
			return format.Beginning{}, false, err
		}
		// The partitions must be those that there are when this is written.
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(topic), "=", now.ModRevision))
		if began, err = l.beginAt(ctx, now, j); err != nil {
			return fail(err)
		}
	}
	if len(hasBegun) == 0 {
		write = append(write, clientv3.OpPut(beginning, began.Value(time.Now())))
	}
	if len(write) == 0 {
		return began, false, nil
	}
	resp, err = l.do(ctx, op, guards, write, nil)
	if err == nil && !resp.Succeeded {
		err = ErrRaced
	}
	return began, err == nil, err
}

// beginAt decides where a group begins that j makes.
func (l *Log) beginAt(ctx context.Context, t messages.TopicInfo, j Joining) (format.Beginning, error) {
	if j.Start == messages.Earliest() {
		return format.Beginning{}, nil
	}
	partitions := upTo(t.Config.Partitions)
	offsets := make([]int64, len(partitions))
	_, atTime := j.Start.Time()
	var all []searching
	if !atTime {
		var err error
		all, err = atOneRevision(func() ([]searching, error) {
			all, _, err := l.searchAt(ctx, t, partitions, 0)
			return all, err
		})
		if err != nil {
			return format.Beginning{}, err
		}
	}
	for p := range partitions {
		var err error
		if atTime {
			offsets[p], _, err = l.Partition(t, p).Resolve(ctx, j.Start)
		} else {
			offsets[p], err = all[p].at(j.Start)
		}
		switch {
		case err == nil:
		case errors.Is(err, messages.ErrCorrupt):
			offsets[p] = format.Undecided
		case errors.Is(err, messages.ErrOffsetOutOfRange) && j.Manual && !slices.Contains(j.Named, p):
			offsets[p] = format.Undecided // not this member's to say
		default:
			return format.Beginning{}, fmt.Errorf("begin at %s in partition %d: %w", j.Start, p, err)
		}
	}
	return format.BeginningAt(offsets), nil
}

// at is where a start that is no time is in a partition whose end was found.
func (s *searching) at(start messages.Start) (int64, error) {
	offset, isOffset := start.Offset()
	switch {
	case s.err != nil:
		return 0, s.err
	case !isOffset && start.IsLatest():
		return s.Offset, nil
	case !isOffset:
		return s.start, nil
	case offset < 0 || offset > s.Offset:
		return 0, fmt.Errorf("%w: the partition goes from %d to %d", messages.ErrOffsetOutOfRange, s.start, s.Offset)
	}
	return max(offset, s.start), nil
}
