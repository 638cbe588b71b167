package runtimes_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// deafEtcd accepts connections and never answers: the first write must fail.
func deafEtcd(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range held {
					c.Close()
				}
				return
			}
			held = append(held, c)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Promise: a Start that gets no answer returns ErrUnavailable when its context ends.
func TestStartFailsTypedWithoutEtcd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := harness.Within(t, harness.Soon+10*time.Second, "Start", func() error {
		_, err := penstock.Start(ctx, penstock.EtcdConfig(clientv3.Config{Endpoints: []string{deafEtcd(t)}}))
		return err
	})
	if !errors.Is(err, penstock.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
}

// Promise: Start says why it got no answer, however little time it had.
func TestStartSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  clientv3.Config
		says string
	}{
		"refused":          {clientv3.Config{Endpoints: []string{"127.0.0.1:1"}}, "connection refused"},
		"refused, a user":  {clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Username: "u", Password: "hunter2"}, "connection refused"},
		"no such host":     {clientv3.Config{Endpoints: []string{"nosuch.invalid:2379"}}, "no such host"},
		"TLS to plain":     {clientv3.Config{Endpoints: []string{"https://" + harness.Etcd.Endpoint()}}, "TLS"},
		"a password in it": {clientv3.Config{Endpoints: []string{"http://user:hunter2@127.0.0.1:1"}}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := penstock.Start(ctx, penstock.EtcdConfig(c.cfg))
			if !errors.Is(err, penstock.ErrUnavailable) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it says %v, want %q", err, c.says)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("Start obeyed its context after %v", took)
			}
		})
	}
}

// lines collects what is logged, and rings at each line where there is a bell.
type lines struct {
	mu   sync.Mutex
	all  []string
	bell chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	select {
	case l.bell <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *lines) with(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// Promise: a Start that waits for etcd logs why after a second, once, and then its end.
func TestStartLogsWhyOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	log := &lines{bell: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = penstock.Start(ctx, penstock.Etcd(address), penstock.LeaseTTL(2*time.Second), penstock.Logger(slog.New(slog.NewTextHandler(log, nil))))
	}()
	for log.with("connection refused") == 0 && ctx.Err() == nil {
		select {
		case <-log.bell:
		case <-ctx.Done():
		}
	}
	if took := time.Since(began); took < time.Second/2 || took > 4*time.Second {
		t.Errorf("logged after %v", took)
	}
	<-done
	if waiting, end := log.with("msg=session_suspended"), log.with("msg=runtime_stopped"); waiting != 1 || end != 1 || len(log.all) != 2 {
		t.Errorf("logged %d times, and the end %d times: %q", waiting, end, log.all)
	}
}
