package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/penstock-io/penstock/messages"
)

func TestMain(m *testing.M) {
	// TestDamagedFiles makes etcd panic half way through its start, which
	// leaves these two running for good.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/wal.(*filePipeline).run"),
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).run"),
	)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, s *Server) *clientv3.Client {
	t.Helper()
	cfg := s.Config()
	cfg.Logger = zap.NewNop()
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func start(t *testing.T, dir string, opts ...Option) *Server {
	t.Helper()
	s, err := Start(testContext(t), dir, append([]Option{UnsafeNoFsync()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// steadyAddress can be given up and taken again: it is not among the ports that
// the system hands out by itself, to a client that dials meanwhile.
func steadyAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

func TestTemporaryDirectoryGoesWithClose(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := start(t, "")
	c := dial(t, s)
	if _, err := c.Put(testContext(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if left := entries(t, os.TempDir()); len(left) != 1 {
		t.Fatalf("while running: %v", left)
	}
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// c is still connected: etcd alone would wait seven seconds for it.
	if took := time.Since(began); took >= 7*time.Second {
		t.Errorf("Close took %v", took)
	}
	if left := entries(t, os.TempDir()); len(left) != 0 {
		t.Fatalf("after Close: %v", left)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	for range s.Err() { // closed
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestRestartKeepsData(t *testing.T) {
	ctx, dir := testContext(t), filepath.Join(t.TempDir(), "deep", "data")
	s := start(t, dir, Listen(steadyAddress(t)))
	put, err := dial(t, s).Put(ctx, "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, Listen(s.Endpoint()))
	if again.Endpoint() != s.Endpoint() {
		t.Fatalf("came back at %s, was at %s", again.Endpoint(), s.Endpoint())
	}
	got, err := dial(t, again).Get(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" || got.Header.ClusterId != put.Header.ClusterId {
		t.Fatalf("got %v", got)
	}
	again.Close()

	// A wiped server at the same address is another cluster, and says so.
	wiped := start(t, t.TempDir(), Listen(s.Endpoint()))
	got, err = dial(t, wiped).Get(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 0 || got.Header.ClusterId == put.Header.ClusterId {
		t.Fatalf("a new directory has the old cluster's data or id: %v", got)
	}
}

func TestLockedDirectory(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	began := time.Now()
	_, err := Start(testContext(t), dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestDamagedFiles(t *testing.T) {
	for _, c := range []struct{ name, glob string }{
		{"database", "member/snap/db"},
		{"wal", "member/wal/*.wal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			start(t, dir).Close()
			files, err := filepath.Glob(filepath.Join(dir, c.glob))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.WriteFile(f, bytes.Repeat([]byte{0xa5}, 64<<10), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Start(testContext(t), dir)
			if err == nil {
				s.Close()
				t.Fatal("started on damaged files")
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("does not say where: %v", err)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, opt := range []Option{Listen(l.Addr().String()), Peer(l.Addr().String())} {
		_, err = Start(testContext(t), t.TempDir(), opt)
		if !errors.Is(err, messages.ErrAddrInUse) || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(testContext(t), file); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v", err)
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("TMPDIR", t.TempDir())
	if _, err := Start(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if left := entries(t, os.TempDir()); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestOptionFaultsComeAllAtOnce(t *testing.T) {
	_, err := Start(t.Context(), t.TempDir(), Listen("nowhere"), Peer("1.2.3.4:99999"), Quota(5), History(time.Second), ZapLogger(nil), Tune(nil))
	if !errors.Is(err, messages.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"Listen", "Peer", "Quota", "History", "ZapLogger", "Tune"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in: %v", want, err)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ in, out, advertised string }{
		{"127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80"},
		{"localhost:0", "127.0.0.1:0", "127.0.0.1:0"},
		{"0.0.0.0:5", "0.0.0.0:5", "127.0.0.1:5"},
		{"[::]:5", "[::]:5", "[::1]:5"},
		{"[::1]:5", "[::1]:5", "[::1]:5"},
		{":5", "", ""}, {"127.0.0.1", "", ""}, {"example.org:5", "", ""}, {"127.0.0.1:x", "", ""}, {"127.0.0.1:-1", "", ""}, {"", "", ""},
	} {
		a, err := parseAddress(c.in)
		if c.out == "" {
			if err == nil {
				t.Errorf("%q gave %v", c.in, a)
			}
			continue
		}
		if err != nil || a.String() != c.out || a.advertised().String() != c.advertised {
			t.Errorf("%q gave %v, %v, %v", c.in, a, a.advertised(), err)
		}
	}
}

// A full store refuses leases too, so that discovery dies with it; deletes
// still work.
func TestFullStoreRefusesLeases(t *testing.T) {
	ctx := testContext(t)
	c := dial(t, start(t, "", Quota(2<<20)))
	body := strings.Repeat("x", 256<<10)
	var err error
	for err == nil { // etcd knows its size only after it has written, so a fast one takes more than its quota
		_, err = c.Put(ctx, "big", body)
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("never full: %v", err)
	}
	if _, err := c.Grant(ctx, 10); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("a lease from a full store: %v", err)
	}
	if _, err := c.Delete(ctx, "big"); err != nil {
		t.Fatalf("a delete in a full store: %v", err)
	}
}

func TestPeerListens(t *testing.T) {
	s := start(t, "", Peer("127.0.0.1:0"))
	list, err := dial(t, s).MemberList(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	u := list.Members[0].PeerURLs[0]
	conn, err := net.Dial("tcp", strings.TrimPrefix(u, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestTune(t *testing.T) {
	s := start(t, "", Tune(func(c *embed.Config) { c.MaxTxnOps = 1 }))
	_, err := dial(t, s).Txn(testContext(t)).Then(clientv3.OpPut("a", ""), clientv3.OpPut("b", "")).Commit()
	if !errors.Is(err, rpctypes.ErrTooManyOps) {
		t.Errorf("got %v", err)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	s := start(t, "", Logger(slog.New(slog.NewTextHandler(&out, nil))))
	s.Close()
	if !strings.Contains(out.String(), `msg="starting an etcd server"`) || !strings.Contains(out.String(), "etcd-version=") {
		t.Errorf("no line about the start in %d bytes of log", out.Len())
	}
}
