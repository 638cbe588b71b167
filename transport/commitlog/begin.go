package commitlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Where a group begins is decided once, for the partitions that there are at that
// moment: by the subscription that makes the group, or by a reset of all of them.
// It is one key, so that it is there whole or not at all, however many partitions
// there are and whoever dies.

// Beginning is where a group began. Its zero value is the earliest record of
// every partition. It never changes.
type Beginning struct {
	offsets []int64 // by partition; -1 where it could not be told
}

// undecided is the offset of a partition of which nobody could tell where the
// group begins.
const undecided = -1

// In is where the group begins in a partition. It returns false when that could
// not be decided, because the partition was damaged or the offset asked for was
// not there: it is up to the first who has claimed it.
func (b Beginning) In(p int) (messages.Start, bool) {
	switch {
	case p >= len(b.offsets):
		return messages.Earliest(), true // it came later
	case b.offsets[p] == undecided:
		return messages.Start{}, false
	}
	return messages.AtOffset(b.offsets[p]), true
}

func (b Beginning) value() string {
	return encode(&pb.Beginning{CreatedUnixMs: time.Now().UnixMilli(), Offsets: b.offsets})
}

// ParseBeginning reads the value of a group's beginning. The error wraps
// messages.ErrCorrupt and names the key.
func ParseBeginning(key string, value []byte) (Beginning, error) {
	var b pb.Beginning
	if err := proto.Unmarshal(value, &b); err != nil {
		return Beginning{}, corrupt(key, "%v", err)
	}
	if len(b.Offsets) > messages.MaxPartitions {
		return Beginning{}, corrupt(key, "%d partitions", len(b.Offsets))
	}
	if i := slices.IndexFunc(b.Offsets, func(o int64) bool { return o < undecided }); i >= 0 {
		return Beginning{}, corrupt(key, "offset %d in partition %d", b.Offsets[i], i)
	}
	return Beginning{b.Offsets}, nil
}

// Joining is how a subscription comes to its group.
type Joining struct {
	// Manual: members name their partitions, among them Named.
	Manual bool
	Named  []int
	// Start is where the group begins, if it has yet to.
	Start messages.Start
	// Began is where it did, as far as this member knows: it is put back when
	// somebody deleted it.
	Began *Beginning
}

// EnsureGroup makes a group, or sees that it has the mode asked for, and returns
// where it began and whether anything was made. A group whose settings are there
// and which has no beginning was made by a version that did not record it: it
// began at the earliest records, wherever it has committed nothing, so that none is
// passed over. Errors: messages.ErrGroupMode, ErrTopicDeleted, ErrInvalid,
// ErrCorrupt, ErrOffsetOutOfRange (the Start), ErrUnavailable, ErrDenied,
// ErrNoSpace; it can be called again after each.
func (l *Log) EnsureGroup(ctx context.Context, t messages.TopicInfo, group string, j Joining) (began Beginning, made bool, err error) {
	op := "join group " + group + " of topic " + t.Name
	if err := keys.ValidateName("group", group); err != nil {
		return Beginning{}, false, fmt.Errorf("join group of topic %s: %w", t.Name, err)
	}
	for range tries {
		began, made, err = l.ensureGroup(ctx, op, t, group, j)
		if !errors.Is(err, ErrRaced) {
			return began, made, err
		}
	}
	return Beginning{}, false, fmt.Errorf("%s: its keys do not stay as they are: %w", op, messages.ErrUnavailable)
}

// ensureGroup looks at a group and writes what it lacks. With ErrRaced somebody
// wrote in between.
func (l *Log) ensureGroup(ctx context.Context, op string, t messages.TopicInfo, group string, j Joining) (began Beginning, made bool, err error) {
	topic, settings, beginning := l.space.Topic(t.Name), l.space.ConsumerGroupMeta(t.ID, group), l.space.Beginning(t.ID, group)
	resp, err := l.do(ctx, op, nil, []clientv3.Op{clientv3.OpGet(topic), clientv3.OpGet(settings), clientv3.OpGet(beginning)}, nil)
	if err != nil {
		return Beginning{}, false, err
	}
	fail := func(err error) (Beginning, bool, error) { return Beginning{}, false, fmt.Errorf("%s: %w", op, err) }
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
		meta, err := parseGroup(settings, hasSettings[0].Value)
		if err == nil && meta.Manual != j.Manual {
			err = fmt.Errorf("%w: it is %s, %s was asked for", messages.ErrGroupMode, modeOf(meta.Manual), modeOf(j.Manual))
		}
		if err != nil {
			return fail(err)
		}
	} else {
		write = append(write, clientv3.OpPut(settings, encode(&pb.ConsumerGroup{Manual: j.Manual, CreatedUnixMs: time.Now().UnixMilli()})))
	}
	switch {
	case len(hasBegun) > 0:
		if began, err = ParseBeginning(beginning, hasBegun[0].Value); err != nil {
			return fail(err)
		}
	case j.Began != nil:
		began = *j.Began
	case len(hasSettings) == 0:
		now, err := l.topicIn(op, t.Name, ranged(resp, 0))
		if err != nil {
			return Beginning{}, false, err
		}
		// The partitions must be those that there are when this is written.
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(topic), "=", now.ModRevision))
		if began, err = l.beginAt(ctx, now, j); err != nil {
			return fail(err)
		}
	}
	if len(hasBegun) == 0 {
		write = append(write, clientv3.OpPut(beginning, began.value()))
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
func (l *Log) beginAt(ctx context.Context, t messages.TopicInfo, j Joining) (Beginning, error) {
	if j.Start == messages.Earliest() {
		return Beginning{}, nil
	}
	partitions := upTo(t.Config.Partitions)
	b := Beginning{make([]int64, len(partitions))}
	_, atTime := j.Start.Time()
	var all []searching
	if !atTime {
		var err error
		all, err = atOneRevision(func() ([]searching, error) {
			all, _, err := l.searchAt(ctx, t, partitions, 0)
			return all, err
		})
		if err != nil {
			return Beginning{}, err
		}
	}
	for p := range partitions {
		var err error
		if atTime {
			b.offsets[p], _, err = l.Partition(t, p).Resolve(ctx, j.Start)
		} else {
			b.offsets[p], err = all[p].at(j.Start)
		}
		switch {
		case err == nil:
		case errors.Is(err, messages.ErrCorrupt):
			b.offsets[p] = undecided
		case errors.Is(err, messages.ErrOffsetOutOfRange) && j.Manual && !slices.Contains(j.Named, p):
			b.offsets[p] = undecided // not this member's to say
		default:
			return Beginning{}, fmt.Errorf("begin at %s in partition %d: %w", j.Start, p, err)
		}
	}
	return b, nil
}

// at is where a start that is no time is in a partition whose end was found.
func (s *searching) at(start messages.Start) (int64, error) {
	offset, isOffset := start.Offset()
	switch {
	case s.err != nil:
		return 0, s.err
	case !isOffset && start.IsLatest():
		return s.end, nil
	case !isOffset:
		return s.start, nil
	case offset < 0 || offset > s.end:
		return 0, fmt.Errorf("%w: the partition goes from %d to %d", messages.ErrOffsetOutOfRange, s.start, s.end)
	}
	return max(offset, s.start), nil
}
