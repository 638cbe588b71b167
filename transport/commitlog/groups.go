package commitlog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Who is in a group, and who is to own what.

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

// found tells whether topic and member are as me has them.
func (me Me) found(resp *clientv3.TxnResponse) bool {
	return createRevision(ranged(resp, 0)) == me.Topic.CreateRevision && createRevision(ranged(resp, 1)) == me.MemberRevision
}

// overtaken reads the answer to whoAmI.
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

// Groups answers the names of a topic's groups, sorted, those with nothing but
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

func modeOf(manual bool) messages.GroupMode {
	if manual {
		return messages.GroupManual
	}
	return messages.GroupAutomatic
}

// Assign writes the group's assignment, if the one before has the ModRevision
// previous (0: there was none), and answers the new one's. The same assignment
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
