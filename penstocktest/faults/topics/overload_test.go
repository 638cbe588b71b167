package topics_test

// Processes that put ten times what an etcd with a quota may take.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// longRun is how long a test may last that has a long form, which PENSTOCK_LONG asks for.
func longRun(t *testing.T) (time.Duration, bool) {
	t.Helper()
	text := os.Getenv("PENSTOCK_LONG")
	if text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("PENSTOCK_LONG: ", err)
	}
	return d, true
}

const roleOverloader = "overloader"

// overload puts records of 60 KiB as fast as they are taken, eight at a time. It goes on
// after a refusal, which must have its type, once a tenth of a second is over.
func (s childSpec) overload(ctx context.Context, topic *penstock.Topic) error {
	tell("ready")
	told := orders()
	if order, ok := <-told; !ok || order != "put" {
		return fmt.Errorf("told %q", order)
	}
	putting, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 8)
	var next atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			m := harness.Numbered(0)
			m.Key = make([]byte, 60<<10)
			for putting.Err() == nil {
				id := s.First + int(next.Add(1))
				_, _ = rand.Read(m.Key)
				m.Value = harness.Numbered(id).Value
				p, offset, err := topic.Put(putting, m)
				var quota *penstock.QuotaError
				switch {
				case err == nil:
					tell("accepted", id, p, offset)
				case errors.Is(err, penstock.ErrUnknownOutcome) || putting.Err() != nil:
					tell("doubt", id)
				case errors.As(err, &quota) && errors.Is(err, penstock.ErrNoSpace):
					tell("refused", id)
					select {
					case <-time.After(100 * time.Millisecond):
					case <-putting.Done():
					}
				default:
					failed <- fmt.Errorf("put %d: %w, want a QuotaError", id, err)
					return
				}
			}
		})
	}
	var err error
	select {
	case <-told:
	case err = <-failed:
	}
	stop()
	all.Wait()
	return err
}

// Promise: however much several processes put into an etcd with a quota, its alarm does not
// go off. What is refused is a QuotaError, what was accepted is there, and pipes register,
// join and deliver meanwhile. PENSTOCK_LONG is how long that goes on, with a quota of 256
// MiB.
func TestProcessesOverloadAnEtcdWithAQuota(t *testing.T) {
	t.Parallel()
	quota, lasts, processes := int64(24<<20), 2*time.Second, 3
	long, isLong := longRun(t)
	if isLong {
		quota, lasts, processes = 256<<20, long, 4
	}
	srv, err := embedded.Start(harness.Context(t), "", embedded.UnsafeNoFsync(), embedded.Quota(quota))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	client, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ctx := harness.Context(t)
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(srv.Config()))
	if _, err := rt.CreateTopic(ctx, theTopic, penstock.TopicConfig{Partitions: 4, Compression: penstock.CompressNone}); err != nil {
		t.Fatal(err)
	}
	acct := newAccount()
	var children []*child
	for i := range processes {
		c := spawn(t, childSpec{
			Role: roleOverloader, Name: fmt.Sprint("overloader ", i), Endpoints: srv.Config().Endpoints, Space: ns, Topic: theTopic, First: i * apart,
		}, acct)
		c.says(t, "ready")
		children = append(children, c)
	}
	for _, c := range children {
		c.tell(t, "put")
	}
	// Pipes come and go meanwhile, some each second: what that leaves in etcd's history takes
	// of the reserve, which nobody compacts here.
	began, pipes, slowest := time.Now(), 0, time.Duration(0)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < lasts || pipes == 0 {
		<-tick.C
		at := time.Now()
		name := fmt.Sprint("orders-", pipes)
		dest := harness.Register(t, rt, name)
		member := harness.Join(t, rt, name, "billing")
		if err := dest.Send(harness.Context(t), harness.Numbered(pipes)); err != nil {
			t.Fatal(err)
		}
		got, err := member.Poll(harness.Context(t), 1)
		if err != nil || len(got) != 1 || harness.Number(got[0]) != pipes {
			t.Fatal(got, err)
		}
		got[0].Ack()
		if err := errors.Join(member.Leave(harness.Context(t)), dest.Unregister(harness.Context(t))); err != nil {
			t.Fatal(err)
		}
		if alarms, err := client.AlarmList(harness.Context(t)); err != nil || len(alarms.Alarms) > 0 {
			t.Fatalf("alarms after %v: %v, %v", time.Since(began), alarms, err)
		}
		pipes++
		slowest = max(slowest, time.Since(at))
	}
	acct.await(t, "a refusal", func() bool { return acct.refused > 0 })
	for _, c := range children {
		c.tell(t, "stop")
	}
	for _, c := range children {
		c.says(t, "left")
	}
	status, err := client.Status(harness.Context(t), srv.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	logged := acct.audit(t, harness.Runtime(t, ns, penstock.EtcdConfig(srv.Config())), theTopic)
	acct.mu.Lock()
	defer acct.mu.Unlock()
	t.Logf("%d accepted, %d refused, %d in doubt, %d in the log; %d pipes registered, joined and delivered, each within %v; the file has %d of %d bytes",
		len(acct.accepted), acct.refused, len(acct.unknown), len(logged), pipes, slowest, status.DbSize, quota)
	if len(status.Errors) > 0 || status.DbSize > quota {
		t.Errorf("etcd has %d bytes of %d, alarms: %v", status.DbSize, quota, status.Errors)
	}
	if isLong {
		offered := float64(len(acct.accepted)+acct.refused) * (60 << 10)
		t.Logf("offered %.1f × the quota, accepted %.2f × of it", offered/float64(quota), float64(len(acct.accepted))*(60<<10)/float64(quota))
	}
}
