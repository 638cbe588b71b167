package pipes_test

// Groups that a sender requires, and groups that are declared before anybody joins.

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

var required = []string{"billing", "audit"}

// Promise: a required group misses nothing, whichever of the processes starts first.
func TestRequiredGroups(t *testing.T) {
	const n = 200
	type step func(s scene, group string)
	declares := func(s scene, group string) {
		s.Helper()
		if err := s.rt.DeclareGroup(harness.Context(s.T), "orders", group); err != nil {
			s.Fatal(err)
		}
	}
	for order, c := range map[string]struct {
		before, after []step // the sender; of each group in turn
	}{
		"the sender first":                  {nil, []step{nil}},
		"the groups first":                  {[]step{nil}, nil},
		"declared first":                    {[]step{declares}, []step{nil}},
		"declared after the sender":         {nil, []step{declares, nil}},
		"declared first, joined before all": {[]step{declares, nil}, nil},
	} {
		for name, face := range faces {
			t.Run(order+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := scene{t, face, harness.Runtime(t, penstocktest.Space(t))}
				ledgers := map[string]*harness.Ledger{}
				do := func(steps []step) {
					for _, step := range steps {
						for _, group := range required {
							if step != nil {
								step(s, group)
								continue
							}
							ledgers[group] = harness.NewLedger()
							s.join(group, entering(ledgers[group], "one"))
						}
					}
				}
				do(c.before)
				d := s.register(penstock.RequireGroups(required...))
				sent := make(chan error, 1)
				go func() {
					_, err := d.send(harness.Context(t), numbered(0, n)...)
					sent <- err
				}()
				do(c.after)
				if err := harness.Await(t, "what was sent", sent); err != nil {
					t.Fatal(err)
				}
				s.flush(d)
				for _, l := range ledgers {
					l.Complete(t, n, 0)
				}
			})
		}
	}
}

// Promise: a required group misses nothing of what was sent, though its members die one
// after the other, and the sender is another process in between.
func TestRequiredGroupInACrashLoop(t *testing.T) {
	for name, actors := range map[string]bool{"handles": false, "actors": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashLoop(t, actors)
		})
	}
}

func crashLoop(t *testing.T, actors bool) {
	const n, lives = 2000, 4
	ns := penstocktest.Space(t)
	spec := childSpec{Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Window: 16, LeaseTTL: 2 * time.Second, Actors: actors}
	sender := spec
	sender.Role, sender.Require = roleSender, required
	member := func(group, name string, l *harness.Ledger) *child {
		spec := spec
		spec.Role, spec.Group, spec.Member = roleMember, group, name
		return spawn(t, spec, l)
	}
	billing, audit := harness.NewLedger(), harness.NewLedger()

	first := spawn(t, sender, nil)
	first.awaitReady(t)
	first.tell(t, "send %d %d", 0, n)
	member("billing", "steady", billing)
	for life := range lives {
		before := audit.Tally().Distinct
		m := member("audit", fmt.Sprint("life-", life), audit)
		m.awaitReady(t)
		audit.Await(t, "a member at work", func(now harness.Tally) bool { return now.Distinct > before || now.Distinct == n })
		m.kill(t)
	}
	first.tell(t, "stop") // it waits for a member that takes the rest
	last := member("audit", "the-last-life", audit)
	harness.Await(t, "the sender's end", harness.Closing(first.left))

	second := spawn(t, sender, nil)
	second.awaitReady(t)
	second.tell(t, "send %d %d", n, 2*n)
	audit.Await(t, "what the second sends", func(now harness.Tally) bool { return now.Distinct > n })
	last.kill(t)
	member("audit", "after-all", audit)
	second.tell(t, "stop")
	harness.Await(t, "the second sender's end", harness.Closing(second.left))
	billing.Complete(t, 2*n, 0)
	audit.Complete(t, 2*n, (lives+1)*spec.Window)
}

// Promise: a required group that was removed is waited for again, and what it misses
// is said.
func TestRequiredGroupIsWaitedForAgain(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	ctx := harness.Context(t)
	d := harness.Register(t, rt, "orders", penstock.RequireGroups("billing"))
	harness.Join(t, rt, "orders", "other")
	if err := rt.DeclareGroup(ctx, "orders", "billing"); err != nil {
		t.Fatal(err)
	}
	harness.Send(t, d, 0, 3)
	if err := rt.DeleteGroup(ctx, "orders", "billing"); err != nil {
		t.Fatal(err)
	}
	gone := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupRemoved) bool { return e.Group == "billing" })
	if gone.Unsent != 3 {
		t.Errorf("%d messages went with it, want 3", gone.Unsent)
	}
	sent := make(chan error, 1)
	go func() { sent <- d.Send(ctx, harness.Numbered(3)) }()
	blocked := penstocktest.WaitEvent(t, events, harness.Patience, func(messages.SendBlocked) bool { return true })
	if len(blocked.Missing) != 1 || blocked.Missing[0] != "billing" {
		t.Errorf("it waits for %q", blocked.Missing)
	}
	l := harness.NewLedger()
	l.Handle(t, "one", harness.Join(t, rt, "orders", "billing"))
	if err := harness.Await(t, "the message", sent); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the message", func(now harness.Tally) bool { return now.Distinct == 1 })
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupBegan) bool { return e.Group == "billing" && e.Missed == 3 })
}

// Promise: a declared group has the settings of its declaration, and lives for its
// KeepFor from the last of them when nobody joins.
func TestDeclaredGroup(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt, ctx := harness.Runtime(t, ns), harness.Context(t)
	declare := func(opts ...penstock.GroupOption) error { return rt.DeclareGroup(ctx, "orders", "billing", opts...) }
	for range 2 {
		if err := declare(penstock.InMode(penstock.AtMostOnce), penstock.KeepFor(2*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := declare(); !errors.Is(err, penstock.ErrGroupMode) {
		t.Errorf("declared in another mode: %v", err)
	}
	if _, err := rt.Join(ctx, "orders", "billing"); !errors.Is(err, penstock.ErrGroupMode) {
		t.Errorf("joined in another mode: %v", err)
	}
	if err := declare(penstock.KeepFor(0), penstock.InMode("twice")); !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("declared with a mode that is none: %v", err)
	}
	if err := rt.DeclareGroup(context.Background(), "orders", "bad/name"); !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("declared with a name that is none: %v", err)
	}
	harness.AwaitKeys(t, harness.Client(t), ns, "nothing of it", harness.Exactly(nil))
}
