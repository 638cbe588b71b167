package benchmarks

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// etcd runs in a process of its own, so that its memory and processor time are
// not taken for ours.

// serveEtcd in the environment makes this binary that process.
const serveEtcd = "PENSTOCK_BENCHMARKS_SERVE_ETCD"

var etcd clientv3.Config

func TestMain(m *testing.M) {
	if os.Getenv(serveEtcd) != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(appendTo) != "" {
		if err := appendAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

// serve runs etcd until standard input ends, which it does when the parent
// dies, however it dies.
func serve() error {
	srv, err := embedded.Start(context.Background(), "", embedded.UnsafeNoFsync())
	if err != nil {
		return err
	}
	fmt.Println(srv.Endpoint())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return srv.Close()
}

func run(m *testing.M) int {
	stop, err := startEtcd()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	err = stop()
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// startEtcd fills etcd and answers what ends the process.
func startEtcd() (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveEtcd+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		in.Close()
		return cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("etcd did not start: %w, %v", err, stop())
	}
	etcd.Endpoints = []string{strings.TrimSpace(line)}
	return stop, nil
}
