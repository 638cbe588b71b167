package penstock_test

import (
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
)

// After a cut, a process that reads many partitions looks for all their ends
// together, and misses nothing that was put meanwhile.
func TestTopicFaultCutFromManyPartitions(t *testing.T) {
	const partitions = 64
	proxy := penstocktest.NewProxy(t, etcd.Endpoint())
	on := &tap{}
	cfg := etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainUnaryInterceptor(on.unary), grpc.WithChainStreamInterceptor(on.stream))
	ns := space(t)
	puts, reads := meet(t, ns), meet(t, ns, penstock.EtcdConfig(cfg))
	topic := makeTopic(t, puts, "many", partitions)
	put := func() {
		t.Helper()
		for i := range partitions {
			if err := topic.PutAsync(patient(t), numbered(i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := topic.Flush(patient(t)); err != nil {
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
func TestTopicFaultCutAndOneOfManyIsDamaged(t *testing.T) {
	const partitions, damaged = 8, 3
	proxy := penstocktest.NewProxy(t, etcd.Endpoint())
	cfg := etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	ns := space(t)
	puts, reads := meet(t, ns), meet(t, ns, penstock.EtcdConfig(cfg))
	topic := makeTopic(t, puts, "many", partitions)
	put := func() {
		t.Helper()
		for i := range partitions {
			if _, _, err := topic.Put(patient(t), numbered(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	sub := subscribe(t, openTopic(t, reads, "many"), "g")
	polled(t, sub, partitions)
	proxy.Cut()
	put()
	overwrite(t, control(t), keys.Space(ns).LogStart(topic.Info().ID, damaged), "no offset")
	proxy.Resume()
	for _, r := range polled(t, sub, partitions-1) {
		if r.Partition == damaged {
			t.Errorf("record %d of a damaged partition", r.Offset)
		}
	}
}
