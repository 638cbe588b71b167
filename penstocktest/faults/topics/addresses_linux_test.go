package topics_test

// Consumers whose machine gets another address.

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a consumer whose machine has got another address is watched there: when it is
// killed then, nobody waits for its lease.
func TestMovedConsumersAreNotWaitedFor(t *testing.T) {
	if !harness.OwnNetwork(t) {
		return
	}
	const ttl, soon = 60 * time.Second, 20 * time.Second // a lease that is renewed lasts for forty at least
	harness.IP(t, "link add eth0 type veth peer name far0", "link set far0 up", "link set eth0 up",
		"addr add 10.9.0.2/24 dev eth0", "route add default via 10.9.0.1")
	p := newParty(t, 4)
	oldest, heir, youngest := p.spawn(t, roleConsumer, "oldest", ttl), p.spawn(t, roleConsumer, "heir", ttl), p.spawn(t, roleConsumer, "youngest", ttl)
	p.awaitOwners(t, 3)

	c := harness.Client(t)
	members := keys.Space(p.ns).ConsumerMembers(p.topic.Info().ID, theGroup)
	listed := func(at string) {
		t.Helper()
		harness.Eventually(t, "all members are listed at "+at, func() bool {
			got, err := c.Get(harness.Context(t), members, clientv3.WithPrefix())
			return err == nil && !slices.ContainsFunc(got.Kvs, func(kv *mvccpb.KeyValue) bool { return !bytes.Contains(kv.Value, []byte(at)) })
		})
	}
	listed("10.9.0.2:")
	harness.IP(t, "addr del 10.9.0.2/24 dev eth0", "addr add 10.9.0.3/24 dev eth0", "route add default via 10.9.0.1")
	listed("10.9.0.3:")
	awaitWatches(t)
	for left, killed := range []*child{youngest, oldest} {
		began := time.Now()
		killed.kill(t)
		p.awaitOwners(t, 2-left)
		if took := time.Since(began); took > soon {
			t.Errorf("the partitions of %s moved after %s", killed.name, took)
		}
	}
	heir.stop(t)
	p.audit()
}

// awaitWatches waits until the three consumers watch each other at 10.9.0.3, the oldest the
// others and these the oldest: nobody can say of a process that it has ended, who has not
// met it. A connection is seen where it was dialled from, as listeners have sockets of IPv6;
// its handshake is not seen, and one that was there for a while has had time for it.
func awaitWatches(t *testing.T) {
	t.Helper()
	const watches, at, established = 4, "0300090A:", "01"
	since := time.Now()
	harness.Eventually(t, "the consumers watch each other at the new address", func() bool {
		table, err := os.ReadFile("/proc/thread-self/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 3 && strings.HasPrefix(f[2], at) && f[3] == established {
				n++
			}
		}
		if n < watches {
			since = time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
}
