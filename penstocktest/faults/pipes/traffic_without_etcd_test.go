package pipes_test

// etcd away, wiped, or robbed of our keys. Promise, in all of them: links that
// stand continue, and what we registered comes back.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// party is a sender and a member in runtimes of their own, under load.
type party struct {
	etcd           *penstocktest.Server
	ns             string
	sender, member *penstock.Runtime
	orders         *penstock.Destination
	ledger         *harness.Ledger
	load           *harness.Load
	links          []*penstocktest.Recording // of both sides
	keys           []string
	client         *clientv3.Client
}

// newParty begins a party on an etcd of its own, with a short lease.
func newParty(t *testing.T) *party {
	t.Helper()
	p := &party{etcd: penstocktest.Etcd(t), ns: penstocktest.Space(t), ledger: harness.NewLedger()}
	opts := []penstock.StartOption{penstock.Prefix(p.ns), penstock.LeaseTTL(5 * time.Second)}
	p.sender = penstocktest.Runtime(t, p.etcd, opts...)
	p.member = penstocktest.Runtime(t, p.etcd, opts...)
	p.orders = harness.Register(t, p.sender, "orders")
	p.join(t, "first")
	p.links = []*penstocktest.Recording{penstocktest.Record(t, p.sender), penstocktest.Record(t, p.member)}
	p.load = harness.StartLoad(t, p.orders)
	p.ledger.Await(t, "the load flows", func(now harness.Tally) bool { return now.Total > 100 })
	p.client = p.etcd.Client(t)
	resp, err := p.client.Get(harness.Context(t), p.ns+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		p.keys = append(p.keys, string(kv.Key))
	}
	// A sender, its two tokens, the group and its member.
	if len(p.keys) != 5 {
		t.Fatalf("the keys are %q", p.keys)
	}
	return p
}

func (p *party) join(t *testing.T, id string) *penstock.Member {
	t.Helper()
	m := harness.Join(t, p.member, "orders", "billing", penstock.MemberID(id), penstock.Window(window))
	p.ledger.Handle(t, id, m)
	return m
}

// flows waits until n more messages are handled.
func (p *party) flows(t *testing.T, what string, n int) {
	t.Helper()
	before := p.ledger.Tally().Total
	p.ledger.Await(t, what, func(now harness.Tally) bool { return now.Total > before+n })
}

// unlinked returns the links that ended.
func (p *party) unlinked() (ended []messages.Event) {
	for _, r := range p.links {
		for _, e := range r.Events() {
			switch e.(type) {
			case messages.MemberUnlinked, messages.SenderUnlinked:
				ended = append(ended, e)
			}
		}
	}
	return ended
}

// unharmed ends the load and checks that no link ended, that everything was
// handled, and nothing twice; and that a newcomer is found and gets its share.
func (p *party) unharmed(t *testing.T) {
	t.Helper()
	if ended := p.unlinked(); len(ended) > 0 {
		t.Errorf("links that stood must go on; these ended: %+v", ended)
	}
	second := p.join(t, "second")
	p.ledger.Await(t, "a newcomer's share", func(now harness.Tally) bool { return now.By["second"] > 50 })
	n := harness.Settle(t, p.load, p.orders, p.ledger)
	p.ledger.Complete(t, n, 0)
	if err := second.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: etcd away, for longer than the lease: established links continue, then
// the registrations come back, and newcomers are found.
func TestEtcdStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	away := 30 * time.Second
	if testing.Short() {
		away = 12 * time.Second
	}
	p := newParty(t)
	p.etcd.Stop()
	over := time.After(away)
	for _, r := range p.links {
		penstocktest.WaitEvent[messages.SessionSuspended](t, r, harness.Patience, nil)
	}
	p.flows(t, "traffic in doubt", 1000)
	<-over
	p.flows(t, "traffic without etcd", 1000)
	p.etcd.Restart()
	for _, r := range p.links {
		penstocktest.WaitEvent[messages.SessionRenewed](t, r, harness.Patience, nil)
	}
	harness.AwaitKeys(t, p.client, p.ns+"/", "the registrations", harness.Exactly(p.keys))
	p.unharmed(t)
}

// Promise: the same when etcd comes back with nothing, as another cluster whose
// revisions begin again.
func TestEtcdWipedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.etcd.Wipe()
	harness.AwaitKeys(t, p.client, p.ns+"/", "the registrations", harness.Exactly(p.keys))
	p.flows(t, "traffic after the wipe", 1000)
	p.unharmed(t)
}

// Promise: a lost session is a fact, not a failure. Each side loses its lease
// in turn.
func TestLeaseRevokedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	for i, rt := range []*penstock.Runtime{p.sender, p.member} {
		penstocktest.ExpireLease(t, p.etcd, rt)
		penstocktest.WaitEvent[messages.SessionLost](t, p.links[i], harness.Patience, nil)
		penstocktest.WaitEvent[messages.SessionRenewed](t, p.links[i], harness.Patience, nil)
		harness.AwaitKeys(t, p.client, p.ns+"/", "the registrations", harness.Exactly(p.keys))
	}
	p.flows(t, "traffic after the losses", 1000)
	p.unharmed(t)
}

// Promise: a key that somebody deletes is put back by its owner, and no live
// link ends for it. Each key in turn, then all at once; and what watches them
// survives that etcd forgets the past in between.
func TestKeysDeletedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	for _, key := range p.keys {
		if strings.Contains(key, "/secret/") {
			continue // who deletes a token means the links: TestTokenOfAGroup
		}
		putBack := []*penstocktest.Recording{penstocktest.Record(t, p.sender), penstocktest.Record(t, p.member)}
		if _, err := p.client.Delete(harness.Context(t), key); err != nil {
			t.Fatal(err)
		}
		harness.AwaitKeys(t, p.client, p.ns+"/", key, harness.Exactly(p.keys))
		owner := putBack[0]
		if strings.Contains(key, "/groups/") {
			owner = putBack[1]
		}
		penstocktest.WaitEvent(t, owner, harness.Patience, func(e messages.RegistrationRestored) bool { return e.Key == key })
		p.flows(t, "traffic without "+key, 200)
	}
	p.etcd.Compact()
	if _, err := p.client.Delete(harness.Context(t), p.ns+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	harness.AwaitKeys(t, p.client, p.ns+"/", "all keys", harness.Exactly(p.keys))
	p.flows(t, "traffic without keys", 200)
	p.unharmed(t)
}

// Promise: a link that breaks while its sender's key is away is made again once
// the key is back, on whatever port the sender has then.
func TestLinkCutWhileKeyIsAway(t *testing.T) {
	ns := penstocktest.Space(t)
	port := penstocktest.FreePort(t)
	proxy := penstocktest.NewProxy(t, harness.Loopback(port))
	sender := harness.Runtime(t, ns, penstock.Listen("tcp://"+harness.Loopback(port)+"?advertise="+proxy.Addr()))
	orders := harness.Register(t, sender, "orders", penstock.SenderID("s"))
	member := harness.Runtime(t, ns)
	l := harness.NewLedger()
	l.Handle(t, "member", harness.Join(t, member, "orders", "billing"))
	handled := func(from, to int) {
		t.Helper()
		harness.Send(t, orders, from, to)
		if err := orders.Flush(harness.Context(t)); err != nil { // acked, so that a cut repeats nothing
			t.Fatal(err)
		}
	}
	handled(0, 100)

	c := harness.Client(t)
	for round := range 3 {
		cut := penstocktest.Record(t, member)
		proxy.Cut()
		penstocktest.WaitEvent[messages.SenderUnlinked](t, cut, harness.Patience, nil)
		putBack := penstocktest.Record(t, sender)
		if _, err := c.Delete(harness.Context(t), ns+"/dest/orders/senders/s"); err != nil {
			t.Fatal(err)
		}
		penstocktest.WaitEvent[messages.RegistrationRestored](t, putBack, harness.Patience, nil)
		proxy.Resume()
		handled(100*(round+1), 100*(round+2))
	}
	l.Complete(t, 400, 0)
}

// Promise: every call obeys its context. With an etcd that takes what is
// written and never answers, each fails in time and typed, and the runtime
// continues when etcd does.
func TestEtcdHangs(t *testing.T) {
	t.Parallel()
	proxy := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
	cfg := harness.Etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.EtcdConfig(cfg), penstock.LeaseTTL(2*time.Second))
	inside := harness.Join(t, rt, "elsewhere", "early")
	proxy.Hang()

	calls := map[string]func(context.Context) error{
		"Register": func(ctx context.Context) error { _, err := rt.Register(ctx, "orders"); return err },
		"Join":     func(ctx context.Context) error { _, err := rt.Join(ctx, "orders", "billing"); return err },
	}
	for name, call := range calls {
		why := errors.New("enough of " + name)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, why)
		err := harness.Within(t, harness.Soon, name, func() error { return call(ctx) })
		cancel()
		if !errors.Is(err, penstock.ErrUnavailable) && !errors.Is(err, why) {
			t.Errorf("%s: got %v, want ErrUnavailable or the context's cause", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := harness.Within(t, harness.Soon+5*time.Second, "Leave", func() error { return inside.Leave(ctx) }); err == nil {
		t.Error("Leave said that the key is gone, which nobody can know")
	}
	proxy.Resume()
	l := harness.NewLedger()
	var orders *penstock.Destination
	err := harness.Within(t, harness.Patience, "Register", func() (err error) {
		for orders == nil { // the one given up may still be on its way out
			orders, err = rt.Register(harness.Context(t), "orders")
			if err != nil && !errors.Is(err, penstock.ErrExists) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Handle(t, "member", harness.Join(t, rt, "orders", "billing"))
	harness.Send(t, orders, 0, 100)
	l.Await(t, "the messages", func(now harness.Tally) bool { return now.Distinct == 100 })
}

// Promise: a Join that is given up leaves nothing behind in etcd.
func TestCancelledJoinLeavesNoKey(t *testing.T) {
	ns := penstocktest.Space(t)
	port := penstocktest.FreePort(t)
	proxy := penstocktest.NewProxy(t, harness.Loopback(port))
	proxy.Hang() // a sender that takes connections and says nothing
	harness.Register(t, harness.Runtime(t, ns, penstock.Listen("tcp://"+harness.Loopback(port)+"?advertise="+proxy.Addr())), "orders")
	rt := harness.Runtime(t, ns)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := rt.Join(ctx, "orders", "billing"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's cause", err)
	}
	harness.AwaitKeys(t, harness.Client(t), ns+"/dest/orders/groups/billing/members/", "no member", harness.Exactly(nil))
}
