package recvq

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// Promise: a loop that runs ahead of the lock hands each message out once and settles it
// once, whatever takes the lock meanwhile: reports, frames that come, looks, renewals and
// AckWaits that end.
func TestALoopRunsAheadOfTheLock(t *testing.T) {
	const frames, each = 200, 50
	in, events := testQueue(nil)
	k := in.Open("s", 0)
	k.granted = [2]uint64{math.MaxUint64, math.MaxUint64} // credit has tests of its own
	go func() {
		for range events { // nobody reads them
		}
	}()
	defer close(events)
	stop := make(chan struct{})
	var others sync.WaitGroup
	var expired, told uint64
	others.Go(func() {
		var r report
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			switch i % 4 {
			case 0:
				if ok, _ := k.collect(&r, time.Now().Add(time.Hour)); ok {
					told = r.cumulative
				}
			case 1:
				_ = in.Stats()
			case 2:
				k.lock()
				at := k.handed
				k.mu.Unlock()
				k.InProgress(at)
			case 3:
				k.lock()
				at := k.handed
				k.mu.Unlock()
				// No loop runs ahead after that.
				if i%64 == 3 && at > frames*each/2 && k.Expire(at, false) {
					expired++
				}
			}
		}
	})
	others.Go(func() {
		for range frames {
			k.lock()
			first := k.received + 1
			k.mu.Unlock()
			var ids []uint64
			for i := range uint64(each) {
				ids = append(ids, first+i)
			}
			if err := k.Arrive(&frame.Data{First: first, Count: each, Records: recordtest.Records(ids...)}, nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	next, ran := uint64(1), 0
	for d, err := range in.Messages(t.Context(), false) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Seq != next {
			t.Fatalf("delivery %d where %d is due", d.Seq, next)
		}
		if k.run.Load()&running != 0 {
			ran++
		}
		if next++; next > frames*each {
			d.Ack()
			break
		}
	}
	close(stop)
	others.Wait()
	r, _ := toldAll(k)
	if r.cumulative != frames*each || told > r.cumulative || len(k.frames) != 0 || k.acks.Count != frames*each {
		t.Errorf("settled up to %d, %d in all, %d frames left", r.cumulative, k.acks.Count, len(k.frames))
	}
	if n := uint64(len(k.expired)); n != expired {
		t.Errorf("%d expired, %d were told", expired, n)
	}
	if ran == 0 {
		t.Error("the loop has never run ahead")
	}
}

// toldAll is told where a report may have gone already.
func toldAll(k *Link) (report, bool) {
	k.lock()
	k.urgent = true
	k.mu.Unlock()
	return told(k)
}

// What a loop has run through is known to whoever takes the lock.
func TestWhoTakesTheLockSeesTheRun(t *testing.T) {
	in, k, _ := fed(t, 40, nil)
	for d, err := range in.Messages(t.Context(), false) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Seq < 30 {
			continue
		}
		if k.run.Load() != running|30 {
			t.Fatalf("the run is at %x", k.run.Load())
		}
		if look := in.Stats(); look.Delivered != 30 || look.Waiting != 10 {
			t.Errorf("%+v", look)
		}
		if acked, _ := settledOf(k); acked != 29 {
			t.Errorf("acked up to %d", acked)
		}
		in.Yield("a test")
		break
	}
	if acked, failures := settledOf(k); acked != 40 || len(failures) != 11 {
		t.Errorf("acked up to %d, %d failures; want the one in hand and the ten behind it given back", acked, len(failures))
	}
}

// At most once, what a loop takes while its link ends counts once.
func TestWhatIsTakenWhileALinkEndsCountsOnce(t *testing.T) {
	const frames, each = 50, 2
	for range 50 {
		in, _ := testQueue(func(c *Config) { c.Mode = messages.AtMostOnce })
		k := in.Open("s", 0)
		for range frames {
			comes(t, k, each)
		}
		var ends sync.WaitGroup
		n := 0
		for _, err := range in.Messages(t.Context(), false) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				ends.Go(func() { in.Shut(k) })
			}
			if n == frames*each {
				break
			}
		}
		ends.Wait()
		if got := in.Stats().Delivered; got != frames*each {
			t.Fatalf("%d of %d were handed out", got, frames*each)
		}
	}
}
