// Package docs_test runs what the documentation shows: commands, snippets of
// Go, links and tables of names.
package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// patience bounds each wait for something that must happen.
const patience = time.Minute

// root is the module's directory, as seen from here.
const root = ".."

var (
	etcd *embedded.Server // for what runs
	bin  string           // a directory for what is built
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	fatal := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if bin, err = os.MkdirTemp("", "penstock-docs-"); err != nil {
		return fatal(err)
	}
	defer os.RemoveAll(bin)
	if etcd, err = embedded.Start(context.Background(), "", embedded.UnsafeNoFsync()); err != nil {
		return fatal(err)
	}
	code := m.Run()
	if err := etcd.Close(); err != nil {
		return fatal(err)
	}
	err = goleak.Find()
	if code == 0 && err != nil {
		return fatal(err)
	}
	return code
}

// binary builds the command once and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(bin, "penstock")
	return path, command(root, nil, "go", "build", "-o", path, "./cmd/penstock")
})

// command runs a program in a directory. An error has what it printed.
func command(dir string, env []string, name string, args ...string) error {
	_, err := output(dir, env, name, args...)
	return err
}

// output runs a program in a directory and returns what it printed on standard
// output. An error has what it printed on standard error, too.
func output(dir string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), &out, &errs
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w\n%s%s", name, args, err, out.String(), errs.String())
	}
	return out.String(), nil
}

// quick leaves a test out of `make check`: it builds and runs programs.
func quick(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and runs programs")
	}
}
