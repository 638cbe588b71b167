package penstocktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest/internal/server"
)

// An etcd that can fail the way etcds fail.

// patience is how long a step of these helpers may take on a busy machine.
const patience = 30 * time.Second

// Server is an etcd in the process of the test, or a process of its own, on one
// port for as long as the test runs. Get one from Etcd.
type Server struct {
	t        testing.TB
	dir      string
	endpoint string
	running  server.Server // nil while stopped
}

// Etcd starts an etcd for t, on a port of the loopback, in a directory that is
// removed with the test. It takes some tenths of a second. Where the environment
// has PENSTOCKTEST_ETCD, the path of an etcd program, it runs that one, so that
// tests meet the version that production has; otherwise the one that Penstock
// embeds.
func Etcd(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "penstocktest-etcd-")
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	s := &Server{t: t, dir: dir}
	t.Cleanup(func() {
		s.Stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error("penstocktest: ", err)
		}
	})
	for s.endpoint == "" {
		endpoint := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		switch err := s.start(endpoint); {
		case err == nil:
			s.endpoint = endpoint
		case !errors.Is(err, messages.ErrAddrInUse):
			t.Fatal("penstocktest: ", err)
		}
	}
	return s
}

// start runs the server on what its directory holds.
func (s *Server) start(endpoint string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	running, err := server.Start(ctx, s.data(), endpoint)
	if err != nil {
		return err
	}
	s.running = running
	return nil
}

// Endpoint is the server's address, host:port: for penstock.Etcd, a command
// line or a Proxy. It stays the same.
func (s *Server) Endpoint() string { return s.endpoint }

// Config is a client's configuration, for penstock.EtcdConfig: a fresh copy,
// the caller's to change.
func (s *Server) Config() clientv3.Config {
	return clientv3.Config{Endpoints: []string{s.endpoint}, DialTimeout: 5 * time.Second}
}

// Client makes a client of the server, closed with t. It retries nothing.
func (s *Server) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := s.client()
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error("penstocktest: close client: ", err)
		}
	})
	return c
}

func (s *Server) client() (*clientv3.Client, error) {
	cfg := s.Config()
	cfg.MaxUnaryRetries = 1
	return clientv3.New(cfg)
}

// Stop stops the server and cuts its clients off, until Restart or Wipe. What
// was written stays. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.t.Helper()
	if s.running == nil {
		return
	}
	running := s.running
	s.running = nil
	if err := running.Close(); err != nil {
		s.t.Error("penstocktest: ", err)
	}
}

// Restart starts the server again, on the same port and with what it held,
// stopping it first where it runs. Leases begin their time again, as they do
// when etcd changes its leader.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(s.endpoint); err != nil {
		s.t.Fatal("penstocktest: restart: ", err)
	}
}

// Wipe starts the server again, on the same port and with nothing: another
// cluster, whose revisions begin at 1.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.data()); err != nil {
		s.t.Fatal("penstocktest: wipe: ", err)
	}
	if err := s.start(s.endpoint); err != nil {
		s.t.Fatal("penstocktest: wipe: ", err)
	}
}

// BackUp keeps what the server holds, for Restore, in place of an earlier
// backup. It stops the server for that and starts it again.
func (s *Server) BackUp() {
	s.t.Helper()
	s.Stop()
	if err := errors.Join(os.RemoveAll(s.backup()), os.CopyFS(s.backup(), os.DirFS(s.data()))); err != nil {
		s.t.Fatal("penstocktest: back up: ", err)
	}
	if err := s.start(s.endpoint); err != nil {
		s.t.Fatal("penstocktest: back up: ", err)
	}
}

// Restore starts the server again, on the same port and with what it held at
// the last BackUp: its revisions go back, and what was written since is gone.
func (s *Server) Restore() {
	s.t.Helper()
	if _, err := os.Stat(s.backup()); err != nil {
		s.t.Fatal("penstocktest: restore: no BackUp was made: ", err)
	}
	s.Stop()
	if err := errors.Join(os.RemoveAll(s.data()), os.CopyFS(s.data(), os.DirFS(s.backup()))); err != nil {
		s.t.Fatal("penstocktest: restore: ", err)
	}
	if err := s.start(s.endpoint); err != nil {
		s.t.Fatal("penstocktest: restore: ", err)
	}
}

func (s *Server) data() string   { return filepath.Join(s.dir, "data") }
func (s *Server) backup() string { return filepath.Join(s.dir, "backup") }

// Compact makes etcd forget the past: everything before its present revision.
// Watchers that are behind have to list again.
func (s *Server) Compact() {
	s.t.Helper()
	err := s.with(func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, "/", clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		_, err = c.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
		return err
	})
	if err != nil {
		s.t.Fatal("penstocktest: compact: ", err)
	}
}

// with calls do with a client for that call.
func (s *Server) with(do func(context.Context, *clientv3.Client) error) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(do(ctx, c), c.Close())
}
