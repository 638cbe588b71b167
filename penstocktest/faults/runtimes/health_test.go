package runtimes

// Health while etcd is away, stands still, and comes back.

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: without etcd a runtime stays live, is no longer ready once its lease is in
// doubt, which is LeaseTTL less a tenth or half a second after etcd's last word, and says
// that it is etcd. It is ready again when etcd is back, the same or an older one, with
// all that it was. Both faces say the same.
func TestHealthWithoutEtcd(t *testing.T) {
	t.Parallel()
	const ttl, doubt = 2 * time.Second, 1500 * time.Millisecond
	for name, fault := range map[string]func(*penstocktest.Server, *penstocktest.Proxy) (mend func()){
		"away": func(_ *penstocktest.Server, p *penstocktest.Proxy) func() {
			p.Cut()
			return p.Resume
		},
		"frozen": func(_ *penstocktest.Server, p *penstocktest.Proxy) func() {
			p.Hang()
			return p.Resume
		},
		"restored": func(s *penstocktest.Server, _ *penstocktest.Proxy) func() {
			s.Stop()
			return s.Restore
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := penstocktest.Etcd(t)
			etcd.BackUp() // before there was any lease
			proxy := penstocktest.NewProxy(t, strings.TrimPrefix(etcd.Endpoint(), "http://"))
			rt, err := penstock.Start(harness.Context(t), penstock.Etcd(proxy.Addr()), penstock.LeaseTTL(ttl), penstock.Listen("tcp://127.0.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			defer rt.Stop(harness.Context(t))
			orders := harness.Register(t, rt, "orders")
			l := harness.NewLedger()
			l.Handle(t, "member", harness.Join(t, rt, "orders", "billing"))
			harness.Send(t, orders, 0, 1)
			if h := rt.Health(t.Context()); !h.Ready || !h.Etcd.Reachable {
				t.Fatalf("before: %+v", h)
			}

			const busy = 3 * time.Second // what a machine may be late
			mend := fault(etcd, proxy)
			began := time.Now()
			var h penstock.Health
			harness.Eventually(t, "it is not ready", func() bool {
				asked := time.Now()
				h = rt.Health(t.Context())
				if !h.Live || time.Since(asked) > busy {
					t.Errorf("after %s, within %s: %+v", time.Since(began), time.Since(asked), h)
				}
				return !h.Ready
			})
			if took := time.Since(began); took > doubt+busy {
				t.Errorf("not ready after %s, want %s at most", took, doubt)
			}
			if h.Session.State != penstock.SessionStateDoubted || h.Session.Since.Before(began) || len(h.Reasons) != 1 ||
				!strings.HasPrefix(h.Reasons[0], "session: etcd at ") || !strings.Contains(h.Reasons[0], proxy.Addr()) {
				t.Errorf("not ready: %q, %+v", h.Reasons, h.Session)
			}
			if of := rt.Engine().Health(t.Context()); of.Live != h.Live || of.Ready != h.Ready || of.Session.State != h.Session.State {
				t.Errorf("by the engine: %+v", of)
			}
			harness.Eventually(t, "etcd is known to be away", func() bool {
				etcd := rt.Health(t.Context()).Etcd
				return !etcd.Reachable && etcd.Err != nil && etcd.Confirmed.Before(began.Add(busy))
			})
			harness.Send(t, orders, 1, 2)
			if err := orders.Flush(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
			l.Complete(t, 2, 0)

			mend()
			harness.Eventually(t, "it is ready again", func() bool {
				h = rt.Health(t.Context())
				return h.Ready && h.Etcd.Reachable && h.Destinations[0].Links == 1 && h.Members[0].Links == 1
			})
			if h.Session.State != penstock.SessionStateAlive || len(h.Reasons) != 0 {
				t.Errorf("again: %+v", h)
			}
		})
	}
}

// Promise: what ended though nobody had asked for it keeps a runtime from being ready,
// by name, until its handle is left or there is another in its place.
func TestHealthOfWhatEndedUnasked(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	for _, mend := range []func(ended *actors.Member){
		func(ended *actors.Member) { ended.Leave(harness.Context(t)) },
		func(*actors.Member) { harness.Join(t, rt, "orders", "billing") },
	} {
		m, err := rt.Engine().Join(harness.Context(t), actors.MemberConfig{Destination: "orders", Group: "billing"})
		if err != nil {
			t.Fatal(err)
		}
		harness.StopActor(t, rt.Engine().System(), m.PID())
		harness.Eventually(t, "it is not ready", func() bool { return !rt.Health(t.Context()).Ready })
		if h := rt.Health(t.Context()); !h.Live || len(h.Reasons) != 1 || !strings.HasPrefix(h.Reasons[0], "member/orders/billing: "+m.ID()+" has ended: ") {
			t.Errorf("%+v", h)
		}
		<-m.Done()
		mend(m)
		harness.Eventually(t, "it is ready", func() bool { return rt.Health(t.Context()).Ready })
	}
}
