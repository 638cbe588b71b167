package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/messages"
)

// fakeLeases is an etcd that knows leases only, driven by a test: each call
// asks the script what to answer.
type fakeLeases struct {
	next  clientv3.LeaseID
	calls []string
	began time.Time

	grant  func(n int) error
	renew  func(ctx context.Context, n int) error
	revoke func(n int) error
	counts map[string]int
}

func newFakeLeases() *fakeLeases {
	ok := func(int) error { return nil }
	return &fakeLeases{began: time.Now(), counts: map[string]int{}, grant: ok, revoke: ok, renew: func(context.Context, int) error { return nil }}
}

func (f *fakeLeases) note(what string, id clientv3.LeaseID) int {
	f.counts[what]++
	f.calls = append(f.calls, fmt.Sprintf("%v %s %d", time.Since(f.began), what, id))
	return f.counts[what]
}

func (f *fakeLeases) Grant(_ context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	n := f.note("grant", f.next+1)
	if err := f.grant(n); err != nil {
		return nil, err
	}
	f.next++
	return &clientv3.LeaseGrantResponse{ID: f.next, TTL: ttl}, nil
}

func (f *fakeLeases) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	if err := f.renew(ctx, f.note("renew", id)); err != nil {
		return nil, err
	}
	return &clientv3.LeaseKeepAliveResponse{ID: id, TTL: 9}, nil
}

func (f *fakeLeases) Revoke(_ context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	return &clientv3.LeaseRevokeResponse{}, f.revoke(f.note("revoke", id))
}

// silent answers nothing until its context ends.
func silent(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// tell is an event with the time at which it came.
func tell(began time.Time, ev Event) string {
	at := time.Since(began)
	switch ev := ev.(type) {
	case Alive:
		if ev.New {
			return fmt.Sprintf("%v new %d", at, ev.Lease)
		}
		return fmt.Sprintf("%v alive %d", at, ev.Lease)
	case Doubt:
		return fmt.Sprintf("%v doubt %d since %v", at, ev.Lease, ev.Since.Sub(began))
	case Lost:
		return fmt.Sprintf("%v lost %d", at, ev.Lease)
	default:
		return "" // Delayed: times are drawn by chance
	}
}

// play runs a session of 9 s with a margin of 1 s for a while of virtual time.
func play(t *testing.T, f func() *fakeLeases, d time.Duration) (events []string, calls []string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := f()
		began := time.Now()
		s := NewSession(fake, Config{TTL: 9 * time.Second, Margin: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		err = s.Run(ctx, func(ev Event) {
			if line := tell(began, ev); line != "" {
				events = append(events, line)
			}
			// What the event says and what Fresh says must agree.
			id, fresh := s.Fresh()
			switch ev := ev.(type) {
			case Alive:
				if !fresh || id != ev.Lease {
					t.Errorf("%v, but Fresh says %d, %v", ev, id, fresh)
				}
			case Doubt:
				if fresh || id != ev.Lease {
					t.Errorf("%v, but Fresh says %d, %v", ev, id, fresh)
				}
			case Lost:
				if fresh || id != 0 {
					t.Errorf("%v, but Fresh says %d, %v", ev, id, fresh)
				}
			}
		})
		calls = fake.calls
	})
	return events, calls, err
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestSessionRenewsEachThird(t *testing.T) {
	events, calls, err := play(t, newFakeLeases, 10*time.Second)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	wantLines(t, events, []string{"0s new 1"})
	wantLines(t, calls, []string{"0s grant 1", "3s renew 1", "6s renew 1", "9s renew 1"})
}

func TestSessionDoubtsAndRecovers(t *testing.T) {
	events, _, _ := play(t, func() *fakeLeases {
		f := newFakeLeases()
		f.renew = func(ctx context.Context, n int) error {
			if time.Since(f.began) < 20*time.Second {
				return silent(ctx)
			}
			return nil
		}
		return f
	}, 30*time.Second)
	// Granted at 0 for 9 s: doubted at 8 s. It is renewed by whatever attempt
	// is the first after 20 s.
	if len(events) != 3 || events[0] != "0s new 1" || events[1] != "8s doubt 1 since 0s" || !strings.HasSuffix(events[2], " alive 1") {
		t.Error(events)
	}
}

// The deadline counts from before the request, not from its answer.
func TestSessionCountsFromBeforeTheRequest(t *testing.T) {
	events, _, _ := play(t, func() *fakeLeases {
		f := newFakeLeases()
		f.renew = func(ctx context.Context, n int) error {
			if n == 1 {
				return retry.Sleep(ctx, 2*time.Second) // sent at 3 s, answered at 5 s
			}
			return silent(ctx)
		}
		return f
	}, 12*time.Second)
	wantLines(t, events, []string{"0s new 1", "11s doubt 1 since 3s"})
}

func TestSessionLostOnlyWhenEtcdSaysSo(t *testing.T) {
	events, calls, _ := play(t, func() *fakeLeases {
		f := newFakeLeases()
		f.renew = func(ctx context.Context, n int) error {
			if n == 2 {
				return rpctypes.ErrLeaseNotFound
			}
			return nil
		}
		f.revoke = func(n int) error { return rpctypes.ErrLeaseNotFound }
		return f
	}, 10*time.Second)
	wantLines(t, events, []string{"0s new 1", "6s lost 1", "6s new 2"})
	// What is given up is revoked before there is another.
	wantLines(t, calls, []string{"0s grant 1", "3s renew 1", "6s renew 1", "6s revoke 1", "6s grant 2", "9s renew 2"})
}

func TestSessionNeverLostWhileEtcdIsAway(t *testing.T) {
	events, _, err := play(t, func() *fakeLeases {
		f := newFakeLeases()
		f.renew = func(ctx context.Context, n int) error { return silent(ctx) }
		return f
	}, time.Hour)
	wantLines(t, events, []string{"0s new 1", "8s doubt 1 since 0s"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A lost lease must be revoked before the next, however long that takes.
func TestSessionInsistsOnRevoking(t *testing.T) {
	_, calls, _ := play(t, func() *fakeLeases {
		f := newFakeLeases()
		f.renew = func(ctx context.Context, n int) error {
			if n == 1 {
				return rpctypes.ErrLeaseNotFound
			}
			return nil
		}
		f.revoke = func(n int) error {
			if n < 3 {
				return rpctypes.ErrNoLeader
			}
			return nil
		}
		return f
	}, 5*time.Second)
	var order []string
	for _, c := range calls {
		order = append(order, c[strings.Index(c, " ")+1:])
	}
	wantLines(t, order, []string{"grant 1", "renew 1", "revoke 1", "revoke 1", "revoke 1", "grant 2"})
}

func TestSessionGrantRetriesAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeLeases()
		f.grant = func(n int) error {
			if n <= 20 {
				return rpctypes.ErrNoSpace
			}
			return nil
		}
		s := NewSession(f, Config{Where: "there"})
		ctx, cancel := context.WithCancel(t.Context())
		var delays []time.Duration
		err := s.Run(ctx, func(ev Event) {
			switch ev := ev.(type) {
			case Delayed:
				delays = append(delays, ev.Wait)
				if !errors.Is(ev.Err, messages.ErrNoSpace) || !strings.Contains(ev.Err.Error(), "there") {
					t.Error(ev.Err)
				}
			case Alive:
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || len(delays) != 20 {
			t.Fatal(err, delays)
		}
		if delays[0] > retry.Base || delays[19] < retry.Limit/2 || slices.Max(delays) > retry.Limit {
			t.Error(delays)
		}
	})
}

func TestSessionDenied(t *testing.T) {
	for _, f := range []func() *fakeLeases{
		func() *fakeLeases {
			f := newFakeLeases()
			f.grant = func(int) error { return rpctypes.ErrPermissionDenied }
			return f
		},
		func() *fakeLeases {
			f := newFakeLeases()
			f.renew = func(context.Context, int) error { return rpctypes.ErrPermissionDenied }
			return f
		},
	} {
		if _, _, err := play(t, f, time.Minute); !errors.Is(err, messages.ErrDenied) {
			t.Errorf("got %v", err)
		}
	}
}

func TestSessionConfig(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		ok  bool
	}{
		{Config{}, true},
		{Config{TTL: 2 * time.Second}, true},
		{Config{TTL: 1500 * time.Millisecond}, true}, // rounded up
		{Config{TTL: time.Second}, false},
		{Config{TTL: -time.Second}, false},
		{Config{TTL: 9 * time.Second, Margin: 6 * time.Second}, false},
		{Config{Margin: -1}, false},
	} {
		err := NewSession(newFakeLeases(), c.cfg).cfg.Validate()
		if (err == nil) != c.ok || err != nil && !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	if err := NewSession(newFakeLeases(), Config{TTL: 1}).Run(t.Context(), nil); err == nil {
		// 1 ns is rounded up to a second, which is too short.
		t.Error("ran")
	}
}

// The same session against a real etcd.
func TestSessionReal(t *testing.T) {
	c := connect(t, shared.Config())
	s := NewSession(running(t, c), Config{TTL: 6 * time.Second, Where: discovery.Where(c)})
	if err := s.Revoke(etcdtest.Context(t)); err != nil {
		t.Fatalf("Revoke without a lease: %v", err)
	}
	events := etcdtest.NewInbox[Event]()
	stop := etcdtest.Background(t, func(ctx context.Context) error { return s.Run(ctx, events.Put) })
	first := etcdtest.As[Alive](t, events)
	if !first.New || first.Lease == 0 {
		t.Fatalf("%+v", first)
	}
	key := etcdtest.Space(t) + "k"
	etcdtest.Put(t, c, key, "v", clientv3.WithLease(first.Lease))

	if _, err := c.Revoke(etcdtest.Context(t), first.Lease); err != nil {
		t.Fatal(err)
	}
	if lost := etcdtest.As[Lost](t, events); lost.Lease != first.Lease {
		t.Fatalf("%+v", lost)
	}
	second := etcdtest.As[Alive](t, events)
	if !second.New || second.Lease == first.Lease {
		t.Fatalf("%+v", second)
	}
	etcdtest.Put(t, c, key, "v", clientv3.WithLease(second.Lease))
	stop()
	if err := s.Revoke(etcdtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if etcdtest.Value(t, c, key) != "" {
		t.Error("the key outlived its lease")
	}
	if id, fresh := s.Fresh(); id != 0 || fresh {
		t.Error("fresh after Revoke")
	}
}

// A cut connection makes the session doubt, and nothing more.
func TestSessionDoubtsOverCutWire(t *testing.T) {
	w := etcdtest.NewWire(t, shared.Endpoint())
	c := connect(t, w.Config())
	s := NewSession(running(t, c), Config{TTL: 20 * time.Second, Margin: 13 * time.Second, Where: discovery.Where(c)})
	events := etcdtest.NewInbox[Event]()
	etcdtest.Background(t, func(ctx context.Context) error { return s.Run(ctx, events.Put) })
	lease := etcdtest.As[Alive](t, events).Lease
	w.Set(etcdtest.Cut)
	if d := etcdtest.As[Doubt](t, events); d.Lease != lease {
		t.Fatalf("%+v", d)
	}
	w.Set(etcdtest.Whole)
	if a := etcdtest.As[Alive](t, events); a.New || a.Lease != lease {
		t.Fatalf("%+v", a)
	}
}
