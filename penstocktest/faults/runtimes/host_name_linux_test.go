package runtimes_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a host whose name is not UTF-8 can register, join and subscribe like
// any other.
func TestHostNameThatIsNoText(t *testing.T) {
	t.Parallel()
	ctx, ns := harness.Context(t), penstocktest.Space(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	type begun struct {
		rt   *penstock.Runtime
		skip bool
		err  error
	}
	done := make(chan begun, 1)
	go func() {
		// A thread with a host name of its own, which ends with this goroutine.
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_NEWUTS); err != nil {
			done <- begun{skip: true, err: err}
			return
		}
		if err := syscall.Sethostname([]byte("caf\xe9")); err != nil {
			done <- begun{skip: true, err: err}
			return
		}
		rt, err := penstock.Start(ctx, penstock.EtcdConfig(harness.Etcd.Config()), penstock.Prefix(ns))
		done <- begun{rt: rt, err: err}
	}()
	b := <-done
	if b.skip {
		t.Skip("no host name of its own: ", b.err)
	}
	must(b.err)
	defer func() { must(b.rt.Stop(ctx)) }()
	_, err := b.rt.Register(ctx, "orders")
	must(err)
	_, err = b.rt.Join(ctx, "orders", "billing")
	must(err)
	topic, err := b.rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1})
	must(err)
	_, err = topic.Subscribe(ctx, "billing")
	must(err)
	who, err := b.rt.DescribeConsumerGroup(ctx, "audit", "billing")
	must(err)
	if got := fmt.Sprintf("%q", who.Members[0].Host); got != `"caf�"` {
		t.Errorf("the host is %s", got)
	}
}
