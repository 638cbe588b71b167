package lease

import (
	"context"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
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
// and returns how root connects to it.
func withUsers(t *testing.T, ttl uint) clientv3.Config {
	t.Helper()
	ctx := etcdtest.Context(t)
	srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Tune(func(c *embed.Config) {
		c.BcryptCost, c.AuthTokenTTL = 4, ttl // hashing passwords is slow on purpose
	}))
	etcdtest.Must(t, err)
	t.Cleanup(func() { srv.Close() })
	cfg := srv.Config()
	c := connect(t, cfg)
	_, err = c.UserAdd(ctx, "root", "r")
	etcdtest.Must(t, err)
	_, err = c.UserGrantRole(ctx, "root", "root")
	etcdtest.Must(t, err)
	_, err = c.AuthEnable(ctx)
	etcdtest.Must(t, err)
	cfg.Username, cfg.Password = "root", "r"
	return cfg
}

// running makes a client's leases, and runs them until the test ends.
func running(t *testing.T, c *clientv3.Client) *Leases {
	t.Helper()
	l := NewLeases(c)
	etcdtest.Background(t, l.Run)
	return l
}

// Renewals of a lease and watches that are opened one after the other cost one
// login, and the renewals one stream.
func TestStreamsDoNotLogIn(t *testing.T) {
	t.Parallel()
	cfg := withUsers(t, 300)
	asked := count(&cfg)
	c, ctx := connect(t, cfg), etcdtest.Context(t)
	lease, err := c.Grant(ctx, 60)
	etcdtest.Must(t, err)
	leases := running(t, c)
	for range 20 {
		if got, err := leases.KeepAliveOnce(ctx, lease.ID); err != nil || got.TTL != 60 || got.ID != lease.ID {
			t.Fatal(got, err)
		}
	}
	for range 5 {
		events := etcdtest.NewInbox[discovery.WatchEvent]()
		stop := etcdtest.Background(t, func(ctx context.Context) error {
			return discovery.NewWatch(c, "/k", discovery.WatchConfig{}).Run(ctx, events.Put)
		})
		etcdtest.As[discovery.Snapshot](t, events)
		etcdtest.Put(t, c, "/k", "v")
		etcdtest.As[discovery.Delta](t, events)
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
	c, ctx := connect(t, cfg), etcdtest.Context(t)
	lease, err := c.Grant(ctx, 60)
	etcdtest.Must(t, err)
	leases := running(t, c)
	renew := func() error { _, err := leases.KeepAliveOnce(ctx, lease.ID); return err }
	watch := func() error {
		events := etcdtest.NewInbox[discovery.WatchEvent]()
		stop := etcdtest.Background(t, func(ctx context.Context) error {
			return discovery.NewWatch(c, "/k", discovery.WatchConfig{}).Run(ctx, events.Put)
		})
		etcdtest.As[discovery.Snapshot](t, events)
		etcdtest.Put(t, c, "/k", "v")
		etcdtest.As[discovery.Delta](t, events)
		stop()
		return nil
	}
	follow := func() error {
		events := etcdtest.NewInbox[discovery.FollowEvent]()
		stop := etcdtest.Background(t, func(ctx context.Context) error {
			return discovery.NewFollow(c, "/k", discovery.WatchConfig{}).Run(ctx, events.Put)
		})
		etcdtest.As[discovery.Opened](t, events)
		stop()
		return nil
	}
	etcdtest.Must(t, renew())
	logins := asked.times(authenticate)
	for _, first := range []func() error{renew, watch, follow} {
		// etcd looks for old logins once a second.
		time.Sleep(2500 * time.Millisecond)
		etcdtest.Must(t, first())
		etcdtest.Must(t, renew())
		etcdtest.Must(t, watch())
		if n := asked.times(authenticate); n != logins+1 {
			t.Errorf("%d logins, want %d", n, logins+1)
		}
		logins = asked.times(authenticate)
	}
	_, err = c.UserChangePassword(ctx, "root", "r") // the same: it ends all logins
	etcdtest.Must(t, err)
	etcdtest.Must(t, renew())
	etcdtest.Must(t, watch())
	if n := asked.times(authenticate); n != logins+1 {
		t.Errorf("%d logins after a change of the users, want %d", n, logins+1)
	}
}

// An answer that came too late is not taken for that of the next request: its
// stream is gone. And a stream that fell silent costs one renewal.
func TestRenewalOverASilentWire(t *testing.T) {
	t.Parallel()
	w := etcdtest.NewWire(t, shared.Endpoint())
	cfg := w.Config()
	asked := count(&cfg)
	c, ctx := connect(t, cfg), etcdtest.Context(t)
	id := etcdtest.Grant(t, c)
	leases := running(t, c)
	if _, err := leases.KeepAliveOnce(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.Set(etcdtest.Mute)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := leases.KeepAliveOnce(short, id); err == nil {
		t.Fatal("renewed over a wire that carries nothing")
	}
	w.Set(etcdtest.Cut)
	w.Set(etcdtest.Whole)
	etcdtest.Eventually(t, "the lease is renewed over a new connection", func() bool {
		_, err := leases.KeepAliveOnce(ctx, id)
		return err == nil
	})
	if n := asked.times(keepAlive); n < 2 {
		t.Errorf("%d streams: the silent one was used again", n)
	}
}
