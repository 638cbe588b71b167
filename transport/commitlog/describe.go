package commitlog

// Topics and groups for people: everything is read at one revision, so that the
// numbers fit together, and then put together by functions over what was read.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Describe returns a topic, its partitions and groups as of one revision.
// Errors: messages.ErrNoTopic, ErrInvalid, ErrCorrupt, ErrUnavailable, ErrDenied.
func (l *Log) Describe(ctx context.Context, name string) (messages.TopicDescription, error) {
	if err := keys.ValidateTopic(name); err != nil {
		return messages.TopicDescription{}, fmt.Errorf("describe topic: %w", err)
	}
	return atOneRevision(func() (messages.TopicDescription, error) {
		d, err := l.describe(ctx, "describe topic "+name, name)
		if err == nil {
			err = l.countWaiting(ctx, d.TopicInfo, d.Partitions, d.Revision)
		}
		return d, err
	})
}

func (l *Log) describe(ctx context.Context, op, name string) (messages.TopicDescription, error) {
	resp, err := l.get(ctx, op, l.space.Topic(name))
	if err != nil {
		return messages.TopicDescription{}, err
	}
	t, err := l.topicIn(op, name, resp)
	if err != nil {
		return messages.TopicDescription{}, err
	}
	d := messages.TopicDescription{TopicInfo: t, Revision: resp.Header.Revision}
	if d.Partitions, err = l.bounds(ctx, t, d.Revision); err != nil {
		return messages.TopicDescription{}, err
	}
	kvs, err := l.groupKeys(ctx, op, d.Revision, l.space.ConsumerGroups(t.ID), l.space.TopicOffsets(t.ID))
	if err != nil {
		return messages.TopicDescription{}, err
	}
	d.Groups = groupsFrom(l.space, t.Name, d.Partitions, kvs)
	return d, nil
}

// DescribeGroup returns a group's members, offsets and lag as of one revision; its
// mode is empty when it has nothing but offsets, and its Err names keys that make
// no sense. Errors: messages.ErrNoGroup, ErrTopicDeleted, ErrInvalid, ErrCorrupt,
// ErrUnavailable, ErrDenied.
func (l *Log) DescribeGroup(ctx context.Context, t messages.TopicInfo, group string) (messages.GroupInfo, error) {
	if err := keys.ValidateName("group", group); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("describe group of topic %s: %w", t.Name, err)
	}
	return atOneRevision(func() (messages.GroupInfo, error) {
		return l.describeGroup(ctx, "describe group "+group+" of topic "+t.Name, t, group)
	})
}

func (l *Log) describeGroup(ctx context.Context, op string, t messages.TopicInfo, group string) (messages.GroupInfo, error) {
	resp, err := l.get(ctx, op, l.space.Topic(t.Name))
	if err != nil {
		return messages.GroupInfo{}, err
	}
	if createRevision(resp) != t.CreateRevision {
		return messages.GroupInfo{}, fmt.Errorf("%s: %w", op, messages.ErrTopicDeleted)
	}
	// It may have more partitions than the caller knows.
	if t, err = l.topicIn(op, t.Name, resp); err != nil {
		return messages.GroupInfo{}, err
	}
	revision := resp.Header.Revision
	kvs, err := l.groupKeys(ctx, op, revision, l.space.ConsumerGroup(t.ID, group), l.space.GroupOffsets(t.ID, group))
	if err != nil {
		return messages.GroupInfo{}, err
	}
	if len(kvs) == 0 {
		return messages.GroupInfo{}, fmt.Errorf("%s: %w", op, messages.ErrNoGroup)
	}
	partitions, err := l.bounds(ctx, t, revision)
	if err != nil {
		return messages.GroupInfo{}, err
	}
	groups := groupsFrom(l.space, t.Name, partitions, kvs)
	switch {
	case len(groups) == 0:
		return messages.GroupInfo{}, fmt.Errorf("%s: %w", op, messages.ErrNoGroup)
	}
	return groups[0], nil
}

// bounds reads where each partition begins and ends, and what it holds.
func (l *Log) bounds(ctx context.Context, t messages.TopicInfo, revision int64) ([]messages.PartitionInfo, error) {
	all, _, err := l.searchAt(ctx, t, upTo(t.Config.Partitions), revision)
	if err != nil {
		return nil, err
	}
	partitions := make([]messages.PartitionInfo, len(all))
	var holding []*searching
	for p := range all {
		partitions[p].Partition = p
		if s := &all[p]; s.err == nil && s.Last >= 0 {
			holding = append(holding, s)
		}
	}
	firsts, err := l.firsts(ctx, "describe "+t.Name, holding, revision)
	if err != nil {
		return nil, err
	}
	for p := range all {
		partitions[p] = all[p].info(firsts[p])
	}
	return partitions, nil
}

// firsts reads the entries of the first batches of partitions that have some, by
// partition. One that does not make sense is an error of its partition.
func (l *Log) firsts(ctx context.Context, op string, holding []*searching, revision int64) (map[int]format.Entry, error) {
	firsts := make(map[int]format.Entry, len(holding))
	err := inTurn(l.limits, places, holding, func(some []*searching) error {
		ops := make([]clientv3.Op, len(some))
		for i, s := range some {
			// A partition may begin within a batch.
			ops[i] = s.p.op(probe{from: max(0, s.start+1-window), to: s.start + 1, last: true}, revision)
		}
		resp, err := l.do(ctx, op, nil, ops, nil)
		if err != nil {
			return err
		}
		for i, s := range some {
			firsts[s.p.p], _, s.err = s.p.one(kvsOf(resp, i))
		}
		return nil
	})
	return firsts, err
}

// info is what is known of the partition, whose first batch is given, if it has
// one.
func (s *searching) info(first format.Entry) messages.PartitionInfo {
	if s.err != nil {
		return messages.PartitionInfo{Partition: s.p.p, Err: s.err}
	}
	// Entries in the index outlive what was trimmed, so the first one is not
	// simply the first there is.
	return messages.PartitionInfo{Partition: s.p.p, Start: s.start, End: s.Offset, Bytes: max(0, s.Bytes-first.LogBytes+int64(first.Bytes))}
}

func (l *Log) groupKeys(ctx context.Context, op string, revision int64, prefixes ...string) ([]*mvccpb.KeyValue, error) {
	var all []*mvccpb.KeyValue
	for _, prefix := range prefixes {
		kvs, _, err := l.list(ctx, op, prefix, revision)
		if err != nil {
			return nil, err
		}
		all = append(all, kvs...)
	}
	return all, nil
}

// groupsFrom puts groups together from their keys, sorted by name. Keys that
// are not ours are passed over; a value that cannot be read is an error of its
// group that wraps messages.ErrCorrupt.
func groupsFrom(space keys.Space, topic string, partitions []messages.PartitionInfo, kvs []*mvccpb.KeyValue) []messages.GroupInfo {
	groups := map[string]*gathering{}
	for _, kv := range kvs {
		k, ok := space.Parse(string(kv.Key))
		if !ok {
			continue
		}
		g := groups[k.Group]
		if g == nil {
			g = newGathering(topic, k.Group, partitions)
			groups[k.Group] = g
		}
		if err := g.add(k, kv); err != nil {
			g.Err = errors.Join(g.Err, err)
		}
	}
	all := make([]messages.GroupInfo, 0, len(groups))
	for _, g := range groups {
		all = append(all, g.info())
	}
	slices.SortFunc(all, func(a, b messages.GroupInfo) int { return cmp.Compare(a.Group, b.Group) })
	return all
}

// gathering is one group, as far as its keys have been read.
type gathering struct {
	messages.GroupInfo
	assigned map[string][]int
	began    format.Beginning
	done     map[int]format.Progress // by partition
}

func newGathering(topic, group string, partitions []messages.PartitionInfo) *gathering {
	g := &gathering{GroupInfo: messages.GroupInfo{Topic: topic, Group: group}, done: make(map[int]format.Progress)}
	for _, p := range partitions {
		g.Partitions = append(g.Partitions, messages.GroupPartition{Partition: p.Partition, Start: p.Start, End: p.End, Committed: -1, Err: p.Err})
	}
	return g
}

// partition is the one that a key is about, or nil: one that the topic does not
// have is of an update that was not completed, and is left out.
func (g *gathering) partition(k keys.Key) *messages.GroupPartition {
	if k.Partition >= len(g.Partitions) {
		return nil
	}
	return &g.Partitions[k.Partition]
}

func (g *gathering) add(k keys.Key, kv *mvccpb.KeyValue) error {
	key := string(kv.Key)
	switch k.Kind {
	case keys.KindConsumerGroupMeta:
		meta, err := format.ParseGroup(key, kv.Value)
		if err != nil {
			return err
		}
		g.Mode = modeOf(meta.Manual, meta.Shared)
	case keys.KindAssignment:
		a, err := format.ParseAssignment(key, kv.Value)
		if err != nil {
			return err
		}
		g.Generation, g.assigned = a.Generation, map[string][]int{}
		for _, s := range a.Shares {
			g.assigned[s.Member] = numbers(s)
		}
	case keys.KindConsumerMember:
		m, err := format.ParseMember(key, kv.Value)
		if err != nil {
			return err
		}
		g.Members = append(g.Members, messages.GroupMember{
			ID: k.ID, Host: m.Host, Since: pb.Time(m.SinceUnixMs), Partitions: numbers(m),
		})
	case keys.KindConsumerGroupPaused:
		g.PausedUntil = messages.PauseUntil(kv.Value)
	case keys.KindClaim:
		c, err := format.ParseClaim(key, kv.Value)
		if err != nil {
			return err
		}
		if p := g.partition(k); p != nil {
			p.Owner, p.Fence = c.Member, kv.CreateRevision
		}
	case keys.KindBeginning:
		b, err := format.ParseBeginning(key, kv.Value)
		if err != nil {
			return err
		}
		g.began = b
	case keys.KindCommitted:
		c, err := format.ParseCommitted(key, kv.Value)
		if err != nil {
			return err
		}
		if p := g.partition(k); p != nil {
			progress, _ := format.ProgressOf(c)
			p.Committed, g.done[k.Partition] = c.Offset, progress
		}
	}
	return nil
}

// info is the group when all its keys were read.
func (g *gathering) info() messages.GroupInfo {
	for i := range g.Members {
		if m := &g.Members[i]; g.Mode != messages.GroupManual {
			m.Partitions = g.assigned[m.ID]
		}
	}
	for i := range g.Partitions {
		p := &g.Partitions[i]
		if p.Err != nil {
			p.Lag = -1
			continue
		}
		at := p.Committed
		if at < 0 {
			start, _ := g.began.In(p.Partition)
			at, _ = start.Offset()
		}
		// What was trimmed cannot be handled any more and lags nothing.
		at = max(at, p.Start)
		p.Done = g.done[p.Partition].From(at).Count()
		p.Lag = max(0, p.End-at-p.Done)
		g.Lag += p.Lag
	}
	return g.GroupInfo
}

// numbers is a list of partitions, sorted.
func numbers(of interface{ GetPartitions() []uint32 }) []int {
	var list []int
	for _, p := range of.GetPartitions() {
		list = append(list, int(p))
	}
	slices.Sort(list)
	return list
}
