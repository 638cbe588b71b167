package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

// countingEtcd has one key under every prefix, and counts what it is asked for.
type countingEtcd struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedWatchServer

	mu                      sync.Mutex
	requests, streams, open int
	cancelled               []int64
}

func (f *countingEtcd) count(n *int, by int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n += by
	return *n
}

func (f *countingEtcd) cancel(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled = append(f.cancelled, id)
}

func (f *countingEtcd) read(n *int) func() int { return func() int { return f.count(n, 0) } }

func (f *countingEtcd) found(r *etcdserverpb.RangeRequest) *etcdserverpb.RangeResponse {
	return &etcdserverpb.RangeResponse{
		Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 10}, Count: 1,
		Kvs: []*mvccpb.KeyValue{{Key: append(r.Key, "a"...), CreateRevision: 5, ModRevision: 5}},
	}
}

func (f *countingEtcd) Range(_ context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	f.count(&f.requests, 1)
	return f.found(r), nil
}

func (f *countingEtcd) Txn(_ context.Context, r *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	f.count(&f.requests, 1)
	resp := &etcdserverpb.TxnResponse{Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 10}, Succeeded: true}
	for _, op := range r.Success {
		resp.Responses = append(resp.Responses, &etcdserverpb.ResponseOp{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: f.found(op.GetRequestRange())}})
	}
	return resp, nil
}

// Watch confirms, and changes the key of each watch once.
func (f *countingEtcd) Watch(s etcdserverpb.Watch_WatchServer) error {
	f.count(&f.streams, 1)
	f.count(&f.open, 1)
	defer f.count(&f.open, -1)
	before, header := &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 10}, &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 11}
	for id := int64(0); ; {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		if c := req.GetCancelRequest(); c != nil {
			f.cancel(c.WatchId)
			err = s.Send(&etcdserverpb.WatchResponse{Header: header, WatchId: c.WatchId, Canceled: true})
		}
		if c := req.GetCreateRequest(); c != nil && len(c.RangeEnd) == 0 { // a question for a sign of life
			err = s.Send(&etcdserverpb.WatchResponse{Header: header, WatchId: id, Created: true})
			id++
		} else if c != nil {
			event := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: append(c.Key, "a"...), CreateRevision: 5, ModRevision: 11}}
			err = errors.Join(
				s.Send(&etcdserverpb.WatchResponse{Header: before, WatchId: id, Created: true}),
				s.Send(&etcdserverpb.WatchResponse{Header: header, WatchId: id, Events: []*mvccpb.Event{event}}),
			)
			id++
		}
		if err != nil {
			return err
		}
	}
}

func counting(t *testing.T) (*countingEtcd, *clientv3.Client) {
	t.Helper()
	fake := &countingEtcd{}
	return fake, connect(t, serve(t, func(s *grpc.Server) {
		etcdserverpb.RegisterKVServer(s, fake)
		etcdserverpb.RegisterWatchServer(s, fake)
	}))
}

// A thousand prefixes take one stream, and few requests; each hears of its own keys.
func TestWatchesShareAStream(t *testing.T) {
	const n = 1000
	fake, c := counting(t)
	w := NewWatches(c, WatchConfig{})
	inboxes := make([]*etcdtest.Inbox[WatchEvent], n)
	for i := range inboxes {
		inboxes[i] = etcdtest.NewInbox[WatchEvent]()
		w.Watch(fmt.Sprintf("/%d/", i), inboxes[i].Put)
	}
	etcdtest.Background(t, w.Run)
	etcdtest.Background(t, w.List)
	etcdtest.Background(t, w.List)
	for i, events := range inboxes {
		key := fmt.Sprintf("/%d/a", i)
		if s := etcdtest.As[Snapshot](t, events); len(s.KVs) != 1 || s.KVs[0].Key != key {
			t.Fatal(i, show(s))
		}
		if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != key {
			t.Fatal(i, show(d))
		}
	}
	if got := fake.read(&fake.streams)(); got != 1 {
		t.Errorf("%d streams", got)
	}
	if got := fake.read(&fake.requests)(); got > n/10 { // they come in while some are listed
		t.Errorf("%d requests listed %d prefixes", got, n)
	}
}

// What is stopped is stopped in etcd, too, and heard no more, whenever that is.
func TestWatchesStop(t *testing.T) {
	fake, c := counting(t)
	w := NewWatches(c, brisk)
	early := w.Watch("/early/", func(ev WatchEvent) { t.Errorf("stopped before it began: %s", show(ev)) })
	early()
	etcdtest.Background(t, w.Run)
	etcdtest.Background(t, w.List)
	for n := 1; n <= 2; n++ { // the second time it takes another stream
		a, b := etcdtest.NewInbox[WatchEvent](), etcdtest.NewInbox[WatchEvent]()
		stopA, stopB := w.Watch("/a/", a.Put), w.Watch("/b/", b.Put)
		etcdtest.As[Delta](t, a)
		etcdtest.As[Delta](t, b)
		stopA()
		stopA()
		etcdtest.Eventually(t, "the end of the first watch", func() bool {
			fake.mu.Lock()
			defer fake.mu.Unlock()
			return slices.Contains(fake.cancelled, 0)
		})
		fake.mu.Lock()
		fake.cancelled = nil
		fake.mu.Unlock()
		stopB()
		etcdtest.Eventually(t, "the end of the stream without watches", func() bool { return fake.read(&fake.open)() == 0 })
		if got := fake.read(&fake.streams)(); got != n {
			t.Fatalf("%d streams, want %d", got, n)
		}
	}
}

// A stream takes new watches for a limited time only, and ends when what it carries has
// been listed again.
func TestWatchesMoveToNewStreams(t *testing.T) {
	fake, c := counting(t)
	w := NewWatches(c, WatchConfig{Progress: 100 * time.Millisecond, Relist: 100 * time.Millisecond})
	w.laneTakes = 10 * time.Millisecond
	events := etcdtest.NewInbox[WatchEvent]()
	for i := range 10 {
		w.Watch(fmt.Sprintf("/%d/", i), events.Put)
	}
	etcdtest.Background(t, w.Run)
	etcdtest.Background(t, w.List)
	etcdtest.Eventually(t, "the fifth stream", func() bool { return fake.read(&fake.streams)() >= 5 })
	etcdtest.Eventually(t, "the end of old streams", func() bool { return fake.read(&fake.open)() <= 3 })
	for _, ev := range events.All() {
		if d, is := ev.(Delayed); is && errors.Is(d.Err, stream.ErrSilent) {
			continue // a busy machine does not answer in 300 ms; TestWatchQuietIsNotSilent is about that
		}
		if troubled(ev) {
			t.Errorf("a routine list is not trouble: %+v", ev)
		}
	}
}

// What still comes of a watch that is being replaced is not taken for the next one's, be
// it a change or an end.
func TestWatchesForgetTheWatchBefore(t *testing.T) {
	_, c := counting(t)
	w := NewWatches(c, WatchConfig{})
	r := &lanes{w: w, ctx: etcdtest.Context(t), heard: make(chan stream.Said), all: make(map[*stream.Shared]*lane)}
	defer r.close()
	events := etcdtest.NewInbox[WatchEvent]()
	w.Watch("/a/", events.Put)
	locked := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	}
	locked(func() { r.sync(time.Now()) })
	created, change := <-r.heard, <-r.heard
	locked(func() { r.hear(created) })
	batch := w.take()
	w.list(r.ctx, batch)
	etcdtest.As[Snapshot](t, events)
	x := batch[0].watched
	locked(func() {
		w.await(x, time.Time{}) // as when it is time to list again
		r.hear(change)
		if len(x.early) > 0 {
			t.Errorf("heard for the next watch: %+v", x.early)
		}
		r.hear(stream.Said{By: change.By, Resp: &etcdserverpb.WatchResponse{WatchId: change.Resp.WatchId, Header: change.Resp.Header, Canceled: true}})
	})
	if all := events.All(); slices.ContainsFunc(all, troubled[WatchEvent]) {
		t.Errorf("trouble is told: %+v", all)
	}
}

// Prefixes outlive a Run, as they do when the actor that runs it begins again.
func TestWatchesRunAgain(t *testing.T) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	w := NewWatches(c, brisk)
	events := etcdtest.NewInbox[WatchEvent]()
	w.Watch(p, events.Put)
	for i := range 3 {
		stopList, stopRun := etcdtest.Background(t, w.List), etcdtest.Background(t, w.Run)
		if i == 0 {
			etcdtest.As[Snapshot](t, events)
		} else {
			etcdtest.As[Delta](t, events) // of what was put while nobody ran
		}
		etcdtest.Put(t, c, p+"while", fmt.Sprint(i))
		etcdtest.As[Delta](t, events)
		stopRun()
		stopList()
		etcdtest.Put(t, c, p+"between", fmt.Sprint(i))
	}
}

// A prefix that may not be read ends alone.
func TestWatchesDenied(t *testing.T) {
	c := connect(t, etcdtest.Users(t, clientv3.PermissionType(clientv3.PermReadWrite), cheap))
	w := NewWatches(c, WatchConfig{})
	ours, theirs := etcdtest.NewInbox[WatchEvent](), etcdtest.NewInbox[WatchEvent]()
	for i := range 10 {
		w.Watch(fmt.Sprintf("/ours/%d/", i), ours.Put)
		w.Watch(fmt.Sprintf("/theirs/%d/", i), theirs.Put)
	}
	etcdtest.Background(t, w.Run)
	etcdtest.Background(t, w.List)
	for range 10 {
		etcdtest.As[Snapshot](t, ours)
		if r := etcdtest.As[Refused](t, theirs); !errors.Is(r.Err, messages.ErrDenied) {
			t.Fatal(r.Err)
		}
	}
	for i := range 10 {
		etcdtest.Put(t, c, fmt.Sprintf("/ours/%d/a", i), "1")
		etcdtest.As[Delta](t, ours)
	}
}
