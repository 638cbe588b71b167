package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

// cheap makes passwords quick to check.
var cheap = embedded.Tune(func(c *embed.Config) { c.BcryptCost = 4 })

func followLog(t *testing.T, c *clientv3.Client, prefix string, cfg WatchConfig) *etcdtest.Inbox[FollowEvent] {
	t.Helper()
	events := etcdtest.NewInbox[FollowEvent]()
	f := NewFollow(c, prefix, cfg)
	etcdtest.Background(t, func(ctx context.Context) error { return f.Run(ctx, events.Put) })
	return events
}

func TestFollow(t *testing.T) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	etcdtest.Put(t, c, p+"old", "1")
	events := followLog(t, c, p, WatchConfig{})
	opened := etcdtest.As[Opened](t, events)
	if opened.Revision == 0 || opened.Cluster == 0 {
		t.Fatalf("%+v", opened)
	}
	etcdtest.Put(t, c, p[:len(p)-1]+"!", "not under the prefix")
	rev := etcdtest.Put(t, c, p+"a", "2")
	h := etcdtest.As[Heard](t, events)
	if len(h.Puts) != 1 || len(h.Deletes) != 0 || h.Puts[0].Key != p+"a" || string(h.Puts[0].Value) != "2" || h.Puts[0].ModRevision != rev {
		t.Fatalf("%+v", h)
	}
	if opened.Revision >= rev {
		t.Errorf("opened at %d, and the later revision %d was heard", opened.Revision, rev)
	}
	if _, err := c.Txn(etcdtest.Context(t)).Then(clientv3.OpDelete(p+"a"), clientv3.OpPut(p+"b", "3")).Commit(); err != nil {
		t.Fatal(err)
	}
	if h := etcdtest.As[Heard](t, events); len(h.Puts) != 1 || !slices.Equal(h.Deletes, []string{p + "a"}) {
		t.Fatalf("%+v", h)
	}
}

// What Heard says, applied as it says, is what etcd has; and all that is before
// Opened is left out.
func TestChangedKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		after := rapid.Int64Range(1, 5).Draw(t, "after")
		var events []*clientv3.Event
		want := map[string]string{}
		for i := range rapid.IntRange(0, 20).Draw(t, "events") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			ev := &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: strconv.AppendInt(nil, int64(i), 10), ModRevision: int64(i + 1)}}
			if rapid.Bool().Draw(t, "delete") {
				ev.Type = clientv3.EventTypeDelete
			}
			events = append(events, ev)
			switch {
			case ev.Kv.ModRevision <= after:
			case ev.Type == clientv3.EventTypeDelete:
				delete(want, key)
			default:
				want[key] = string(ev.Kv.Value)
			}
		}
		got := map[string]string{}
		for _, h := range changed(events, after) {
			if len(h.Puts)+len(h.Deletes) == 0 {
				t.Fatal("an empty event")
			}
			for _, key := range h.Deletes {
				delete(got, key)
			}
			for _, kv := range h.Puts {
				got[kv.Key] = string(kv.Value)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// copyOf is what a hearer of a log knows: what it heard, and what it looked up
// after each Opened.
type copyOf struct {
	client *clientv3.Client
	prefix string
	looks  chan struct{}

	mu    sync.Mutex
	keys  map[string]bool
	grown chan struct{}
}

func newCopy(t *testing.T, c *clientv3.Client, prefix string, cfg WatchConfig) (*copyOf, *etcdtest.Inbox[FollowEvent]) {
	t.Helper()
	k := &copyOf{client: c, prefix: prefix, looks: make(chan struct{}, 1), keys: map[string]bool{}, grown: make(chan struct{}, 1)}
	events := etcdtest.NewInbox[FollowEvent]()
	etcdtest.Background(t, func(ctx context.Context) error {
		return NewFollow(c, prefix, cfg).Run(ctx, func(e FollowEvent) {
			events.Put(e)
			k.hear(e)
		})
	})
	etcdtest.Background(t, func(ctx context.Context) error {
		for {
			select {
			case <-k.looks:
				k.look(ctx)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return k, events
}

func (k *copyOf) hear(e FollowEvent) {
	switch e := e.(type) {
	case Opened:
		select {
		case k.looks <- struct{}{}:
		default:
		}
	case Heard:
		k.add(e.Puts)
	}
}

// look reads once, and again only where etcd refused to answer.
func (k *copyOf) look(ctx context.Context) {
	for ctx.Err() == nil {
		kvs, _, err := List(ctx, k.client, k.prefix)
		if err == nil {
			k.add(kvs)
			return
		}
	}
}

func (k *copyOf) add(kvs []KV) {
	k.mu.Lock()
	for _, kv := range kvs {
		k.keys[kv.Key] = true
	}
	k.mu.Unlock()
	select {
	case k.grown <- struct{}{}:
	default:
	}
}

func (k *copyOf) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(etcdtest.Patience)
	for {
		k.mu.Lock()
		have := len(k.keys)
		k.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-k.grown:
		case <-deadline:
			t.Fatalf("%d of %d keys were heard or seen", have, n)
		}
	}
}

// Nothing is missed by who looks once after each Opened, whatever breaks
// meanwhile, and however soon etcd forgets.
func TestFollowMissesNothing(t *testing.T) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	w := etcdtest.NewWire(t, shared.Endpoint())
	k, events := newCopy(t, connect(t, w.Config()), p, brisk)
	etcdtest.As[Opened](t, events)
	n := 0
	write := func(count int) (rev int64) {
		for range count {
			rev = etcdtest.Put(t, c, fmt.Sprintf("%s%05d", p, n), "v")
			n++
		}
		return rev
	}
	for range 4 {
		write(50)
		w.Set(etcdtest.Cut)
		rev := write(50)
		// The history of the gap is gone: a watch that resumed would fail.
		if _, err := c.Compact(etcdtest.Context(t), rev); err != nil {
			t.Fatal(err)
		}
		etcdtest.As[Delayed](t, events)
		w.Set(etcdtest.Whole)
		write(50)
		etcdtest.As[Opened](t, events)
		k.await(t, n)
	}
}

// A connection that breaks and is back at once: etcd's client would resume the
// watch, from however long ago, and say nothing.
func TestFollowDoesNotResume(t *testing.T) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	w := etcdtest.NewWire(t, shared.Endpoint())
	events := followLog(t, connect(t, w.Config()), p, WatchConfig{Progress: time.Hour, Relist: time.Hour})
	etcdtest.As[Opened](t, events)
	w.Set(etcdtest.Cut)
	rev := etcdtest.Put(t, c, p+"0", "1")
	w.Set(etcdtest.Whole)
	etcdtest.As[Delayed](t, events)
	if opened := etcdtest.As[Opened](t, events); opened.Revision < rev {
		t.Fatalf("opened from %d on, which is before %d", opened.Revision, rev)
	}
	etcdtest.Put(t, c, p+"1", "1")
	if h := etcdtest.As[Heard](t, events); len(h.Puts) != 1 || h.Puts[0].Key != p+"1" {
		t.Fatalf("%+v", h)
	}
}

// Where somebody compacts to the newest revision all the time, a watch that is
// open stays open, and one that opens gets there.
func TestFollowUnderCompaction(t *testing.T) {
	srv, err := embedded.Start(etcdtest.Context(t), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	c, p := connect(t, srv.Config()), etcdtest.Space(t)
	stop := etcdtest.Background(t, func(ctx context.Context) error {
		for i := 0; ; i++ {
			resp, err := c.Put(ctx, "/elsewhere/"+strconv.Itoa(i%100), "v")
			if err == nil && i%10 == 0 {
				_, err = c.Compact(ctx, resp.Header.Revision)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
				return err
			}
		}
	})
	for range 5 {
		k, events := newCopy(t, c, p, WatchConfig{Progress: 500 * time.Millisecond, Relist: time.Second})
		etcdtest.As[Opened](t, events)
		for i := range 100 {
			etcdtest.Put(t, c, fmt.Sprintf("%s%05d", p, i), "v")
		}
		k.await(t, 100)
		for _, ev := range events.All() {
			if troubled(ev) {
				t.Errorf("%+v", ev)
			}
		}
	}
	stop()
}

func TestFollowOverARestart(t *testing.T) {
	ctx := etcdtest.Context(t)
	dir := t.TempDir()
	first, err := embedded.Start(ctx, dir, embedded.UnsafeNoFsync(), embedded.Listen(etcdtest.SteadyAddress(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	c, p := connect(t, first.Config()), etcdtest.Space(t)
	k, events := newCopy(t, c, p, brisk)
	before := etcdtest.As[Opened](t, events)
	etcdtest.Put(t, c, p+"a", "1")
	etcdtest.As[Heard](t, events)
	first.Close()
	etcdtest.As[Delayed](t, events)
	second, err := embedded.Start(ctx, dir, embedded.UnsafeNoFsync(), embedded.Listen(first.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	if after := etcdtest.As[Opened](t, events); after.Cluster != before.Cluster || after.Revision <= before.Revision {
		t.Errorf("%+v after %+v: the same etcd", after, before)
	}
	etcdtest.Put(t, c, p+"b", "1")
	k.await(t, 2)

	// And over a wipe, of which Opened tells.
	second.Close()
	etcdtest.As[Delayed](t, events)
	third, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Listen(first.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { third.Close() })
	if after := etcdtest.As[Opened](t, events); after.Cluster == before.Cluster {
		t.Errorf("%+v after %+v: another etcd", after, before)
	}
	etcdtest.Put(t, c, p+"c", "1")
	k.await(t, 3)
}

// On a quiet etcd a watch must not be taken for dead, whichever way it began.
func TestFollowQuietIsNotSilent(t *testing.T) {
	srv, err := embedded.Start(etcdtest.Context(t), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	c := connect(t, srv.Config())
	cfg := WatchConfig{Progress: 200 * time.Millisecond}
	for _, from := range []from{fromNow, fromKnown} {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			p := etcdtest.Space(t)
			events := etcdtest.NewInbox[FollowEvent]()
			ctx, cancel := context.WithTimeout(etcdtest.Context(t), 20*cfg.Progress)
			defer cancel()
			if state, err := NewFollow(c, p, cfg).round(ctx, from, events.Put); errors.Is(err, stream.ErrSilent) || state != stream.Healthy {
				t.Errorf("%v, health %v", err, state)
			}
		})
	}
}

// An etcd that reports no progress to a watch from now on, as before 3.7: after
// one silence the revision is asked for.
func TestFollowOfAnOldEtcd(t *testing.T) {
	fake := &fakeEtcd{}
	fake.watch = func(n int, s etcdserverpb.Watch_WatchServer) error {
		for n > 1 { // progress, from the second watch on
			if _, err := s.Recv(); err != nil {
				return err
			}
			if err := s.Send(&etcdserverpb.WatchResponse{WatchId: -1, Header: fake.header(1)}); err != nil {
				return err
			}
		}
		return nil
	}
	cfg := serve(t, func(s *grpc.Server) {
		etcdserverpb.RegisterKVServer(s, fake)
		etcdserverpb.RegisterWatchServer(s, fake)
	})
	events := followLog(t, connect(t, cfg), "/x/", WatchConfig{Progress: 50 * time.Millisecond, Relist: time.Hour})
	if opened := etcdtest.As[Opened](t, events); opened.Revision != 10 {
		t.Errorf("%+v, want what etcd was at when the watch was made", opened)
	}
	if d := etcdtest.As[Delayed](t, events); !errors.Is(d.Err, stream.ErrSilent) {
		t.Errorf("%v", d.Err)
	}
	if opened := etcdtest.As[Opened](t, events); opened.Revision != 11 {
		t.Errorf("%+v, want the revision that was asked for", opened)
	}
}

// A connection that stays open and carries nothing.
func TestFollowNoticesSilence(t *testing.T) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	w := etcdtest.NewWire(t, shared.Endpoint())
	events := followLog(t, connect(t, w.Config()), p, brisk)
	etcdtest.As[Opened](t, events)
	w.Set(etcdtest.Mute)
	events.Next(t, "silence", func(ev FollowEvent) bool {
		d, ok := ev.(Delayed)
		return ok && errors.Is(d.Err, stream.ErrSilent)
	})
	w.Set(etcdtest.Cut) // bytes were swallowed, so the old connections are of no use
	w.Set(etcdtest.Whole)
	etcdtest.As[Opened](t, events)
	etcdtest.Put(t, c, p+"a", "1")
	etcdtest.As[Heard](t, events)
}

// A watch that etcd does not confirm is opened again.
func TestFollowIsNotConfirmed(t *testing.T) {
	c, since := mutedEtcd(t, 1), time.Now()
	events := followLog(t, c, "/x/", impatient)
	if d := etcdtest.As[Delayed](t, events); !errors.Is(d.Err, stream.ErrSilent) {
		t.Errorf("%v, want ErrSilent", d.Err)
	}
	etcdtest.As[Opened](t, events)
	if took := time.Since(since); took > 20*time.Second { // see TestFirstWatchIsNotConfirmed
		t.Errorf("it was not opened for %v", took)
	}
}

// A watch has a limited life, and its end is no trouble.
func TestFollowOpensAnew(t *testing.T) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	k, events := newCopy(t, c, p, WatchConfig{Progress: 100 * time.Millisecond, Relist: 150 * time.Millisecond})
	for i := range 5 {
		etcdtest.As[Opened](t, events)
		etcdtest.Put(t, c, p+fmt.Sprint(i), "1")
	}
	k.await(t, 5)
	for _, ev := range events.All() {
		if troubled(ev) {
			t.Errorf("a routine end is not trouble: %+v", ev)
		}
	}
}

func TestFollowEndedByServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		watch func(s etcdserverpb.Watch_WatchServer) error
	}{
		{"cancelled", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{Canceled: true, CancelReason: "because"})
		}},
		{"compacted", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CompactRevision: 99})
		}},
		{"no leader", func(s etcdserverpb.Watch_WatchServer) error { return rpctypes.ErrGRPCNoLeader }},
		{"closed", func(s etcdserverpb.Watch_WatchServer) error { return rpctypes.ErrGRPCCorrupt }},
		{"other cluster", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{WatchId: -1, Header: &etcdserverpb.ResponseHeader{ClusterId: 2, Revision: 100}})
		}},
		{"rolled back", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{WatchId: -1, Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 3}})
		}},
		{"silent", func(s etcdserverpb.Watch_WatchServer) error { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := &fakeEtcd{}
			fake.watch = func(_ int, s etcdserverpb.Watch_WatchServer) error { return c.watch(s) }
			cfg := serve(t, func(s *grpc.Server) {
				etcdserverpb.RegisterKVServer(s, fake)
				etcdserverpb.RegisterWatchServer(s, fake)
			})
			events := followLog(t, connect(t, cfg), "/x/", WatchConfig{Progress: 50 * time.Millisecond, Relist: time.Hour})
			for range 2 {
				etcdtest.As[Opened](t, events)
				etcdtest.As[Delayed](t, events)
			}
		})
	}
}

func TestFollowEndsWhereItMayNotWatch(t *testing.T) {
	ctx := etcdtest.Context(t)
	c := connect(t, etcdtest.Users(t, clientv3.PermissionType(clientv3.PermRead), cheap))
	etcdtest.As[Opened](t, followLog(t, c, "/ours/log/", brisk))
	err := NewFollow(c, "/theirs/", brisk).Run(ctx, func(FollowEvent) {})
	if !errors.Is(err, messages.ErrDenied) || !strings.Contains(err.Error(), "/theirs/") {
		t.Errorf("%v, want ErrDenied and what was asked", err)
	}
}

func TestFollowConfigFaults(t *testing.T) {
	c := connect(t, shared.Config())
	for _, cfg := range []WatchConfig{{Progress: -1}, {Relist: time.Second}} {
		if err := NewFollow(c, "/x/", cfg).Run(etcdtest.Context(t), nil); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
