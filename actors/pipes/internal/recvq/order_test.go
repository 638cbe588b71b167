package recvq

// Groups that keep an order, at their member.

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// leased opens a link whose lease is valid.
func leased(in *Queue, sender string) *Link {
	k := in.Open(sender, 0)
	lease(k)
	return k
}

// lease has the sender hear a ping that is sent now.
func lease(k *Link) { k.Pinged(frame.Ping{Heard: k.order.lease.Ping(time.Now())}) }

// Promise: what came on a link is taken in the order in which it came, also when it may be
// handed out from the middle of a look on.
func TestFramesOfALinkAreTakenInOrder(t *testing.T) {
	in, _ := testQueue(func(c *Config) { c.Mode, c.Concurrency = messages.Failover, 2 })
	a, b := leased(in, "a"), leased(in, "b")
	for range 2 {
		comes(t, a, 1)
		comes(t, b, 1)
	}
	asked := 0
	f := in.pickBut(func(l *Link) bool { // the handler of a ends after the first look
		if l == a {
			asked++
		}
		return l == b || asked == 1
	})
	if f != nil {
		t.Errorf("message %d of %s was taken before those that came first", f.first, f.link.Sender)
	}
	for _, want := range []uint64{1, 2} {
		if f := in.pickBut(func(l *Link) bool { return l == b }); f == nil || f.link != a || f.first != want {
			t.Errorf("%+v was taken where %d of a is due", f, want)
		}
	}
}

// A handler that ends its goroutine holds up nothing of its sender.
func TestAHandlerThatEndsItsGoroutineHoldsUpNoOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := testQueue(func(c *Config) { c.Mode, c.Concurrency = messages.Failover, 2 })
		k := leased(in, "s")
		comes(t, k, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []uint64
		_, wait := runHandlers(ctx, in, 2, func(_ context.Context, d messages.Delivery) error {
			if got = append(got, d.Seq); d.Seq == 1 {
				runtime.Goexit()
			}
			return nil
		})
		synctest.Wait()
		k.Pinged(frame.Ping{Nacks: 1})
		comes(t, k, 1)
		synctest.Wait()
		if cancel(); !slices.Equal(got, []uint64{1, 2}) {
			t.Errorf("%v were handled", got)
		}
		wait()
	})
}
