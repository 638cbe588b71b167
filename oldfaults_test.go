package penstock_test

// The known faults of the design that Penstock grew out of, each under its name.

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
)

// soon is how long something that must not block may take on a busy machine.
const soon = 5 * time.Second

func within(t *testing.T, d time.Duration, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		t.Fatalf("%s took longer than %s", what, d)
		return nil
	}
}

// Leave used to block while the group waited for its destination.
func TestLeaveReturnsAtOnceWithoutSender(t *testing.T) {
	rt := start(t)
	m, err := rt.Join(t.Context(), "nowhere", "group")
	if err != nil {
		t.Fatal(err)
	}
	if err := within(t, soon, "Leave", func() error { return m.Leave(t.Context()) }); err != nil {
		t.Fatal(err)
	}
}

func TestLeaveEndsALoopThatWaitsForASender(t *testing.T) {
	rt := start(t)
	m, err := rt.Join(t.Context(), "nowhere", "group")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for _, err := range m.Messages(context.Background()) {
			ended <- err
			return
		}
		ended <- nil
	}()
	if err := within(t, soon, "Leave", func() error { return m.Leave(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if err := within(t, soon, "the loop", func() error { return <-ended }); err != nil {
		t.Fatalf("Leave must end the loop silently, got %v", err)
	}
}

func TestCancelledLoopReturnsWithoutSender(t *testing.T) {
	rt := start(t)
	m, err := rt.Join(t.Context(), "nowhere", "group")
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		var last error
		n := 0
		for _, err := range m.Messages(ctx) {
			last = err
			n++
		}
		if n != 1 {
			last = errors.New("the error must come once, last")
		}
		ended <- last
	}()
	cancel(why)
	if err := within(t, soon, "the loop", func() error { return <-ended }); !errors.Is(err, why) {
		t.Fatalf("got %v, want the context's cause", err)
	}
}

func TestCancelledJoinReturns(t *testing.T) {
	rt := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rt.Join(ctx, "nowhere", "group"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

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

func TestStartFailsTypedWithoutEtcd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := within(t, soon+10*time.Second, "Start", func() error {
		_, err := penstock.Start(ctx, penstock.EtcdConfig(clientv3.Config{Endpoints: []string{deafEtcd(t)}}))
		return err
	})
	if !errors.Is(err, penstock.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
}
