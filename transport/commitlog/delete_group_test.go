package commitlog

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// A group is deleted whole, and only while nobody is in; the other groups and the records
// stay.
func TestDeleteGroup(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 3)
	populate(t, l, info)
	for _, live := range []string{l.space.ConsumerMembers(info.ID, "group"), l.space.Claims(info.ID, "group")} {
		before := len(under(t, l, ""))
		if err := l.DeleteGroup(ctx, info, "group"); !errors.Is(err, messages.ErrGroupLive) || len(under(t, l, "")) != before {
			t.Errorf("with %s: %v", live, err)
		}
		if _, err := l.do(ctx, "leave", nil, []clientv3.Op{clientv3.OpDelete(live, clientv3.WithPrefix())}, nil); err != nil {
			t.Fatal(err)
		}
	}
	lent := func(topic, group string) string { return l.space.Deserted(keys.Loans(topic, group), group) }
	other := []clientv3.Op{
		clientv3.OpPut(lent(info.ID, "group"), ""), clientv3.OpPut(lent(info.ID, "group-2"), ""), clientv3.OpPut(lent("other", "group"), ""),
		clientv3.OpPut(l.space.ConsumerGroupMeta(info.ID, "group-2"), format.Encode(&pb.ConsumerGroup{})),
		clientv3.OpPut(l.space.Committed(info.ID, "group-2", 0), format.Encode(&pb.Committed{Offset: 5})),
	}
	if _, err := l.do(ctx, "put", nil, other, nil); err != nil {
		t.Fatal(err)
	}
	before := len(under(t, l, ""))
	if err := l.DeleteGroup(ctx, info, "group"); err != nil {
		t.Fatal(err)
	}
	if left, want := len(under(t, l, "")), before-3-info.Config.Partitions; left != want {
		t.Errorf("%d keys are left, want %d", left, want)
	}
	if groups, err := l.Groups(ctx, info); err != nil || len(groups) != 1 || groups[0] != "group-2" {
		t.Errorf("groups %q, %v", groups, err)
	}
	if err := l.DeleteGroup(ctx, info, "group"); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("a second time: %v", err)
	}
	if err := l.DeleteGroup(ctx, info, "a/b"); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := l.DeleteTopic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := l.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if left := under(t, l, "dest/"); len(left) != 1 {
		t.Errorf("what was lent over is left: %v", left)
	}
	if err := l.DeleteGroup(ctx, info, "group-2"); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("of a topic that was deleted: %v", err)
	}
}
