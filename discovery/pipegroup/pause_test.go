package pipegroup

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// A pause can be moved, ends with a Resume, with its time or with the group, and leaves
// nothing behind.
func TestPause(t *testing.T) {
	t.Parallel()
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	k := groupAt(p)
	until := time.Now().Add(time.Hour)
	if err := errors.Join(Pause(ctx, c, k, until), Resume(ctx, c, k)); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("of no group: %v", err)
	}
	g := New(c, lease.NewLeases(c), time.Minute)
	if err := g.Declare(ctx, k, groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Hour), anyMeta); err != nil {
		t.Fatal(err)
	}
	if err := Pause(ctx, c, k, time.Now().Add(-time.Second)); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("until a time that is past: %v", err)
	}
	for _, end := range []time.Time{until, until.Add(time.Minute)} {
		if err := Pause(ctx, c, k, end); err != nil {
			t.Fatal(err)
		}
		if got := etcdtest.Value(t, c, k.Paused); !messages.PauseUntil([]byte(got)).Equal(end) {
			t.Errorf("the key holds %q, want %s", got, end)
		}
	}
	for range 2 { // the second one does nothing
		if err := Resume(ctx, c, k); err != nil {
			t.Fatal(err)
		}
		if got := etcdtest.Value(t, c, k.Paused); got != "" {
			t.Errorf("after Resume the key holds %q", got)
		}
	}
	if err := Pause(ctx, c, k, time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, "etcd ends the pause", func() bool { return etcdtest.Value(t, c, k.Paused) == "" })
	if err := Pause(ctx, c, k, until); err != nil {
		t.Fatal(err)
	}
	was, err := c.Get(ctx, k.Paused)
	if err := errors.Join(err, g.Delete(ctx, k)); err != nil {
		t.Fatal(err)
	}
	if got := etcdtest.Value(t, c, k.Paused); got != "" {
		t.Errorf("after the group's end the key holds %q", got)
	}
	if ttl, err := c.TimeToLive(ctx, clientv3.LeaseID(was.Kvs[0].Lease)); err != nil || ttl.TTL >= 0 {
		t.Errorf("the lease of the pause is left after the group's end: %+v, %v", ttl, err)
	}
}

// A pause outlives a group that etcd removed. It can be ended all the same.
func TestResumeAfterTheGroupsEnd(t *testing.T) {
	t.Parallel()
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	k := groupAt(p)
	g := New(c, lease.NewLeases(c), time.Minute)
	if err := g.Declare(ctx, k, groupMeta(t, pb.Mode_AT_LEAST_ONCE, time.Hour), anyMeta); err != nil {
		t.Fatal(err)
	}
	if err := Pause(ctx, c, k, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, k.Meta); err != nil {
		t.Fatal(err)
	}
	if err := Resume(ctx, c, k); err != nil {
		t.Errorf("a pause that has outlived its group: %v", err)
	}
	if got := etcdtest.Value(t, c, k.Paused); got != "" {
		t.Errorf("after Resume the key holds %q", got)
	}
	if err := Resume(ctx, c, k); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("neither the group nor a pause: %v", err)
	}
}
