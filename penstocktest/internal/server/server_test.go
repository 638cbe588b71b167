package server

// What both kinds of server do alike, and what is wrong with a program.

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// versionEnv is the version that the program of Env should have.
const versionEnv = "PENSTOCKTEST_ETCD_VERSION"

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, dir, endpoint string) (Server, *clientv3.Client) {
	t.Helper()
	srv, err := Start(within(t), dir, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return srv, client
}

func TestServerKeepsWhatItWasGiven(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	srv, client := start(t, dir, "")
	if _, err := client.Put(within(t), "/kept", "here"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	again, client := start(t, dir, srv.Endpoint())
	defer again.Close()
	got, err := client.Get(within(t), "/kept")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "here" {
		t.Fatalf("after the restart: %v, %v", got, err)
	}
	if again.Endpoint() != srv.Endpoint() {
		t.Errorf("it is on %s, want %s", again.Endpoint(), srv.Endpoint())
	}
}

func TestServerHasTheVersionAskedFor(t *testing.T) {
	want := os.Getenv(versionEnv)
	if want == "" {
		t.Skipf("%s does not say which version %s is", versionEnv, Env)
	}
	srv, client := start(t, "", "")
	defer srv.Close()
	status, err := client.Status(within(t), srv.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if status.Version != strings.TrimPrefix(want, "v") {
		t.Errorf("the server is etcd %s, want %s", status.Version, want)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if srv, err := Start(within(t), "", l.Addr().String()); !errors.Is(err, messages.ErrAddrInUse) {
		t.Errorf("%v, %v; want ErrAddrInUse", srv, err)
	}
}

func TestProgramThatIsNone(t *testing.T) {
	t.Setenv(Env, filepath.Join(t.TempDir(), "missing"))
	if srv, err := Start(within(t), "", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, %v; want one that says that the program does not exist", srv, err)
	}
}

func TestProgramThatEndsSaysWhy(t *testing.T) {
	self, err := os.Executable() // it has other flags than etcd, and lists them
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(Env, self)
	if srv, err := Start(within(t), "", ""); err == nil || !strings.Contains(err.Error(), "-test.v") {
		t.Errorf("%v, %v; want what the program printed", srv, err)
	}
}
