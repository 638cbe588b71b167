package commitlog

// One etcd for the package, a prefix for each test.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

var shared *embedded.Server

func TestMain(m *testing.M) {
	srv, err := embedded.Start(context.Background(), "", embedded.UnsafeNoFsync())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = srv
	code := m.Run()
	if err := srv.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var spaces atomic.Int64

// startEtcd is a log on a prefix that no other test uses, with a client of its
// own. Faults can be put between the two.
func startEtcd(t testing.TB) (*Log, *faults) {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return logAt(t, keys.Space(fmt.Sprintf("/%s-%d", name[:min(len(name), 100)], spaces.Add(1))))
}

// logAt is another client of the same log.
func logAt(t testing.TB, space keys.Space) (*Log, *faults) {
	t.Helper()
	f := &faults{}
	cfg := shared.Config()
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithUnaryInterceptor(f.intercept), grpc.WithStreamInterceptor(f.stream))
	client, err := discovery.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return New(Config{Client: client, Space: space, Classify: discovery.Classify}), f
}

// faults are what happens to transactions that write. It is safe for concurrent
// use.
type faults struct {
	mu   sync.Mutex
	plan []fault
	// stalled are the requests that were given up and are still on their way.
	stalled []func() error
	// look, when set, is called before each transaction that only reads.
	look func()
	// writes counts the transactions that were sent.
	writes int

	// requests, watches that began and events that came, of any kind.
	requests, watches, events atomic.Int64
	// watching holds a watchFault.
	watching atomic.Int32
}

// watchFault is what happens to watches.
type watchFault int32

const (
	refuseWatches watchFault = 1 + iota // none is made
	deafenWatches                       // they tell of no event
)

type fault struct {
	kind   faultKind
	err    error  // what is returned instead; Unavailable when nil
	before func() // called before anything else
	after  func() // called when one that lingers was applied
}

type faultKind uint8

const (
	pass   faultKind = iota
	drop             // never sent
	lose             // applied, and the answer is lost
	stall            // given up, and still on its way: see arrive
	hang             // never sent, and no answer comes until it is given up
	linger           // applied, and the same
)

// next plans what happens to the next transactions, in order.
func (f *faults) next(plan ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = plan
}

// used fails the test unless all that was planned has happened, so that one that
// missed its fault does not pass.
func (f *faults) used(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.plan) > 0 {
		t.Errorf("%d planned faults did not happen", len(f.plan))
	}
}

// arrive brings the i-th request that stalled to etcd. It may come again.
func (f *faults) arrive(t interface{ Error(...any) }, i int) {
	f.mu.Lock()
	late := f.stalled[i]
	f.mu.Unlock()
	if err := late(); err != nil {
		t.Error(err)
	}
}

// late is how many requests have stalled.
func (f *faults) late() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.stalled)
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

func (f *faults) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	f.requests.Add(1)
	r, ok := req.(*etcdserverpb.TxnRequest)
	if !ok || readOnly(r) {
		if ok && f.look != nil {
			f.look()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	f.mu.Lock()
	f.writes++
	var now fault
	if len(f.plan) > 0 {
		now, f.plan = f.plan[0], f.plan[1:]
	}
	f.mu.Unlock()
	if now.before != nil {
		now.before()
	}
	if now.err == nil {
		now.err = status.Error(codes.Unavailable, "lost by the test")
	}
	switch now.kind {
	case drop:
		return now.err
	case hang:
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	case stall:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.stalled = append(f.stalled, func() error {
			return invoke(context.Background(), method, r, &etcdserverpb.TxnResponse{}, cc, opts...)
		})
		return now.err
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if now.kind == linger && err == nil {
		now.after()
		<-ctx.Done()
		err = status.FromContextError(ctx.Err()).Err()
	}
	if now.kind == lose && err == nil {
		err = now.err
	}
	return err
}

func (f *faults) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if watchFault(f.watching.Load()) == refuseWatches {
		return nil, status.Error(codes.Unavailable, "refused by the test")
	}
	s, err := open(ctx, desc, cc, method, opts...)
	return watchStream{s, f}, err
}

// watchStream counts what goes over it.
type watchStream struct {
	grpc.ClientStream
	f *faults
}

func (s watchStream) SendMsg(m any) error {
	if r, ok := m.(*etcdserverpb.WatchRequest); ok && r.GetCreateRequest() != nil {
		s.f.watches.Add(1)
	}
	return s.ClientStream.SendMsg(m)
}

func (s watchStream) RecvMsg(m any) error {
	for {
		err := s.ClientStream.RecvMsg(m)
		r, ok := m.(*etcdserverpb.WatchResponse)
		if err != nil || !ok || len(r.Events) == 0 {
			return err
		}
		s.f.events.Add(int64(len(r.Events)))
		if watchFault(s.f.watching.Load()) != deafenWatches {
			return nil
		}
	}
}

func readOnly(r *etcdserverpb.TxnRequest) bool {
	for _, ops := range [][]*etcdserverpb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if op.GetRequestRange() == nil {
				return false
			}
		}
	}
	return true
}

// create makes a topic for a test.
func create(t testing.TB, l *Log, name string, partitions int) messages.TopicInfo {
	t.Helper()
	info, err := l.CreateTopic(testContext(t), name, messages.TopicConfig{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// under returns the keys of a log that contain a text.
func under(t testing.TB, l *Log, part string) []string {
	t.Helper()
	kvs, _, err := l.list(testContext(t), "test", string(l.space)+"/", 0, clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, kv := range kvs {
		if strings.Contains(string(kv.Key), part) {
			found = append(found, string(kv.Key))
		}
	}
	return found
}

func put(t testing.TB, l *Log, key, value string, opts ...clientv3.OpOption) int64 {
	t.Helper()
	resp, err := l.client.Put(testContext(t), key, value, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func value(t testing.TB, l *Log, key string) string {
	t.Helper()
	resp, err := l.client.Get(testContext(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func remove(t testing.TB, l *Log, key string) {
	t.Helper()
	if _, err := l.client.Delete(testContext(t), key); err != nil {
		t.Fatal(err)
	}
}

// records encodes values as a run of records.
func records(values ...string) []byte {
	var raw []byte
	for _, v := range values {
		raw = messages.AppendRecord(raw, &messages.Message{Value: []byte(v)})
	}
	return raw
}

// noise is a run of n records of random bytes.
func noise(n, size int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	value := make([]byte, size)
	var raw []byte
	for range n {
		r.Read(value)
		raw = messages.AppendRecord(raw, &messages.Message{Value: value})
	}
	return raw
}

var choices = []messages.Compression{messages.CompressS2, messages.CompressZstd, messages.CompressNone}
