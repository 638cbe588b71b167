package topics_test

import (
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// After a cut, a process that reads many partitions looks for all their ends
// together, and misses nothing that was put meanwhile.
func TestCutFromManyPartitions(t *testing.T) {
	const partitions = 64
	proxy := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
	on := &tap{}
	cfg := harness.Etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainUnaryInterceptor(on.unary), grpc.WithChainStreamInterceptor(on.stream))
	ns := penstocktest.Space(t)
	puts, reads := harness.Runtime(t, ns), harness.Runtime(t, ns, penstock.EtcdConfig(cfg))
	topic := makeTopic(t, puts, "many", partitions)
	put := func() {
		t.Helper()
		for i := range partitions {
			if err := topic.PutAsync(harness.Context(t), harness.Numbered(i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := topic.Flush(harness.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	var looks, all atomic.Int64
	on.requests(func(r request) error {
		all.Add(1)
		if r.reads("/hint/") { // only the search for an end does
			looks.Add(1)
		}
		return r.send()
	})
	put()
	sub := subscribe(t, openTopic(t, reads, "many"), "g")
	polled(t, sub, partitions)
	proxy.Cut()
	put()
	looks.Store(0)
	all.Store(0)
	began := time.Now()
	proxy.Resume()
	polled(t, sub, partitions)
	t.Logf("%d looks for an end among %d requests, in %v", looks.Load(), all.Load(), time.Since(began))
	if n := looks.Load(); n > partitions/8 {
		t.Errorf("%d looks for the ends of %d partitions", n, partitions)
	}
	unsubscribe(t, sub)
}

// What is wrong with one of the partitions that are looked at together is no
// trouble of the others.
func TestCutAndOneOfManyIsDamaged(t *testing.T) {
	const partitions, damaged = 8, 3
	proxy := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
	cfg := harness.Etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	ns := penstocktest.Space(t)
	puts, reads := harness.Runtime(t, ns), harness.Runtime(t, ns, penstock.EtcdConfig(cfg))
	topic := makeTopic(t, puts, "many", partitions)
	put := func() {
		t.Helper()
		for i := range partitions {
			if _, _, err := topic.Put(harness.Context(t), harness.Numbered(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	sub := subscribe(t, openTopic(t, reads, "many"), "g")
	polled(t, sub, partitions)
	proxy.Cut()
	put()
	harness.OverwriteKey(t, harness.Client(t), keys.Space(ns).LogStart(topic.Info().ID, damaged), "no offset")
	proxy.Resume()
	for _, r := range polled(t, sub, partitions-1) {
		if r.Partition == damaged {
			t.Errorf("record %d of a damaged partition", r.Offset)
		}
	}
}
