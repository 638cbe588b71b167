package commitlog

// Joining a group, the assignment of its partitions, and its pause: a key under a lease of
// the length of that, so that etcd ends it.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// ErrRaced: what the write was based on has changed meanwhile: the assignment,
// or the member itself, whose key is gone or another incarnation's. Nothing was
// written.
var ErrRaced = errors.New("overtaken by another write")

// Me is the member that asks.
type Me struct {
	Topic         messages.TopicInfo
	Group, Member string
	// MemberRevision is the CreateRevision of the member's key.
	MemberRevision int64
	// Generation is that of the assignment in hand, written into claims for
	// others to judge by; 0 in a manual group.
	Generation int64
	// Lease holds the member's key and is to hold its claims.
	Lease clientv3.LeaseID
}

func (me Me) group() string { return "group " + me.Group + " of topic " + me.Topic.Name }

// iAm guards a write by the member's own key: a zombie must not write.
func (l *Log) iAm(me Me) []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(l.space.ConsumerMember(me.Topic.ID, me.Group, me.Member)), "=", me.MemberRevision)}
}

// whoAmI asks, when a guard did not hold, which one that was.
func (l *Log) whoAmI(me Me) []clientv3.Op {
	return []clientv3.Op{
		exists(l.space.Topic(me.Topic.Name)),
		exists(l.space.ConsumerMember(me.Topic.ID, me.Group, me.Member)),
		clientv3.OpGet(l.space.Assignment(me.Topic.ID, me.Group)),
	}
}

// found reports whether topic and member are as me has them.
func (me Me) found(resp *clientv3.TxnResponse) bool {
	return createRevision(ranged(resp, 0)) == me.Topic.CreateRevision && createRevision(ranged(resp, 1)) == me.MemberRevision
}

// overtaken reads the response to whoAmI.
func (me Me) overtaken(op string, resp *clientv3.TxnResponse) error {
	switch {
	case createRevision(ranged(resp, 0)) != me.Topic.CreateRevision:
		return fmt.Errorf("%s: %w", op, messages.ErrTopicDeleted)
	case createRevision(ranged(resp, 1)) == 0:
		return fmt.Errorf("%s: %w: member %s is gone", op, ErrRaced, me.Member)
	case createRevision(ranged(resp, 1)) != me.MemberRevision:
		return fmt.Errorf("%s: %w: member %s is another incarnation", op, ErrRaced, me.Member)
	default:
		return fmt.Errorf("%s: %w: there is another assignment", op, ErrRaced)
	}
}

// Groups returns the names of a topic's groups, sorted, those with nothing but
// offsets too. Errors: messages.ErrUnavailable, ErrDenied.
func (l *Log) Groups(ctx context.Context, t messages.TopicInfo) ([]string, error) {
	kvs, err := atOneRevision(func() ([]*mvccpb.KeyValue, error) {
		op := "list groups of topic " + t.Name
		groups, revision, err := l.list(ctx, op, l.space.ConsumerGroups(t.ID), 0, clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		offsets, _, err := l.list(ctx, op, l.space.TopicOffsets(t.ID), revision, clientv3.WithKeysOnly())
		return append(groups, offsets...), err
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, kv := range kvs {
		if k, ok := l.space.Parse(string(kv.Key)); ok && (len(names) == 0 || names[len(names)-1] != k.Group) {
			names = append(names, k.Group)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func modeOf(manual, shared bool) messages.GroupMode {
	switch {
	case manual:
		return messages.GroupManual
	case shared:
		return messages.GroupShared
	}
	return messages.GroupAutomatic
}

// Assign writes the group's assignment, if the one before has the ModRevision
// previous (0: there was none), and returns the new one's. The same assignment
// again, because the outcome was unknown, is written once. Errors: ErrRaced,
// messages.ErrTopicDeleted, ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace.
func (l *Log) Assign(ctx context.Context, me Me, previous int64, a *pb.Assignment) (modRevision int64, err error) {
	op := "assign partitions of " + me.group()
	if err := format.CheckAssignment(a); err != nil {
		return 0, fmt.Errorf("%s: %w: %w", op, messages.ErrInvalid, err)
	}
	key := l.space.Assignment(me.Topic.ID, me.Group)
	resp, err := l.do(ctx, op,
		append(l.iAm(me), l.lives(me.Topic), clientv3.Compare(clientv3.ModRevision(key), "=", previous)),
		[]clientv3.Op{clientv3.OpPut(key, format.Encode(a))}, l.whoAmI(me))
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	if kvs := ranged(resp, 2).Kvs; len(kvs) > 0 && me.found(resp) {
		if there, err := format.ParseAssignment(key, kvs[0].Value); err == nil && proto.Equal(there, a) {
			return kvs[0].ModRevision, nil
		}
	}
	return 0, me.overtaken(op, resp)
}

// Where a group begins is decided once, for the partitions that there are at that
// moment: by the subscription that makes the group, or by a reset of all of them.
// It is one key, so that it is there whole or not at all, however many partitions
// there are and whichever process dies.

// Joining is how a subscription comes to its group.
type Joining struct {
	// Manual: members name their partitions, among them Named.
	Manual bool
	Named  []int
	// Shared: owners lend records to the other members.
	Shared bool
	// Start is where the group begins, if it has yet to.
	Start messages.Start
	// Began is where it did, as far as this member knows: it is put back when
	// it was deleted.
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

// ensureGroup looks at a group and writes what it lacks. With ErrRaced another
// process wrote in between.
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
		if err != nil {
			return fail(err)
		}
		if there, asked := modeOf(meta.Manual, meta.Shared), modeOf(j.Manual, j.Shared); there != asked {
			return fail(fmt.Errorf("%w: it is %s, %s was asked for", messages.ErrGroupMode, there, asked))
		}
	} else {
		write = append(write, clientv3.OpPut(settings, format.Encode(&pb.ConsumerGroup{Manual: j.Manual, Shared: j.Shared, CreatedUnixMs: time.Now().UnixMilli()})))
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

// PauseGroup writes the key of a pause until then, over one that is there. etcd counts
// from now, in whole seconds, rounded up. Errors: messages.ErrInvalid (until is not in
// the future), ErrTopicDeleted, ErrNoGroup, ErrUnavailable, ErrDenied, ErrNoSpace.
func (l *Log) PauseGroup(ctx context.Context, t messages.TopicInfo, group string, until time.Time) error {
	op := "pause group " + group + " of topic " + t.Name
	ttl, err := messages.PauseSeconds(until, time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	granting, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := l.client.Grant(granting, ttl)
	if err != nil {
		return l.classify(op, err)
	}
	key := l.space.ConsumerGroupPaused(t.ID, group)
	resp, err := l.changeGroup(ctx, op, t, group, clientv3.OpPut(key, messages.PauseValue(until), clientv3.WithLease(lease.ID), clientv3.WithPrevKV()))
	if err != nil {
		l.revoke(ctx, int64(lease.ID)) // a pause that was written unheard ends with it
		return err
	}
	if was := resp.Responses[0].GetResponsePut().PrevKv; was != nil {
		l.revoke(ctx, was.Lease)
	}
	return nil
}

// ResumeGroup deletes the key of a pause. Of a group that is not paused it changes
// nothing. Errors: those of PauseGroup.
func (l *Log) ResumeGroup(ctx context.Context, t messages.TopicInfo, group string) error {
	key := l.space.ConsumerGroupPaused(t.ID, group)
	resp, err := l.changeGroup(ctx, "resume group "+group+" of topic "+t.Name, t, group, clientv3.OpDelete(key, clientv3.WithPrevKV()))
	if err != nil {
		return err
	}
	for _, was := range resp.Responses[0].GetResponseDeleteRange().PrevKvs {
		l.revoke(ctx, was.Lease)
	}
	return nil
}

// changeGroup does something if the topic and its group are there.
func (l *Log) changeGroup(ctx context.Context, op string, t messages.TopicInfo, group string, then clientv3.Op) (*clientv3.TxnResponse, error) {
	there := clientv3.Compare(clientv3.CreateRevision(l.space.ConsumerGroupMeta(t.ID, group)), ">", 0)
	resp, err := l.do(ctx, op, []clientv3.Cmp{l.lives(t), there}, []clientv3.Op{then}, []clientv3.Op{exists(l.space.Topic(t.Name))})
	switch {
	case err != nil:
		return nil, err
	case resp.Succeeded:
		return resp, nil
	case createRevision(ranged(resp, 0)) != t.CreateRevision:
		return nil, fmt.Errorf("%s: %w", op, messages.ErrTopicDeleted)
	}
	return nil, fmt.Errorf("%s: %w", op, messages.ErrNoGroup)
}

// revoke gives up the lease of a pause, also when ctx has ended meanwhile: it may last
// for years. None is 0. One that etcd does not hear of ends by itself.
func (l *Log) revoke(ctx context.Context, lease int64) {
	if lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_, _ = l.client.Revoke(ctx, clientv3.LeaseID(lease))
}
