package topics_test

// A partition whose log is damaged is out; the others continue.

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a new group comes in beside a partition of which nobody can tell where
// it begins or ends, is told of it, and gets it when it is mended.
func TestNewGroupBesideADamagedPartition(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	writer, reader := harness.Runtime(t, ns), harness.Runtime(t, ns)
	topic := makeTopic(t, writer, theTopic, 3)
	for p := range 3 {
		for id := range 5 {
			if _, err := topic.PutTo(harness.Context(t), p, harness.Numbered(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := harness.Client(t)
	resp, err := c.Get(harness.Context(t), keys.Space(ns).Index(topic.Info().ID, 1), clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1))
	if err != nil {
		t.Fatal(err)
	}
	last := resp.Kvs[0]
	harness.OverwriteKey(t, c, string(last.Key), "\xff")

	events := penstocktest.Record(t, reader)
	sub := subscribe(t, openTopic(t, reader, theTopic), theGroup)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.BatchCorrupt) bool { return e.Partition == 1 })
	came := make(chan penstock.Record)
	reading, stop := context.WithCancel(t.Context())
	go func() {
		defer close(came)
		for r, err := range sub.Records(reading) {
			if err != nil {
				return
			}
			came <- r
		}
	}()
	for range 10 {
		if r := harness.Await(t, "a record of the others", came); r.Partition == 1 {
			t.Errorf("offset %d of the damaged one", r.Offset)
		}
	}
	harness.OverwriteKey(t, c, string(last.Key), string(last.Value))
	for range 5 {
		if r := harness.Await(t, "a record of the one that was mended", came); r.Partition != 1 {
			t.Errorf("partition %d, offset %d once more", r.Partition, r.Offset)
		}
	}
	stop()
	for range came {
		t.Error("a record too many")
	}
	unsubscribe(t, sub)
}
