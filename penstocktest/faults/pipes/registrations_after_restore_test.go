package pipes_test

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: what is sent through pipes continues through the restore, and senders
// and members of after the backup are found again by those who come later.
func TestRestoredRegistrations(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	begin := func() *penstock.Runtime { return harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config())) }
	book := harness.NewLedger()
	old := harness.Register(t, begin(), "orders")
	book.Handle(t, "old", harness.Join(t, begin(), "orders", "workers"))
	rt := begin()
	left := harness.Join(t, rt, "orders", "workers", penstock.MemberID("left"))
	harness.Register(t, rt, "others") // its process has more to do
	etcd.BackUp()
	if err := left.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	young := harness.Register(t, begin(), "orders")
	book.Handle(t, "young", harness.Join(t, begin(), "orders", "workers"))
	loads := harness.StartLoad(t, old)
	book.Await(t, "records through both", func(now harness.Tally) bool { return now.By["old"] > 100 && now.By["young"] > 100 })
	etcd.Restore()
	before := book.Tally().By["young"]
	book.Await(t, "records after the restore", func(now harness.Tally) bool { return now.By["young"] > before+100 })
	late := begin()
	book.Handle(t, "late", harness.Join(t, late, "orders", "workers"))
	book.Await(t, "records for who came after", func(now harness.Tally) bool { return now.By["late"] > 100 })
	n := harness.Settle(t, loads, old, book)
	book.Complete(t, n, 0)
	harness.Send(t, young, n, n+300) // found by all three
	book.Await(t, "what the young one sent", func(now harness.Tally) bool { return now.Distinct == n+300 })

	client, err := clientv3.New(etcd.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	err = harness.UntilKeys(harness.Context(t), client, ns+"/dest/orders/", func(keys []string) bool {
		count := func(part string) (n int) {
			for _, key := range keys {
				if strings.Contains(key, part) {
					n++
				}
			}
			return n
		}
		return count("/senders/") == 2 && count("/members/") == 3
	})
	if err != nil {
		t.Error("two senders and three members: ", err)
	}
}
