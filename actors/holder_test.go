package actors

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

func TestHolderWatch(t *testing.T) {
	begin := time.Unix(1000, 0)
	for name, tt := range map[string]struct {
		left  func(at time.Duration) time.Duration // whole seconds; 0 when the lease is gone
		alive bool
		by    time.Duration
	}{
		"dead": {func(at time.Duration) time.Duration { return max(0, 10*time.Second-at).Truncate(time.Second) }, false, 0},
		"dead, new leader": {func(at time.Duration) time.Duration {
			return max(0, 10*time.Second-at+at.Truncate(5*time.Second)%(6*time.Second)).Truncate(time.Second)
		}, false, 0},
		"renewed each third": {func(at time.Duration) time.Duration {
			return (10*time.Second - at%(3333*time.Millisecond)).Truncate(time.Second)
		}, true, 10 * time.Second},
		"short, no rise": {func(time.Duration) time.Duration { return 2 * time.Second }, true, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var w node.HolderWatch
			for at := time.Duration(0); at < 20*time.Second; at += node.HolderEvery {
				left := tt.left(at)
				if left == 0 {
					if tt.alive {
						t.Fatal("gone")
					}
					return
				}
				if w.Sees(begin.Add(at), 7, left) {
					if !tt.alive || at > tt.by {
						t.Fatalf("alive after %s", at)
					}
					return
				}
			}
			if tt.alive {
				t.Error("never seen to live")
			}
		})
	}
}

// soleIsWaitedFor: a destination whose senders were killed comes free with their
// leases, for a sole sender too.
func soleIsWaitedFor(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e := s.begin(t)
	c := s.client(t)
	hold := func(keys ...string) {
		lease, err := c.Grant(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if _, err := c.Put(ctx, key, "", clientv3.WithLease(lease.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	hold(e.node.Keys.Sole("orders"), e.node.Keys.Sender("orders", "killed"))
	if _, err := e.Register(short, senders.Config{Name: "orders", SoleSender: true}); !errors.Is(err, messages.ErrDestinationTaken) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
	hold(e.node.Keys.Sender("shared", "killed"))
	until(t, "the name is free again", func() bool {
		_, err := e.Register(ctx, senders.Config{Name: "orders", SoleSender: true})
		if err != nil && !errors.Is(err, messages.ErrExists) {
			t.Fatal(err)
		}
		return err == nil
	})
	if _, err := e.Register(ctx, senders.Config{Name: "shared", SoleSender: true}); err != nil {
		t.Error(err)
	}
}

// idsAreWaitedFor: an id that a process held which has ended comes free with its
// lease, which is waited for and told.
func idsAreWaitedFor(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e := s.begin(t)
	c := s.client(t)
	hold := func(key string) {
		lease, err := c.Grant(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, key, "", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	hold(e.node.Keys.Sender("orders", "mine"))
	hold(e.node.Keys.Member("orders", "billing", "mine"))
	events := e.Events(ctx)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := e.Register(short, senders.Config{Name: "orders", ID: "mine"}); !errors.Is(err, messages.ErrTaken) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
	until(t, "the name is free again", func() bool {
		_, err := e.Register(ctx, senders.Config{Name: "orders", ID: "mine"})
		if err != nil && !errors.Is(err, messages.ErrExists) {
			t.Fatal(err)
		}
		return err == nil
	})
	mustJoin(t, e, members.Config{ID: "mine"})
	for event := range events {
		if _, ok := event.(messages.RegistrationAwaited); ok {
			return
		}
	}
	t.Error("nobody was told")
}
