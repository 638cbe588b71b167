package topics_test

// A topic with a limit that is put to as fast as etcd takes it.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: however fast a partition grows, the keeper deletes as fast, and what there is of
// it stays near its limit. With PENSTOCK_LONG it is measured against a topic without limits,
// on a disk.
func TestLimitHoldsUnderFullLoad(t *testing.T) {
	t.Parallel()
	if lasts, long := longRun(t); long {
		// In turn, because a machine or its disk may get busy: a share is of the loads beside it.
		limits := []int64{16 << 20, 64 << 20}
		shares, cpus := map[int64][]float64{}, map[int64][]float64{}
		before := fullLoad(t, penstock.TopicConfig{}, lasts/2, 0)
		for range 3 {
			for _, limit := range limits {
				l := fullLoad(t, penstock.TopicConfig{MaxBytes: limit}, lasts/2, 0)
				after := fullLoad(t, penstock.TopicConfig{}, lasts/2, 0)
				rate, cpu := (before.rate+after.rate)/2, (before.cpu+after.cpu)/2
				before = after
				shares[limit], cpus[limit] = append(shares[limit], l.rate/rate), append(cpus[limit], l.cpu/cpu)
				t.Logf("limit of %d MiB: %s; without limits %.1f MB/s", limit>>20, l, rate/1e6)
			}
		}
		for _, limit := range limits {
			slices.Sort(shares[limit])
			slices.Sort(cpus[limit])
			t.Logf("limit of %d MiB: puts %.2f of those without limits (%.2f), CPU for each byte %.2f times (%.2f)",
				limit>>20, shares[limit][1], shares[limit], cpus[limit][1], cpus[limit])
		}
		return
	}
	const limit = 8 << 20
	l := fullLoad(t, penstock.TopicConfig{MaxBytes: limit}, 12*time.Second, 6*limit)
	t.Log(l)
	if l.median() > 1.5 {
		t.Errorf("it has more than half above its limit: %s", l)
	}
}

// loaded is what a load has done to a partition.
type loaded struct {
	rate   float64   // bytes put a second
	cpu    float64   // seconds of it for each byte, of this process, in which etcd is
	ratios []float64 // of what there was to the limit, once it was reached, sorted
	first  float64   // the largest in the first two seconds
}

func (l loaded) at(share float64) float64 {
	if len(l.ratios) == 0 {
		return 0
	}
	return l.ratios[int(share*float64(len(l.ratios)-1))]
}

func (l loaded) median() float64 { return l.at(0.5) }

func (l loaded) String() string {
	return fmt.Sprintf("%.1f MB/s, %d looks: median %.2f, 0.99 of them %.2f, most %.2f, most in the first 2 s %.2f", l.rate/1e6, len(l.ratios), l.median(), l.at(0.99), l.at(1), l.first)
}

// fullLoad puts records into a topic for a while, or until it has put so many bytes.
func fullLoad(t *testing.T, cfg penstock.TopicConfig, lasts time.Duration, most int) (l loaded) {
	t.Helper()
	durable := embedded.UnsafeNoFsync()
	if most == 0 {
		durable = embedded.Quota(8 << 30)
	}
	srv, err := embedded.Start(harness.Context(t), "", durable)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(srv.Config()))
	watcher := harness.Runtime(t, ns, penstock.EtcdConfig(srv.Config()))
	cfg.Compression = penstock.CompressNone
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, cfg)
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 1<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value)
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	began, watched := time.Now(), make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		reached := false
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			d, err := watcher.DescribeTopic(ctx, theTopic)
			if err != nil || cfg.MaxBytes == 0 {
				continue
			}
			ratio := float64(d.Partitions[0].Bytes) / float64(cfg.MaxBytes)
			if reached = reached || ratio >= 0.9; reached {
				l.ratios = append(l.ratios, ratio)
			}
			if time.Since(began) < 2*time.Second {
				l.first = max(l.first, ratio)
			}
		}
	}()
	put, used := 0, harness.CPU()
	for ; ctx.Err() == nil && (most == 0 || put < most); put += len(value) {
		if err := topic.PutAsync(ctx, penstock.Message{Value: value}, nil); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
	}
	if err := topic.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.rate = float64(put) / time.Since(began).Seconds()
	l.cpu = (harness.CPU() - used).Seconds() / float64(put)
	cancel()
	harness.Await(t, "the watcher", harness.Closing(watched))
	slices.Sort(l.ratios)
	return l
}
