package harness

// Runtimes, and their calls that must succeed.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

// Runtime starts a runtime on the package's etcd, in a namespace that others may
// share. It is stopped with t and may be left with messages then.
func Runtime(t *testing.T, space string, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	rt, err := penstock.Start(ctx, append([]penstock.StartOption{
		penstock.EtcdConfig(Etcd.Config()), penstock.Prefix(space), penstock.Listen("tcp://127.0.0.1:0"),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := rt.Stop(ctx); err != nil {
			t.Log("stop:", err)
		}
	})
	return rt
}

// OrderlyRuntime starts a runtime on the package's etcd, in a namespace of its
// own. It is stopped with t, which fails when it does not drain.
func OrderlyRuntime(t *testing.T, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	opts = append([]penstock.StartOption{
		penstock.EtcdConfig(Etcd.Config()), penstock.Prefix(penstocktest.Space(t)), penstock.Listen("tcp://127.0.0.1:0"),
	}, opts...)
	rt, err := penstock.Start(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := rt.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return rt
}

// Register registers a sender of a destination, in rt.
func Register(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.RegisterOption) *penstock.Destination {
	t.Helper()
	d, err := rt.Register(Context(t), name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Join joins a group of dest, in rt.
func Join(t *testing.T, rt *penstock.Runtime, dest, group string, opts ...penstock.JoinOption) *penstock.Member {
	t.Helper()
	m, err := rt.Join(Context(t), dest, group, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Loopback is the address of a port of the loopback.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
