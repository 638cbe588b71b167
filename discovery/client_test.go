package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/messages"
)

func TestDialFaultsComeAllAtOnce(t *testing.T) {
	_, err := Dial(clientv3.Config{Endpoints: []string{"", "a,b"}, Token: "t", Username: "u", DialTimeout: -1})
	if !errors.Is(err, messages.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"is empty", `"a,b"`, "token", "password", "DialTimeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := Dial(clientv3.Config{}); !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), "endpoint") {
		t.Error(err)
	}
}

// An endpoint that etcd's client can make nothing of is refused, and not taken
// for one that does not answer. What it can dial passes.
func TestEndpoints(t *testing.T) {
	for _, good := range []string{
		"127.0.0.1:2379", "localhost:2379", ":2379", "etcd-0.etcd_peers.example.:2379", "bücher.example:2379", "[::1]:2379",
		"etcd:https", "http://etcd:2379", "https://etcd:2379/", "HTTP://[::1]:2379", "http://u:p@etcd:2379/path?query", "http://:2379",
		"unix:///run/etcd.sock", "unix://etcd.sock", "unix:etcd.sock", "unixs:///run/etcd.sock:0", "unix://localhost:0",
	} {
		if err := CheckEndpoint(good); err != nil {
			t.Error(err)
		}
	}
	bad := []string{
		"[fe80::1%eth0]:2379", "nonsense::", "nonsense", "localhost", "localhost:", "127.0.0.1", "::1:2379", "[::1]", "[nonsense:]:2379", "/run/etcd.sock", "./etcd:2379",
		"host:port:2379", "etcd:0", "etcd:-1", "etcd:65536", "etcd:http:", "etcd:no-such-service", "etcd:2379/",
		"http://", "https://", "http://etcd", "http://:", "http://etcd:no", "http://etcd:99999", "http:etcd:2379", "//etcd:2379", "://", ":",
		"tcp://etcd:2379", "dns:///etcd:2379", "file:///run/etcd.sock", "unix://", "unix:", "unix:///", "unixs://",
	}
	for _, e := range bad {
		err := CheckEndpoint(e)
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(fmt.Sprint(err), strconv.Quote(e)) || !strings.Contains(err.Error(), "host:port") {
			t.Errorf("%q: %v", e, err)
		}
	}
	_, err := NewClient(clientv3.Config{Endpoints: append([]string{"127.0.0.1:2379"}, bad...)})
	for _, e := range bad {
		if !strings.Contains(fmt.Sprint(err), strconv.Quote(e)) {
			t.Errorf("a client may have %q as one of several: %v", e, err)
		}
	}
	for _, e := range []string{"https://user:hunter2@etcd", "user:hunter2@etcd:2379"} {
		if err := CheckEndpoint(e); !errors.Is(err, messages.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// A dialer of the caller's may know other addresses.
func TestEndpointOfOwnDialer(t *testing.T) {
	cfg := shared.Config()
	address := cfg.Endpoints[0]
	cfg.Endpoints = []string{"the-etcd-in-here"}
	cfg.DialOptions = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	})}
	etcdtest.Put(t, connect(t, cfg), etcdtest.Space(t)+"k", "v")
}

func TestDialAndClose(t *testing.T) {
	cs, err := Dial(shared.Config())
	if err != nil {
		t.Fatal(err)
	}
	key := etcdtest.Space(t) + "k"
	etcdtest.Put(t, cs.Control, key, "v")
	if etcdtest.Value(t, cs.Watch, key) != "v" {
		t.Error("not the same etcd")
	}
	if err := cs.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhereHidesPasswords(t *testing.T) {
	got := places([]string{"127.0.0.1:2379", "https://user:hunter2@etcd.example:2379", "user:hunter2@etcd"})
	if strings.Contains(got, "hunter2") || !strings.Contains(got, "127.0.0.1:2379") || !strings.Contains(got, "etcd.example:2379") {
		t.Error(got)
	}
}

// What clientv3 leaves of a refused connection is "context deadline exceeded".
func TestUnreachableSaysWhy(t *testing.T) {
	c := connect(t, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	ctx, cancel := context.WithTimeout(etcdtest.Context(t), time.Second)
	defer cancel()
	_, _, err := List(ctx, c, "/x/")
	if !errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for _, want := range []string{"list /x/", "127.0.0.1:1", "refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), `"`) {
		t.Errorf("quotes of gRPC's: %v", err)
	}
	ctx, cancel = context.WithTimeout(etcdtest.Context(t), time.Second)
	defer cancel()
	if _, err := c.KeepAliveOnce(ctx, 1); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a stream: %v", err)
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err   error
		class error // nil: none
	}{
		{context.Canceled, nil},
		{context.DeadlineExceeded, messages.ErrUnavailable},
		{rpctypes.ErrNoLeader, messages.ErrUnavailable},
		{rpctypes.ErrTimeout, messages.ErrUnavailable},
		{rpctypes.ErrStopped, messages.ErrUnavailable},
		{rpctypes.ErrTooManyRequests, messages.ErrUnavailable},
		{rpctypes.ErrInvalidAuthToken, messages.ErrUnavailable},
		{rpctypes.ErrAuthOldRevision, messages.ErrUnavailable},
		{status.Error(codes.Unavailable, "gone"), messages.ErrUnavailable},
		{status.Error(codes.Canceled, "the server's"), messages.ErrUnavailable},
		{status.Error(codes.DeadlineExceeded, "the server's"), messages.ErrUnavailable},
		{rpctypes.ErrPermissionDenied, messages.ErrDenied},
		{rpctypes.ErrAuthFailed, messages.ErrDenied},
		{rpctypes.ErrUserEmpty, messages.ErrDenied},
		{status.Error(codes.Unauthenticated, "who?"), messages.ErrDenied},
		{rpctypes.ErrNoSpace, messages.ErrNoSpace},
		{rpctypes.ErrTooManyOps, messages.ErrTooLarge},
		{rpctypes.ErrRequestTooLarge, messages.ErrTooLarge},
		{rpctypes.ErrCompacted, nil},
		{rpctypes.ErrLeaseNotFound, nil},
		{errors.New("other"), nil},
	} {
		got := Classify("do it", c.err)
		if !errors.Is(got, c.err) || !strings.HasPrefix(got.Error(), "do it: ") {
			t.Errorf("%v became %v", c.err, got)
		}
		for _, class := range []error{messages.ErrUnavailable, messages.ErrDenied, messages.ErrInvalid, messages.ErrNoSpace} {
			if errors.Is(got, class) != (class == c.class) {
				t.Errorf("%v: is it %v? %v", c.err, class, errors.Is(got, class))
			}
		}
		// Twice is no different from once.
		if again := Classify("outer", got); c.class != nil && !errors.Is(again, c.class) || strings.Count(again.Error(), fmt.Sprint(c.class)) > 1 {
			t.Errorf("twice: %v", again)
		}
	}
	if Classify("do it", nil) != nil {
		t.Error("an error out of nothing")
	}
}

// flakyKV answers the first writes with a status that etcd's own client takes
// for a reason to send them again.
type flakyKV struct {
	etcdserverpb.UnimplementedKVServer
	puts atomic.Int32
}

func (f *flakyKV) Put(context.Context, *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	if f.puts.Add(1) < 3 {
		return nil, status.Error(codes.Canceled, "and yet it was applied")
	}
	return &etcdserverpb.PutResponse{Header: &etcdserverpb.ResponseHeader{}}, nil
}

func TestNoHiddenRetries(t *testing.T) {
	fake := &flakyKV{}
	cfg := serve(t, func(s *grpc.Server) { etcdserverpb.RegisterKVServer(s, fake) })
	if _, err := connect(t, cfg).Put(etcdtest.Context(t), "k", "v"); err == nil || fake.puts.Load() != 1 {
		t.Fatalf("sent %d times, %v", fake.puts.Load(), err)
	}

	// The trap itself: when this fails, etcd's client has got better.
	fake.puts.Store(0)
	cfg.Logger = zap.NewNop()
	stock, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stock.Close()
	if _, err := stock.Put(etcdtest.Context(t), "k", "v"); err != nil || fake.puts.Load() != 3 {
		t.Errorf("the stock client sent %d times, %v", fake.puts.Load(), err)
	}
}
