package main

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/discovery"
)

// A full disk ends serve with code 1, and it says so and what to do.
func TestServeOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m"); err != nil {
		t.Skip("no file system of our own: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// In a process of its own: what is left of etcd is left to its end.
	p := begin(t, nil, w, "serve", "--dir", filepath.Join(dir, "etcd"), "--listen", "127.0.0.1:0")
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := discovery.NewClient(clientv3.Config{Endpoints: []string{strings.TrimPrefix(strings.TrimSpace(line), "ready http://")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := ballast.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, _ = c.Put(ctx, "k", strings.Repeat("x", 256<<10))
		cancel()
		select {
		case <-p.exited:
			p.mu.Lock()
			defer p.mu.Unlock()
			said := strings.Join(p.stderr, "\n")
			if code := p.cmd.ProcessState.ExitCode(); code != int(cli.ExitFailed) {
				t.Errorf("code %d: %s", code, said)
			}
			for _, part := range []string{"no space left on device", "make room"} {
				if !strings.Contains(said, part) {
					t.Errorf("%q is missing: %s", part, said)
				}
			}
			return
		default:
		}
	}
}
