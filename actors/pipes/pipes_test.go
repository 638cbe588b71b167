package pipes_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a group is deleted when nobody is in it, and is gone for its senders too.
func TestDeleteGroup(t *testing.T) {
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{KeepFor: messages.Forever})
	remove := func() error { return e.DeleteGroup(ctx, enginetest.Destination, enginetest.Group) }
	if err := remove(); !errors.Is(err, messages.ErrGroupLive) {
		t.Errorf("with a member: %v", err)
	}
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if keys := s.With(t, c, "/"+enginetest.Group); len(keys) == 0 {
		t.Error("the group is gone though it is kept forever")
	}
	if err := remove(); err != nil {
		t.Errorf("without members: %v", err)
	}
	if keys := s.With(t, c, "/groups/"+enginetest.Group); len(keys) > 0 {
		t.Errorf("these keys are left: %v", keys)
	}
	enginetest.Until(t, "the sender has no pipe for it", func() bool { return len(d.Stats()) == 0 })
	enginetest.Until(t, "the sender's token for it is gone", func() bool { return len(s.With(t, c, "/"+enginetest.Group)) == 0 })
	if err := remove(); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("again: %v", err)
	}
}

// Promise: what is wrong with a call is said, all of it, before etcd is asked.
func TestDeleteGroupIsRefused(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var none context.Context
	for name, tt := range map[string]struct {
		ctx         context.Context
		dest, group string
		want        error
	}{
		"no context":        {none, "orders", "billing", messages.ErrInvalid},
		"no destination":    {t.Context(), "", "billing", messages.ErrInvalid},
		"no group":          {t.Context(), "orders", "a/b", messages.ErrInvalid},
		"no time":           {over, "orders", "billing", context.Canceled},
		"no time, no group": {over, "orders", "", messages.ErrInvalid},
	} {
		if err := e.DeleteGroup(tt.ctx, tt.dest, tt.group); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteGroup(t.Context(), "orders", "billing"); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("after Stop: %v", err)
	}
}

// Promise: the KeepFor of a group begins when the runtime of its last member ends,
// though that had no time to leave.
func TestStopBeginsTheKeepForOfItsGroups(t *testing.T) {
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	e, c := s.Start(t), s.Client(t)
	enginetest.Join(t, e, members.Config{KeepFor: time.Hour})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Stop(over); !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	meta, err := c.Get(ctx, s.Keys.GroupMeta(enginetest.Destination, enginetest.Group))
	if err != nil || len(meta.Kvs) != 1 {
		t.Fatal(meta, err)
	}
	kept, err := c.TimeToLive(ctx, clientv3.LeaseID(meta.Kvs[0].Lease))
	if err != nil {
		t.Fatal(err)
	}
	if kept.GrantedTTL != int64(time.Hour/time.Second) || kept.TTL < kept.GrantedTTL-60 {
		t.Errorf("the group is kept for %d s of %d", kept.TTL, kept.GrantedTTL)
	}
}
