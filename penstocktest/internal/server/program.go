package server

// An etcd in a process of its own.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// program is an etcd that runs as a process.
type program struct {
	cmd      *exec.Cmd
	stdin    io.Closer // our own servers end when it does, so none outlives its test
	endpoint string
	log      string        // the file of its output
	scratch  string        // the directory to remove in the end; empty: none
	ended    chan struct{} // closed when the process is gone
}

// startProgram starts path as an etcd of one member.
func startProgram(ctx context.Context, path, dir, endpoint string) (_ Server, err error) {
	p := &program{endpoint: endpoint, ended: make(chan struct{})}
	if endpoint == "" {
		if p.endpoint, err = freeEndpoint(); err != nil {
			return nil, err
		}
	}
	if dir == "" {
		if p.scratch, err = os.MkdirTemp("", "penstocktest-etcd-"); err != nil {
			return nil, err
		}
		dir = filepath.Join(p.scratch, "data")
	}
	p.log = dir + ".log"
	if err := p.run(path, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.scratch))
	}
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(p.cause(err), p.Close())
	}
	return p, nil
}

// freeEndpoint returns an address that nobody listens on at this moment.
func freeEndpoint() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// run begins the process.
func (p *program) run(path, dir string) error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close()
	// No other member ever calls it, so nobody has to know the peers' port.
	const peers = "http://127.0.0.1:0"
	clients := "http://" + p.endpoint
	p.cmd = exec.Command(path,
		"--name", "penstock", "--data-dir", dir,
		"--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "penstock="+peers,
		"--unsafe-no-fsync", "--bcrypt-cost", strconv.Itoa(bcryptCost))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its log says why it ended
	}()
	return nil
}

// errEnded is why a server that did not run long did not.
var errEnded = errors.New("etcd ended at its start")

// ready waits until the server replies to requests.
func (p *program) ready(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // another that has the port may not reply at all
		select {
		case <-p.ended:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		ok := healthy(ctx, client, "http://"+p.endpoint+"/health")
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func healthy(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// cause adds to err what the end of the log says.
func (p *program) cause(err error) error {
	text, rerr := os.ReadFile(p.log)
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	if strings.Contains(string(text), "address already in use") {
		return fmt.Errorf("%w: %w", messages.ErrAddrInUse, err)
	}
	const enough = 2000
	return fmt.Errorf("%w; its log ends with: %s", err, text[max(0, len(text)-enough):])
}

func (p *program) Endpoint() string { return p.endpoint }

func (p *program) Config() clientv3.Config {
	return clientv3.Config{Endpoints: []string{p.endpoint}, DialTimeout: 5 * time.Second}
}

// Close kills the process: a server that ends in order waits for its clients.
// Nothing that it has answered is lost by that, for the kernel has it.
func (p *program) Close() error {
	var errs []error
	if err := p.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		errs = append(errs, err)
	}
	<-p.ended
	_ = p.stdin.Close() // Wait has closed it
	if p.scratch != "" {
		errs = append(errs, os.RemoveAll(p.scratch))
	}
	return errors.Join(errs...)
}
