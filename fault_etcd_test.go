package penstock_test

// etcd away, wiped, or robbed of our keys. Promise, in all of them: links that
// stand go on, and what we registered comes back.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
)

// watchGone yields once key is not in the package's etcd.
func watchGone(t *testing.T, key string) <-chan struct{} {
	c := control(t)
	gone := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if untilKeys(ctx, c, key, func(keys []string) bool { return len(keys) == 0 }) == nil {
			gone <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return gone
}

// control is a client of the package's etcd.
func control(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(etcd.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// untilKeys waits until the keys under prefix are as wanted.
func untilKeys(ctx context.Context, c *clientv3.Client, prefix string, wanted func([]string) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		resp, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			continue
		}
		var keys []string
		for _, kv := range resp.Kvs {
			keys = append(keys, string(kv.Key))
		}
		if wanted(keys) {
			return nil
		}
		// The next change, or another list where the watch is lost.
		watching, stop := context.WithTimeout(ctx, time.Second)
		<-c.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision+1))
		stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func awaitKeys(t *testing.T, c *clientv3.Client, prefix, what string, wanted func([]string) bool) {
	t.Helper()
	var last []string
	err := untilKeys(patient(t), c, prefix, func(keys []string) bool {
		last = keys
		return wanted(keys)
	})
	if err != nil {
		t.Fatalf("%s: %v; the keys are %q", what, err, last)
	}
}

// same tells whether the keys are those.
func same(want []string) func([]string) bool {
	return func(keys []string) bool { return slices.Equal(keys, want) }
}

// party is a sender and a member in runtimes of their own, under load.
type party struct {
	etcd           *penstocktest.Server
	ns             string
	sender, member *penstock.Runtime
	orders         *penstock.Destination
	ledger         *ledger
	load           *load
	links          []*penstocktest.Recording // of both sides
	keys           []string
	client         *clientv3.Client
}

// newParty begins a party on an etcd of its own, with a short lease.
func newParty(t *testing.T) *party {
	t.Helper()
	p := &party{etcd: penstocktest.Etcd(t), ns: space(t), ledger: newLedger()}
	opts := []penstock.StartOption{penstock.Prefix(p.ns), penstock.LeaseTTL(5 * time.Second)}
	p.sender = penstocktest.Runtime(t, p.etcd, opts...)
	p.member = penstocktest.Runtime(t, p.etcd, opts...)
	p.orders = register(t, p.sender, "orders")
	p.join(t, "first")
	p.links = []*penstocktest.Recording{penstocktest.Record(t, p.sender), penstocktest.Record(t, p.member)}
	p.load = startLoad(t, p.orders)
	p.ledger.await(t, "the load flows", func(now tally) bool { return now.total > 100 })
	p.client = p.etcd.Client(t)
	resp, err := p.client.Get(patient(t), p.ns+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		p.keys = append(p.keys, string(kv.Key))
	}
	// A sender, its secret, the group and its member.
	if len(p.keys) != 4 {
		t.Fatalf("the keys are %q", p.keys)
	}
	return p
}

func (p *party) join(t *testing.T, id string) *penstock.Member {
	t.Helper()
	m := joinGroup(t, p.member, "orders", "billing", penstock.MemberID(id), penstock.Window(window))
	p.ledger.handle(t, id, m)
	return m
}

// flows waits until n more messages are handled.
func (p *party) flows(t *testing.T, what string, n int) {
	t.Helper()
	before := p.ledger.tally().total
	p.ledger.await(t, what, func(now tally) bool { return now.total > before+n })
}

// unlinked answers the links that ended.
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
	p.ledger.await(t, "a newcomer's share", func(now tally) bool { return now.by["second"] > 50 })
	n := settle(t, p.load, p.orders, p.ledger)
	p.ledger.complete(t, n, 0)
	if err := second.Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
}

// Promise: etcd away, for longer than the lease: established links go on, then
// the registrations come back, and newcomers are found.
func TestFaultEtcdStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	away := 30 * time.Second
	if testing.Short() {
		away = 12 * time.Second
	}
	p := newParty(t)
	p.etcd.Stop()
	over := time.After(away)
	for _, r := range p.links {
		penstocktest.WaitEvent[messages.SessionSuspended](t, r, patience, nil)
	}
	p.flows(t, "traffic in doubt", 1000)
	<-over
	p.flows(t, "traffic without etcd", 1000)
	p.etcd.Restart()
	for _, r := range p.links {
		penstocktest.WaitEvent[messages.SessionRenewed](t, r, patience, nil)
	}
	awaitKeys(t, p.client, p.ns+"/", "the registrations", same(p.keys))
	p.unharmed(t)
}

// Promise: the same when etcd comes back with nothing, as another cluster whose
// revisions begin anew.
func TestFaultEtcdWipedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.etcd.Wipe()
	awaitKeys(t, p.client, p.ns+"/", "the registrations", same(p.keys))
	p.flows(t, "traffic after the wipe", 1000)
	p.unharmed(t)
}

// Promise: a lost session is a fact, not a failure. Each side loses its lease
// in turn.
func TestFaultLeaseRevokedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	for i, rt := range []*penstock.Runtime{p.sender, p.member} {
		penstocktest.ExpireLease(t, p.etcd, rt)
		penstocktest.WaitEvent[messages.SessionLost](t, p.links[i], patience, nil)
		penstocktest.WaitEvent[messages.SessionRenewed](t, p.links[i], patience, nil)
		awaitKeys(t, p.client, p.ns+"/", "the registrations", same(p.keys))
	}
	p.flows(t, "traffic after the losses", 1000)
	p.unharmed(t)
}

// Promise: a key that somebody deletes is put back by its owner, and no live
// link ends for it. Each key in turn, then all at once; and what watches them
// survives that etcd forgets the past in between.
func TestFaultKeysDeletedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	for _, key := range p.keys {
		putBack := []*penstocktest.Recording{penstocktest.Record(t, p.sender), penstocktest.Record(t, p.member)}
		if _, err := p.client.Delete(patient(t), key); err != nil {
			t.Fatal(err)
		}
		awaitKeys(t, p.client, p.ns+"/", key, same(p.keys))
		owner := putBack[0]
		if strings.Contains(key, "/groups/") {
			owner = putBack[1]
		}
		penstocktest.WaitEvent(t, owner, patience, func(e messages.RegistrationRestored) bool { return e.Key == key })
		p.flows(t, "traffic without "+key, 200)
	}
	p.etcd.Compact()
	if _, err := p.client.Delete(patient(t), p.ns+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	awaitKeys(t, p.client, p.ns+"/", "all keys", same(p.keys))
	p.flows(t, "traffic without keys", 200)
	p.unharmed(t)
}

// Promise: a link that breaks while its sender's key is away is made anew once
// the key is back, on whatever port the sender has then.
func TestFaultLinkCutWhileKeyIsAway(t *testing.T) {
	ns := space(t)
	port := penstocktest.FreePort(t)
	proxy := penstocktest.NewProxy(t, addr(port))
	sender := meet(t, ns, penstock.Listen("tcp://"+addr(port)+"?advertise="+proxy.Addr()))
	orders := register(t, sender, "orders", penstock.SenderID("s"))
	member := meet(t, ns)
	l := newLedger()
	l.handle(t, "member", joinGroup(t, member, "orders", "billing"))
	handled := func(from, to int) {
		t.Helper()
		send(t, orders, from, to)
		if err := orders.Flush(patient(t)); err != nil { // acked, so that a cut repeats nothing
			t.Fatal(err)
		}
	}
	handled(0, 100)

	c := control(t)
	for round := range 3 {
		cut := penstocktest.Record(t, member)
		proxy.Cut()
		penstocktest.WaitEvent[messages.SenderUnlinked](t, cut, patience, nil)
		putBack := penstocktest.Record(t, sender)
		if _, err := c.Delete(patient(t), ns+"/dest/orders/senders/s"); err != nil {
			t.Fatal(err)
		}
		penstocktest.WaitEvent[messages.RegistrationRestored](t, putBack, patience, nil)
		proxy.Resume()
		handled(100*(round+1), 100*(round+2))
	}
	l.complete(t, 400, 0)
}

// Promise: every call obeys its context. With an etcd that takes what is
// written and never answers, each fails in time and typed, and the runtime
// goes on when etcd does.
func TestFaultEtcdHangs(t *testing.T) {
	t.Parallel()
	proxy := penstocktest.NewProxy(t, etcd.Endpoint())
	cfg := etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	rt := meet(t, space(t), penstock.EtcdConfig(cfg), penstock.LeaseTTL(2*time.Second))
	inside := joinGroup(t, rt, "elsewhere", "early")
	proxy.Hang()

	calls := map[string]func(context.Context) error{
		"Register": func(ctx context.Context) error { _, err := rt.Register(ctx, "orders"); return err },
		"Join":     func(ctx context.Context) error { _, err := rt.Join(ctx, "orders", "billing"); return err },
	}
	for name, call := range calls {
		why := errors.New("enough of " + name)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, why)
		err := within(t, soon, name, func() error { return call(ctx) })
		cancel()
		if !errors.Is(err, penstock.ErrUnavailable) && !errors.Is(err, why) {
			t.Errorf("%s: got %v, want ErrUnavailable or the context's cause", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := within(t, soon+5*time.Second, "Leave", func() error { return inside.Leave(ctx) }); err == nil {
		t.Error("Leave said that the key is gone, which nobody can know")
	}
	proxy.Resume()
	l := newLedger()
	var orders *penstock.Destination
	err := within(t, patience, "Register", func() (err error) {
		for orders == nil { // the one given up may still be on its way out
			orders, err = rt.Register(patient(t), "orders")
			if err != nil && !errors.Is(err, penstock.ErrExists) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l.handle(t, "member", joinGroup(t, rt, "orders", "billing"))
	send(t, orders, 0, 100)
	l.await(t, "the messages", func(now tally) bool { return now.distinct == 100 })
}

// Promise: a Join that is given up leaves nothing behind in etcd.
func TestFaultCancelledJoinLeavesNoKey(t *testing.T) {
	ns := space(t)
	port := penstocktest.FreePort(t)
	proxy := penstocktest.NewProxy(t, addr(port))
	proxy.Hang() // a sender that takes connections and says nothing
	register(t, meet(t, ns, penstock.Listen("tcp://"+addr(port)+"?advertise="+proxy.Addr())), "orders")
	rt := meet(t, ns)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := rt.Join(ctx, "orders", "billing"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's cause", err)
	}
	awaitKeys(t, control(t), ns+"/dest/orders/groups/billing/members/", "no member", same(nil))
}
