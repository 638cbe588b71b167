package discovery

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestZZMeasure(t *testing.T) {
	if os.Getenv("MEASURE") == "" {
		t.Skip()
	}
	c, p := connect(t, shared.Config()), space(t)
	ctx := t.Context()
	r, _ := keep(t, c, measured(p))
	r.SetLease(grant(t, c))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	keys := func(i int) []string {
		d := fmt.Sprintf("dest%04d", i)
		return []string{p + "dest/" + d + "/senders/a", p + "secret/" + d + "/a", p + "dest/" + d + "/groups/g/members/m"}
	}
	before := heap()
	began := time.Now()
	const n = 1000
	for i := range n {
		k := keys(i)
		must(t, r.PutAll(ctx, []Entry{
			{Key: k[0], Value: make([]byte, 60), Leased: true, Guard: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(p+"dest/"+fmt.Sprint(i)+"/sole"), "=", 0)}},
			{Key: k[1], Value: make([]byte, 48), Leased: true},
			{Key: k[2], Value: make([]byte, 48), Leased: true},
		}))
	}
	t.Logf("put %d x 3: %v", n, time.Since(began))
	time.Sleep(3 * time.Second)
	after := heap()
	t.Logf("heap+stack per kept key: %d B (etcd in process incl.)", (int64(after)-int64(before))/(3*n))
	began = time.Now()
	for i := range n {
		must(t, r.Remove(ctx, keys(i)...))
	}
	t.Logf("remove %d x 3: %v", n, time.Since(began))
}
