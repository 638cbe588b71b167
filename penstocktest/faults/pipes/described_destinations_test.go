package pipes_test

// What etcd shows of destinations.

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a destination is described as it stands in etcd, with its senders, groups and
// members, and until when a group without members is kept.
func TestDestinationsAreDescribed(t *testing.T) {
	for name, face := range faces {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scene{t, face, harness.Runtime(t, penstocktest.Space(t))}
			rt, ctx := s.rt, harness.Context(t)
			if _, err := rt.DescribeDestination(ctx, "orders"); !errors.Is(err, penstock.ErrNoDestination) {
				t.Errorf("nothing is there: %v", err)
			}
			if all, err := rt.ListDestinations(ctx); len(all) != 0 || err != nil {
				t.Errorf("nothing is there: %+v, %v", all, err)
			}
			began := time.Now().Add(-time.Second)
			s.register(penstock.SenderID("one"), penstock.SoleSender())
			s.join("billing", entering(harness.NewLedger(), "one"), penstock.MemberID("m"), penstock.Window(7), penstock.OnFull(penstock.QueueError))
			for group, keep := range map[string]time.Duration{"audit": time.Hour, "kept": penstock.Forever} {
				if err := rt.DeclareGroup(ctx, "orders", group, penstock.KeepFor(keep)); err != nil {
					t.Fatal(err)
				}
			}
			if err := rt.DeclareGroup(ctx, "invoices", "audit"); err != nil {
				t.Fatal(err)
			}

			d, err := rt.DescribeDestination(ctx, "orders")
			if err != nil || d.Err != nil {
				t.Fatal(err, d.Err)
			}
			recent := func(what string, at time.Time) {
				if at.Before(began) || time.Since(at) < -time.Second {
					t.Errorf("%s since %s", what, at)
				}
			}
			if d.Name != "orders" || d.Sole != "one" || d.Revision == 0 || len(d.Senders) != 1 || len(d.Groups) != 3 {
				t.Fatalf("%+v", d)
			}
			one := d.Senders[0]
			recent("the sender", one.Since)
			if one.ID != "one" || len(one.URLs) == 0 || one.Host == "" {
				t.Errorf("the sender: %+v", one)
			}
			audit, billing, kept := d.Groups[0], d.Groups[1], d.Groups[2]
			recent("without members", audit.Deserted)
			if left := time.Until(audit.KeptUntil); audit.Name != "audit" || audit.Mode != penstock.AtLeastOnce || audit.KeepFor != time.Hour ||
				len(audit.Members) != 0 || left < 50*time.Minute || left > time.Hour+time.Second {
				t.Errorf("declared: %+v", audit)
			}
			if len(billing.Members) != 1 || billing.Policy != penstock.QueueError || !billing.Deserted.IsZero() || !billing.KeptUntil.IsZero() {
				t.Fatalf("with a member: %+v", billing)
			}
			m := billing.Members[0]
			recent("the member", m.Since)
			if m.ID != "m" || m.Window != 7 || m.Host != one.Host {
				t.Errorf("the member: %+v", m)
			}
			if kept.KeepFor != penstock.Forever || !kept.KeptUntil.IsZero() || !kept.Deserted.IsZero() {
				t.Errorf("kept forever: %+v", kept)
			}

			all, err := rt.ListDestinations(ctx)
			if err != nil || len(all) != 2 || all[0].Name != "invoices" || all[1].Name != "orders" || len(all[1].Groups) != 3 {
				t.Errorf("listed: %+v, %v", all, err)
			}
		})
	}
}
