package topics_test

// An etcd whose quota is near.

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: whatever several runtimes put into an etcd with a small quota, its alarm does
// not go off: puts are refused with a QuotaError before, what was accepted is there,
// registrations continue, and so do puts once a topic was deleted and history compacted.
func TestOverloadIsRefusedBeforeTheAlarm(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(harness.Context(t), "", embedded.UnsafeNoFsync(), embedded.Quota(24<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	client, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	// A governor that slows puts takes its time on a busy machine.
	ctx, cancel := context.WithTimeout(t.Context(), 4*harness.Patience)
	defer cancel()
	space := penstocktest.Space(t)
	acct := newAccount()
	var load sync.WaitGroup
	var refused atomic.Int64
	for i := range 3 {
		rt := harness.Runtime(t, space, penstock.EtcdConfig(srv.Config()))
		topic, err := rt.EnsureTopic(ctx, theTopic, penstock.TopicConfig{Partitions: 2, Compression: penstock.CompressNone}, penstock.PartitionBy(penstock.RoundRobin()))
		if err != nil {
			t.Fatal(err)
		}
		for j := range 2 {
			load.Go(func() {
				first := (2*i + j) * apart
				for id, mine := first, 0; mine < 3 && id < first+2000; id++ {
					m := harness.Numbered(id)
					m.Key = make([]byte, 30<<10)
					for k := range m.Key {
						m.Key[k] = byte(rand.Uint32())
					}
					p, offset, err := topic.Put(ctx, m)
					var quota *penstock.QuotaError
					switch {
					case err == nil:
						acct.accept(id, place{p, offset})
					case errors.As(err, &quota) && errors.Is(err, penstock.ErrNoSpace):
						refused.Add(1)
						mine++
					default:
						t.Errorf("put %d: %v, want a QuotaError", id, err)
						return
					}
				}
			})
		}
	}
	load.Wait()
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
	calm := func() {
		t.Helper()
		alarms, err := client.AlarmList(context.WithoutCancel(ctx))
		if err != nil || len(alarms.Alarms) > 0 {
			t.Fatalf("alarms: %v, %v", alarms, err)
		}
	}
	calm()
	rt := harness.Runtime(t, space, penstock.EtcdConfig(srv.Config()))
	harness.Register(t, rt, "orders")
	harness.Join(t, rt, "orders", "billing")
	acct.audit(t, rt, theTopic)

	if err := rt.DeleteTopic(ctx, theTopic); err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(ctx, "/", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	topic := makeTopic(t, rt, "another", 1)
	harness.Eventually(t, "a put is taken again", func() bool {
		_, _, err := topic.Put(ctx, harness.Numbered(1))
		return err == nil
	})
	calm()
}

// Promise: an alarm of etcd is told, with what to do, and so is its end.
func TestAlarmIsTold(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(harness.Context(t), "", embedded.UnsafeNoFsync())
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
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.EtcdConfig(srv.Config()))
	told := penstocktest.Record(t, rt)
	topic := makeTopic(t, rt, theTopic, 1)
	status, err := client.Status(ctx, srv.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	alarm := func(action pb.AlarmRequest_AlarmAction) {
		t.Helper()
		_, err := pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(ctx, &pb.AlarmRequest{
			Action: action, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	awaits := func(alarms, do string) {
		t.Helper()
		harness.Eventually(t, "the alarms "+alarms, func() bool {
			_, _, _ = topic.Put(ctx, harness.Numbered(1)) // it is looked while there are puts
			for _, e := range told.Events() {
				if e, ok := e.(messages.EtcdAlarmed); ok && e.Alarms == alarms && strings.Contains(e.Do, do) {
					return true
				}
			}
			return false
		})
	}
	alarm(pb.AlarmRequest_ACTIVATE)
	if _, _, err := topic.Put(ctx, harness.Numbered(0)); !errors.Is(err, penstock.ErrNoSpace) {
		t.Errorf("a put: %v, want ErrNoSpace", err)
	}
	awaits("NOSPACE", "alarm disarm")
	alarm(pb.AlarmRequest_DEACTIVATE)
	awaits("", "")
	if _, _, err := topic.Put(ctx, harness.Numbered(2)); err != nil {
		t.Errorf("after the alarm: %v", err)
	}
}
