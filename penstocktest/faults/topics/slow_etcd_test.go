//go:build unix

package topics_test

// An etcd that answers, slowly: a disk whose syncs take a third of a second.
// Promise: nothing is lost, nothing comes twice, nobody loses its lease or its
// partitions, and the group is assigned again for those who come and leave alone.

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// slowly lets a process run for a tenth of the time, until stop.
func slowly(t *testing.T, proc *os.Process) (stop func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		signal := func(s os.Signal) {
			if err := proc.Signal(s); err != nil {
				t.Error(err)
			}
		}
		defer signal(syscall.SIGCONT)
		for {
			for _, phase := range []struct {
				begins os.Signal
				lasts  time.Duration
			}{{syscall.SIGSTOP, 270 * time.Millisecond}, {syscall.SIGCONT, 30 * time.Millisecond}} {
				signal(phase.begins)
				select {
				case <-ended:
					return
				case <-time.After(phase.lasts):
				}
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		close(ended)
		<-stopped
	})
	t.Cleanup(stop)
	return stop
}

func TestSlowEtcd(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "penstock-slow-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	client, peer := harness.Loopback(penstocktest.FreePort(t)), harness.Loopback(penstocktest.FreePort(t))
	etcd := spawn(t, childSpec{Role: roleEtcd, Name: "m0", Dir: dir, Client: client, Peer: peer, Cluster: "m0=http://" + peer}, newAccount())
	etcd.says(t, "ready")

	ns, acct, at := penstocktest.Space(t), newAccount(), penstock.EtcdConfig(clientv3.Config{Endpoints: []string{client}, DialTimeout: 5 * time.Second})
	producer := harness.Runtime(t, ns, at)
	topic := makeTopic(t, producer, theTopic, 4)
	var subs []*penstock.Subscription
	var told []*penstocktest.Recording
	for i := range 2 {
		rt := harness.Runtime(t, ns, at)
		told = append(told, penstocktest.Record(t, rt))
		s := subscribe(t, openTopic(t, rt, theTopic), theGroup, penstock.CommitEvery(100*time.Millisecond))
		acct.consume(t, fmt.Sprint("consumer ", i), s)
		subs = append(subs, s)
	}
	load := acct.load(t, topic, 0)
	acct.flows(t, "consumer 0", 100)
	acct.flows(t, "consumer 1", 100)
	before := groupOf(t, producer, theTopic, theGroup).Generation

	stop := slowly(t, etcd.cmd.Process)
	began := time.Now()
	for time.Since(began) < 5*time.Second {
		acct.flows(t, "consumer 0", 50)
		acct.flows(t, "consumer 1", 50)
	}
	if now := groupOf(t, producer, theTopic, theGroup).Generation; now != before {
		t.Errorf("generation %d, was %d, and nobody came or left", now, before)
	}
	guest := subscribe(t, openTopic(t, producer, theTopic), theGroup)
	acct.consume(t, "guest", guest)
	acct.flows(t, "guest", 50)
	unsubscribe(t, guest)
	acct.flows(t, "consumer 0", 50)
	acct.flows(t, "consumer 1", 50)
	t.Log("slow for ", time.Since(began))
	stop()
	load.stop(t)
	acct.settle(t, producer, theTopic)
	if now := groupOf(t, producer, theTopic, theGroup).Generation; now != before+2 {
		t.Errorf("generation %d, was %d, and one came and left", now, before)
	}
	for _, s := range subs {
		unsubscribe(t, s)
	}
	caughtUp(t, producer, theTopic, theGroup)
	for _, r := range told {
		for _, e := range r.Events() {
			switch e.(type) {
			case messages.SessionSuspended, messages.SessionLost, messages.PartitionLost, messages.ClaimRevoked:
				t.Errorf("%T %v", e, e)
			}
		}
	}
}
