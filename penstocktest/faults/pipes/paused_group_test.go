package pipes_test

// The pause of a group, over processes and their ends.

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a paused group is paused within a second wherever its members run, stays so
// when all of them have ended, and no longer than the group when that is deleted.
func TestPausedGroup(t *testing.T) {
	space := penstocktest.Space(t)
	ctx := harness.Context(t)
	l := harness.NewLedger()
	join := func(rt *penstock.Runtime, who string) *penstock.Member {
		t.Helper()
		m := harness.Join(t, rt, "orders", "billing", penstock.KeepFor(penstock.Forever))
		l.Handle(t, who, m)
		return m
	}
	one, two := harness.Runtime(t, space), harness.Runtime(t, space)
	orders := harness.Register(t, one, "orders")
	join(one, "one")
	join(two, "two")
	seen := []*penstocktest.Recording{penstocktest.Record(t, one), penstocktest.Record(t, two)}
	until := time.Now().Add(time.Hour)
	if err := orders.Send(ctx, harness.Numbered(0)); err != nil {
		t.Fatal(err)
	}
	if err := orders.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := two.PauseGroup(ctx, "orders", "billing", until); err != nil {
		t.Fatal(err)
	}
	for _, events := range seen {
		penstocktest.WaitEvent(t, events, harness.Patience, func(messages.GroupPaused) bool { return true })
	}
	if took := time.Since(began); took > time.Second && !harness.RaceEnabled {
		t.Errorf("the members obey after %s", took)
	}
	for _, rt := range []*penstock.Runtime{two, one} {
		if err := rt.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}

	three := harness.Runtime(t, space)
	orders = harness.Register(t, three, "orders")
	events := penstocktest.Record(t, three)
	m := join(three, "three")
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupPaused) bool { return e.Until.Equal(until) })
	if err := orders.Send(ctx, harness.Numbered(1)); err != nil {
		t.Fatal(err)
	}
	d, err := three.DescribeDestination(ctx, "orders")
	if err != nil || len(d.Groups) != 1 || !d.Groups[0].PausedUntil.Equal(until) {
		t.Errorf("described as %+v: %v", d.Groups, err)
	}
	if err := m.Leave(ctx); err != nil {
		t.Errorf("leaving a paused group: %v", err)
	}
	if l.Has(1, 2) {
		t.Error("a paused group was handed a message")
	}
	if err := three.DeleteGroup(ctx, "orders", "billing"); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(messages.GroupRemoved) bool { return true })
	join(three, "four")
	if err := orders.Send(ctx, harness.Numbered(2)); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the message to the group that was made again", func(harness.Tally) bool { return l.Has(2, 3) })
}

// Promise: an etcd that is away ends no pause: the members obey it until etcd says that it
// is over.
func TestPauseWithoutEtcd(t *testing.T) {
	t.Parallel()
	space := penstocktest.Space(t)
	ctx := harness.Context(t)
	road := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
	cfg := harness.Etcd.Config()
	cfg.Endpoints = []string{road.Addr()}
	here, there := harness.Runtime(t, space), harness.Runtime(t, space, penstock.EtcdConfig(cfg), penstock.LeaseTTL(4*time.Second))
	l := harness.NewLedger()
	orders := harness.Register(t, here, "orders")
	l.Handle(t, "member", harness.Join(t, there, "orders", "billing"))
	events := penstocktest.Record(t, there)
	if err := here.PauseGroup(ctx, "orders", "billing", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(messages.GroupPaused) bool { return true })
	road.Cut()
	penstocktest.WaitEvent(t, events, harness.Patience, func(messages.SessionSuspended) bool { return true })
	if err := orders.Send(ctx, harness.Numbered(0)); err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Events() {
		if _, ok := e.(messages.GroupResumed); ok {
			t.Error("the pause ended with the connection to etcd")
		}
	}
	road.Resume()
	if l.Has(0, 1) {
		t.Error("a paused group was handed a message")
	}
	if err := here.ResumeGroup(ctx, "orders", "billing"); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the message after the pause", func(harness.Tally) bool { return l.Has(0, 1) })
}
