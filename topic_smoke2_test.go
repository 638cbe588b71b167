package penstock_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

func TestSpeedSmoke(t *testing.T) {
	ctx := t.Context()
	srv, err := embedded.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(srv.Config()))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Stop(context.Background())
	for _, size := range []int{64, 1024} {
		tp, err := rt.EnsureTopic(ctx, fmt.Sprint("speed", size), penstock.TopicConfig{Partitions: 4})
		if err != nil {
			t.Fatal(err)
		}
		src := make([]byte, 1<<20)
		rand.Read(src)
		n := 200 << 20 / size
		var f *os.File
		if os.Getenv("PROF") != "" {
			f, _ = os.Create(fmt.Sprintf("/tmp/put%d.prof", size))
			pprof.StartCPUProfile(f)
		}
		began := time.Now()
		o := 0
		for range n {
			if o+size > len(src) {
				o = 0
			}
			if err := tp.PutAsync(ctx, penstock.Message{Value: src[o : o+size]}, nil); err != nil {
				t.Fatal(err)
			}
			o += size
		}
		if err := tp.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		d := time.Since(began)
		if f != nil {
			pprof.StopCPUProfile()
			f.Close()
		}
		t.Logf("put %d B: %.2f M/s %.0f MB/s", size, float64(n)/d.Seconds()/1e6, float64(n*size)/d.Seconds()/1e6)
		sub, err := tp.Subscribe(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("PROF") != "" {
			f, _ = os.Create(fmt.Sprintf("/tmp/get%d.prof", size))
			pprof.StartCPUProfile(f)
		}
		began = time.Now()
		got := 0
		for _, err := range sub.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if got++; got == n {
				break
			}
		}
		if err := sub.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		d = time.Since(began)
		if f != nil {
			pprof.StopCPUProfile()
			f.Close()
		}
		t.Logf("consume %d B: %.2f M/s", size, float64(n)/d.Seconds()/1e6)
		if err := sub.Unsubscribe(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScaleSmoke(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	sp := space(t)
	rt := meet(t, sp)
	tp, err := rt.EnsureTopic(ctx, "scale", penstock.TopicConfig{Partitions: 20})
	if err != nil {
		t.Fatal(err)
	}
	var put atomic.Int64
	pctx, pstop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; pctx.Err() == nil; i++ {
			if r, err := tp.PutBatch(ctx, []penstock.Message{{Value: fmt.Append(nil, i), Key: fmt.Append(nil, i)}}); err != nil {
				t.Error(err)
			} else {
				_ = r
				put.Add(1)
			}
		}
	})
	var mu sync.Mutex
	seen := map[string]int{}
	member := func() (*penstock.Runtime, *penstock.Subscription) {
		r := meet(t, sp)
		tt, err := r.Topic(ctx, "scale")
		if err != nil {
			t.Fatal(err)
		}
		s, err := tt.Subscribe(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for rec, err := range s.Records(ctx) {
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[fmt.Sprint(rec.Partition, "/", rec.Offset)]++
				mu.Unlock()
			}
		})
		return r, s
	}
	_, first := member()
	for range 15 {
		began := time.Now()
		_, s := member()
		j := time.Since(began)
		time.Sleep(50 * time.Millisecond)
		began = time.Now()
		n := len(s.Partitions())
		if err := s.Unsubscribe(ctx); err != nil {
			t.Error(err)
		}
		t.Log("join", j, "had", n, "leave", time.Since(began), "first", len(first.Partitions()))
	}
	pstop()
	for {
		g, err := rt.DescribeGroup(ctx, "scale", "g")
		if err != nil {
			t.Fatal(err)
		}
		if g.Lag == 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%+v", g)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := first.Unsubscribe(ctx); err != nil {
		t.Error(err)
	}
	wg.Wait()
	dups := 0
	for _, n := range seen {
		if n > 1 {
			dups++
		}
	}
	t.Log("put", put.Load(), "distinct", len(seen), "dups", dups)
}
