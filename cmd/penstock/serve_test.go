package main

// An etcd of our own, and none at all.

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := begin(t, nil, nil, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "-v")
	p.says("ready to serve client requests")
	_, errs := perform(t, cli.ExitFailed, "", "serve", "--dir", dir, "--listen", "127.0.0.1:0")
	if !strings.Contains(errs, "in use") {
		t.Errorf("a second one on the same directory says %q", errs)
	}
	_, errs = perform(t, cli.ExitFailed, "", "serve", "--dir", "", "--listen", endpoint)
	if !strings.Contains(errs, endpoint) || !strings.Contains(errs, "--listen") {
		t.Errorf("a second one on the same address says %q", errs)
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if out, _ := p.ends(cli.ExitDone); !strings.HasPrefix(out, "ready http://127.0.0.1:") {
		t.Errorf("printed %q", out)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %s to stop", took)
	}
	if _, errs := perform(t, cli.ExitUsage, "", "serve", "--listen", "nonsense"); !strings.Contains(errs, "nonsense") {
		t.Errorf("says %q", errs)
	}
}

func TestNoEtcd(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"ls"}, {"recv", "orders", "billing"}, {"send", "orders"}} {
		args = append(args, "--etcd", "127.0.0.1:1,127.0.0.1:2", "--etcd-timeout", "500ms")
		_, errs := perform(t, cli.ExitUnreachable, "", args...)
		for _, part := range []string{"no etcd answers at 127.0.0.1:1,127.0.0.1:2", `"penstock serve"`} {
			if !strings.Contains(errs, part) {
				t.Errorf("%s: %q lacks %q", args[0], errs, part)
			}
		}
	}
	// Also where time ran out before the patience with etcd did.
	perform(t, cli.ExitUnreachable, "", "send", "orders", "--etcd", "127.0.0.1:1", "--timeout", "500ms")
}
