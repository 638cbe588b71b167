package discovery

import (
	"context"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// asked counts what a client really asks etcd for: its interceptors come last.
type asked struct {
	mu sync.Mutex
	n  map[string]int
}

const (
	authenticate = "/etcdserverpb.Auth/Authenticate"
	keepAlive    = "/etcdserverpb.Lease/LeaseKeepAlive"
	watching     = "/etcdserverpb.Watch/Watch"
)

func (a *asked) note(method string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n[method]++
}

func (a *asked) times(method string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[method]
}

// count makes cfg's clients count. The options replace none of NewClient's.
func count(cfg *clientv3.Config) *asked {
	a := &asked{n: map[string]int{}}
	cfg.DialOptions = []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			a.note(method)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			a.note(method)
			return open(ctx, desc, cc, method, opts...)
		}),
	}
	return a
}

// withUsers starts an etcd that forgets a login after ttl seconds without use,
// and answers how root connects to it.
func withUsers(t *testing.T, ttl uint) clientv3.Config {
	t.Helper()
	ctx := testContext(t)
	srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Tune(func(c *embed.Config) {
		c.BcryptCost, c.AuthTokenTTL = 4, ttl // hashing passwords is slow on purpose
	}))
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	cfg := srv.Config()
	c := connect(t, cfg)
	_, err = c.UserAdd(ctx, "root", "r")
	must(t, err)
	_, err = c.UserGrantRole(ctx, "root", "root")
	must(t, err)
	_, err = c.AuthEnable(ctx)
	must(t, err)
	cfg.Username, cfg.Password = "root", "r"
	return cfg
}

// running makes a client's leases, and runs them until the test ends.
func running(t *testing.T, c *clientv3.Client) *Leases {
	t.Helper()
	l := NewLeases(c)
	background(t, l.Run)
	return l
}

// Renewals of a lease and watches that are opened one after the other cost one
// login, and the renewals one stream.
func TestStreamsDoNotLogIn(t *testing.T) {
	t.Parallel()
	cfg := withUsers(t, 300)
	asked := count(&cfg)
	c, ctx := connect(t, cfg), testContext(t)
	lease, err := c.Grant(ctx, 60)
	must(t, err)
	leases := running(t, c)
	for range 20 {
		if got, err := leases.KeepAliveOnce(ctx, lease.ID); err != nil || got.TTL != 60 || got.ID != lease.ID {
			t.Fatal(got, err)
		}
	}
	for range 5 {
		events := newInbox[WatchEvent]()
		stop := background(t, func(ctx context.Context) error { return NewWatch(c, "/k", WatchConfig{}).Run(ctx, events.put) })
		as[Snapshot](t, events)
		put(t, c, "/k", "v")
		as[Delta](t, events)
		stop()
	}
	if n := asked.times(authenticate); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	if n := asked.times(keepAlive); n != 1 {
		t.Errorf("%d streams for renewals, want 1", n)
	}
	if n := asked.times(watching); n < 5 {
		t.Errorf("%d streams for watches: the test shows nothing", n)
	}
}

// A login that etcd forgot, or that a change of the users ended, is renewed
// once, whoever is the first to need it.
func TestLoginIsRenewedOnceWhenItIsRefused(t *testing.T) {
	t.Parallel()
	cfg := withUsers(t, 1)
	asked := count(&cfg)
	c, ctx := connect(t, cfg), testContext(t)
	lease, err := c.Grant(ctx, 60)
	must(t, err)
	leases := running(t, c)
	renew := func() error { _, err := leases.KeepAliveOnce(ctx, lease.ID); return err }
	watch := func() error {
		events := newInbox[WatchEvent]()
		stop := background(t, func(ctx context.Context) error { return NewWatch(c, "/k", WatchConfig{}).Run(ctx, events.put) })
		as[Snapshot](t, events)
		put(t, c, "/k", "v")
		as[Delta](t, events)
		stop()
		return nil
	}
	follow := func() error {
		events := newInbox[FollowEvent]()
		stop := background(t, func(ctx context.Context) error { return NewFollow(c, "/k", WatchConfig{}).Run(ctx, events.put) })
		as[Opened](t, events)
		stop()
		return nil
	}
	must(t, renew())
	logins := asked.times(authenticate)
	for _, first := range []func() error{renew, watch, follow} {
		// etcd looks for old logins once a second.
		time.Sleep(2500 * time.Millisecond)
		must(t, first())
		must(t, renew())
		must(t, watch())
		if n := asked.times(authenticate); n != logins+1 {
			t.Errorf("%d logins, want %d", n, logins+1)
		}
		logins = asked.times(authenticate)
	}
	_, err = c.UserChangePassword(ctx, "root", "r") // the same: it ends all logins
	must(t, err)
	must(t, renew())
	must(t, watch())
	if n := asked.times(authenticate); n != logins+1 {
		t.Errorf("%d logins after a change of the users, want %d", n, logins+1)
	}
}

// An answer that came too late is not taken for that of the next request: its
// stream is gone. And a stream that fell silent costs one renewal.
func TestRenewalOverASilentWire(t *testing.T) {
	t.Parallel()
	w := newWire(t, shared.Endpoint())
	cfg := w.config()
	asked := count(&cfg)
	c, ctx := connect(t, cfg), testContext(t)
	id := grant(t, c)
	leases := running(t, c)
	if _, err := leases.KeepAliveOnce(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.set(mute)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := leases.KeepAliveOnce(short, id); err == nil {
		t.Fatal("renewed over a wire that carries nothing")
	}
	w.set(cut)
	w.set(whole)
	eventually(t, "the lease is renewed over a new connection", func() bool {
		_, err := leases.KeepAliveOnce(ctx, id)
		return err == nil
	})
	if n := asked.times(keepAlive); n < 2 {
		t.Errorf("%d streams: the silent one was used again", n)
	}
}
