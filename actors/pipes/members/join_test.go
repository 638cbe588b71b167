package members_test

// Who is refused in a group.

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/messages"
)

// Promise: an id of this runtime is refused, also while its first holder leaves.
func TestIDHeldHereIsRefused(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	m := enginetest.Join(t, e, members.Config{ID: "m"})
	again := func(when string) {
		_, err := e.Join(ctx, members.Config{Destination: "orders", Group: "billing", ID: "m"})
		if !errors.Is(err, messages.ErrExists) || !errors.Is(err, messages.ErrTaken) {
			t.Errorf("%s: %v", when, err)
		}
	}
	again("a second member")
	before := m.PID()
	enginetest.Crash(e, enginetest.Root)
	enginetest.Until(t, "the member has come up again", func() bool { return m.PID() != before })
	again("after a restart")
	if err := m.Leave(ctx); err != nil {
		t.Error(err)
	}
	m2 := enginetest.Join(t, e, members.Config{ID: "m"})
	if err := m2.Leave(ctx); err != nil {
		t.Error(err)
	}
}

// Promise: who is refused in a group is no member of it: the count of its KeepFor
// continues.
func TestRefusedJoinProlongsNoGroup(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	cfg := members.Config{Destination: "orders", Group: "billing", KeepFor: time.Hour}
	m, err := e.Join(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	meta, err := c.Get(ctx, s.Keys.GroupMeta("orders", "billing"))
	if err != nil || len(meta.Kvs) != 1 {
		t.Fatal(meta, err)
	}
	left := func() int64 {
		resp, err := c.TimeToLive(ctx, clientv3.LeaseID(meta.Kvs[0].Lease))
		if err != nil {
			t.Fatal(err)
		}
		return resp.TTL
	}
	enginetest.Until(t, "some of its time is over", func() bool { return left() <= 3597 })
	cfg.Mode = messages.AtMostOnce
	if _, err := e.Join(ctx, cfg); !errors.Is(err, messages.ErrGroupMode) {
		t.Fatal(err)
	}
	enginetest.Until(t, "the refused member is gone", func() bool { return len(e.Stats().Members) == 0 })
	if left() > 3597 {
		t.Errorf("the group is kept for %d s", left())
	}
}
