package commitlog

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// A pause stands under a lease of its length and can be moved; nothing is left of one that
// has ended, or was refused.
func TestPauseGroup(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	var was []clientv3.LeaseID // of pauses that have ended
	ended := func() {
		t.Helper()
		for _, id := range was {
			if ttl, err := l.client.TimeToLive(ctx, id); err != nil || ttl.TTL >= 0 {
				t.Errorf("the lease of a pause that has ended is left: %+v, %v", ttl, err)
			}
		}
	}
	until := time.Now().Add(time.Hour)
	if err := l.PauseGroup(ctx, info, "group", until); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("of no group: %v", err)
	}
	if err := l.ResumeGroup(ctx, info, "group"); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("resuming no group: %v", err)
	}
	populate(t, l, info)
	for _, end := range []time.Time{time.Now(), time.Now().Add(-time.Hour), time.Now().Add(2 * messages.LongestPause)} {
		if err := l.PauseGroup(ctx, info, "group", end); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("until %s: %v", end, err)
		}
	}
	gone := info
	gone.CreateRevision--
	if err := l.PauseGroup(ctx, gone, "group", until); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("of a topic that was deleted: %v", err)
	}
	for _, end := range []time.Time{until, until.Add(time.Hour)} {
		if err := l.PauseGroup(ctx, info, "group", end); err != nil {
			t.Fatal(err)
		}
		ended()
		got, err := l.client.Get(ctx, l.space.ConsumerGroupPaused(info.ID, "group"))
		if err != nil || !messages.PauseUntil(got.Kvs[0].Value).Equal(end) {
			t.Fatalf("%+v: %v", got, err)
		}
		was = append(was, clientv3.LeaseID(got.Kvs[0].Lease))
		ttl, err := l.client.TimeToLive(ctx, clientv3.LeaseID(got.Kvs[0].Lease))
		if err != nil || ttl.GrantedTTL < int64(time.Until(end)/time.Second) || ttl.GrantedTTL > int64(time.Until(end)/time.Second)+2 {
			t.Errorf("a lease of %d s: %v", ttl.GrantedTTL, err)
		}
		if g, err := l.DescribeGroup(ctx, info, "group"); err != nil || !g.PausedUntil.Equal(end) {
			t.Errorf("described: %+v, %v", g, err)
		}
	}
	for range 2 { // the second one does nothing
		if err := l.ResumeGroup(ctx, info, "group"); err != nil {
			t.Fatal(err)
		}
		if left := under(t, l, l.space.ConsumerGroupPaused(info.ID, "group")); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		ended()
	}
	if err := l.PauseGroup(ctx, info, "group", until); err != nil {
		t.Fatal(err)
	}
	got, err := l.client.Get(ctx, l.space.ConsumerGroupPaused(info.ID, "group"))
	if err != nil {
		t.Fatal(err)
	}
	was = append(was, clientv3.LeaseID(got.Kvs[0].Lease))
	for _, prefix := range []string{l.space.ConsumerMembers(info.ID, "group"), l.space.Claims(info.ID, "group")} {
		if _, err := l.client.Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.DeleteGroup(ctx, info, "group"); err != nil {
		t.Fatal(err)
	}
	ended()
}
