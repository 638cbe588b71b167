package runtimes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// right is one line of a role: r or rw, and a prefix, or a key without a slash at
// its end.
type right struct{ kind, key string }

func (r right) String() string { return r.kind + " " + r.key }

// guarded is an etcd with users.
type guarded struct {
	srv   *penstocktest.Server
	root  *clientv3.Client
	users int
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	ctx := harness.Context(t)
	srv := penstocktest.Etcd(t)
	plain, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, do := range []func() error{
		func() error { _, err := plain.RoleAdd(ctx, "root"); return err },
		func() error { _, err := plain.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := plain.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := plain.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	g := &guarded{srv: srv}
	cfg := srv.Config()
	cfg.Username, cfg.Password = "root", "secret"
	if g.root, err = clientv3.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.root.Close() })
	return g
}

// runtime begins one whose user has these rights and no others.
func (g *guarded) runtime(t *testing.T, rights []right) *penstock.Runtime {
	t.Helper()
	ctx := harness.Context(t)
	g.users++
	name := fmt.Sprintf("user%d", g.users)
	if _, err := g.root.RoleAdd(ctx, name); err != nil {
		t.Fatal(err)
	}
	for _, r := range rights {
		kind, end := clientv3.PermissionType(clientv3.PermRead), ""
		if r.kind == "rw" {
			kind = clientv3.PermissionType(clientv3.PermReadWrite)
		}
		if strings.HasSuffix(r.key, "/") {
			end = clientv3.GetPrefixRangeEnd(r.key)
		}
		if _, err := g.root.RoleGrantPermission(ctx, name, r.key, end, kind); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.root.UserAdd(ctx, name, "hush"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.root.UserGrantRole(ctx, name, name); err != nil {
		t.Fatal(err)
	}
	cfg := g.srv.Config()
	cfg.Username, cfg.Password = name, "hush"
	return g.start(t, cfg)
}

func (g *guarded) start(t *testing.T, cfg clientv3.Config) *penstock.Runtime {
	t.Helper()
	rt, err := penstock.Start(harness.Context(t), penstock.EtcdConfig(cfg), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { quit(t, rt) })
	return rt
}

// quit stops a runtime, so that it is no member of a group any more. Without the
// rights it leaves in disorder, by the end of its lease.
func quit(t *testing.T, rt *penstock.Runtime) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := rt.Stop(ctx); err != nil {
		t.Log("stop:", err)
	}
}

// saysDenied reports whether an event tells of a missing right.
func saysDenied(e messages.Event) bool {
	switch e := e.(type) {
	case messages.ActorRestarted:
		return errors.Is(e.Err, penstock.ErrDenied)
	case messages.LinkDelayed:
		return errors.Is(e.Err, penstock.ErrDenied)
	case messages.ReadDelayed:
		return errors.Is(e.Err, penstock.ErrDenied)
	}
	return false
}

// Promise: the table of roles in docs/security.md is the narrowest that works: with its
// rights each task is done, and without any one of them it is refused as such.
func TestRolesOfTheTable(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	rootCfg := g.srv.Config()
	rootCfg.Username, rootCfg.Password = "root", "secret"
	admin := g.start(t, rootCfg)
	ctx, cancel := context.WithTimeout(t.Context(), 4*harness.Patience) // dozens of runtimes begin and end
	defer cancel()
	audit, err := admin.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	id := audit.Info().ID
	if _, _, err := audit.Put(ctx, harness.Numbered(1)); err != nil {
		t.Fatal(err)
	}
	orders := harness.Register(t, admin, "orders")
	harness.Join(t, admin, "orders", "others")

	for _, row := range []struct {
		may    string
		rights []right
		do     func(ctx context.Context, rt *penstock.Runtime) error
	}{
		{"join a group", []right{
			{"r", "/penstock/dest/orders/senders/"}, {"rw", "/penstock/dest/orders/groups/billing/"}, {"r", "/penstock/secret/orders/billing/"},
		}, func(ctx context.Context, rt *penstock.Runtime) error {
			m, err := rt.Join(ctx, "orders", "billing")
			if err != nil {
				return err
			}
			if err := orders.Send(ctx, harness.Numbered(1)); err != nil {
				return err
			}
			for _, err := range m.Messages(ctx) {
				if err != nil {
					return err
				}
				break
			}
			return m.Leave(ctx)
		}},
		{"send", []right{{"rw", "/penstock/dest/bills/"}, {"rw", "/penstock/secret/bills/"}}, func(ctx context.Context, rt *penstock.Runtime) error {
			d, err := rt.Register(ctx, "bills")
			if err != nil {
				return err
			}
			return d.Unregister(ctx)
		}},
		{"rotate and revoke the tokens of a group", []right{
			{"rw", "/penstock/secret/orders/others/~generation"}, {"r", "/penstock/dest/orders/groups/others/meta"},
		}, func(ctx context.Context, rt *penstock.Runtime) error {
			if _, err := rt.RotateTokens(ctx, "orders", "others", 0); err != nil {
				return err
			}
			_, err := rt.RevokeTokens(ctx, "orders", "others")
			return err
		}},
		{"rotate all tokens", []right{{"rw", "/penstock/secret/orders/"}, {"r", "/penstock/dest/orders/"}}, func(ctx context.Context, rt *penstock.Runtime) error {
			_, err := rt.RotateTokens(ctx, "orders", "", 0)
			return err
		}},
		{"list generations", []right{{"r", "/penstock/secret/orders/"}}, func(ctx context.Context, rt *penstock.Runtime) error {
			_, err := rt.DescribeTokens(ctx, "orders")
			return err
		}},
		{"list topics", []right{{"r", "/penstock/topics/"}}, func(ctx context.Context, rt *penstock.Runtime) error {
			_, err := rt.ListTopics(ctx)
			return err
		}},
		{"describe topics and groups", []right{
			{"r", "/penstock/topics/"}, {"r", "/penstock/log/"}, {"r", "/penstock/groups/"}, {"r", "/penstock/offsets/"},
		}, func(ctx context.Context, rt *penstock.Runtime) error {
			if _, err := rt.DescribeTopic(ctx, "audit"); err != nil {
				return err
			}
			if _, err := rt.ListConsumerGroups(ctx, "audit"); err != nil {
				return err
			}
			_, err := rt.DescribeConsumerGroup(ctx, "audit", "known")
			return err
		}},
		{"put", []right{{"r", "/penstock/topics/audit"}, {"rw", "/penstock/log/" + id + "/"}}, func(ctx context.Context, rt *penstock.Runtime) error {
			topic, err := rt.Topic(ctx, "audit")
			if err != nil {
				return err
			}
			_, _, err = topic.Put(ctx, harness.Numbered(2))
			return err
		}},
		{"consume", []right{
			{"r", "/penstock/topics/audit"}, {"r", "/penstock/log/" + id + "/"},
			{"rw", "/penstock/groups/" + id + "/export/"}, {"rw", "/penstock/offsets/" + id + "/export/"},
		}, func(ctx context.Context, rt *penstock.Runtime) error {
			topic, err := rt.Topic(ctx, "audit")
			if err != nil {
				return err
			}
			s, err := topic.Subscribe(ctx, "export")
			if err != nil {
				return err
			}
			recs, err := s.Poll(ctx, 1)
			if err != nil {
				return err
			}
			if err := s.Commit(ctx, recs...); err != nil {
				return err
			}
			if err := s.Unsubscribe(ctx); err != nil {
				return err
			}
			_, err = rt.ResetOffsets(ctx, "audit", "export", penstock.FromEarliest())
			return err
		}},
		{"make, change, delete topics", []right{
			{"rw", "/penstock/topics/"}, {"rw", "/penstock/log/"}, {"rw", "/penstock/groups/"}, {"rw", "/penstock/offsets/"}, {"rw", "/penstock/deleting/"},
		}, func(ctx context.Context, rt *penstock.Runtime) error {
			if _, err := rt.CreateTopic(ctx, "bills", penstock.TopicConfig{}); err != nil {
				return err
			}
			if _, err := rt.UpdateTopic(ctx, "bills", penstock.TopicUpdate{Partitions: 2}); err != nil {
				return err
			}
			bills, err := admin.Topic(ctx, "bills")
			if err != nil {
				return err
			}
			s, err := bills.Subscribe(ctx, "export")
			if err != nil {
				return err
			}
			if err := s.Unsubscribe(ctx); err != nil {
				return err
			}
			return rt.DeleteTopic(ctx, "bills")
		}},
	} {
		t.Run(row.may, func(t *testing.T) {
			if strings.HasPrefix(row.may, "describe") {
				s, err := audit.Subscribe(ctx, "known")
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Unsubscribe(ctx); err != nil {
					t.Fatal(err)
				}
			}
			doing, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			rt := g.runtime(t, row.rights)
			if err := row.do(doing, rt); err != nil {
				t.Fatalf("with all rights of the row: %v", err)
			}
			quit(t, rt)
			for i, r := range row.rights {
				less := slices.Delete(slices.Clone(row.rights), i, i+1)
				if r.kind == "rw" {
					less = append(less, right{"r", r.key}) // reading alone is not enough
				}
				began := time.Now()
				doing, cancel := context.WithTimeout(ctx, 20*time.Second)
				rt := g.runtime(t, less)
				events := penstocktest.Record(t, rt)
				done := make(chan error, 1)
				go func() { done <- row.do(doing, rt) }()
				if r.key == "/penstock/secret/orders/billing/" || r.kind == "r" && strings.HasPrefix(r.key, "/penstock/log/"+id) && row.may == "consume" {
					// It is in, and gets nothing: an event says why.
					penstocktest.WaitEvent(t, events, harness.Patience, saysDenied)
					cancel()
					<-done
					quit(t, rt)
					continue
				}
				err := <-done
				cancel()
				quit(t, rt)
				if !errors.Is(err, penstock.ErrDenied) {
					t.Errorf("without %s: %v after %s, want ErrDenied", r, err, time.Since(began))
				}
			}
		})
	}
}

// Promise: who loses the right to read the tokens of a group in etcd loses its link by the
// next rotation, and hears that etcd denies it the new token; who keeps it stays in the
// group, and what was sent is handled once.
func TestRightLostInEtcd(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	rootCfg := g.srv.Config()
	rootCfg.Username, rootCfg.Password = "root", "secret"
	admin := g.start(t, rootCfg)
	ctx := harness.Context(t)
	orders := harness.Register(t, admin, "orders")
	senderSees := penstocktest.Record(t, admin)
	rights := []right{
		{"r", "/penstock/dest/orders/senders/"}, {"rw", "/penstock/dest/orders/groups/billing/"}, {"r", "/penstock/secret/orders/billing/"},
	}
	keeps, loses := g.runtime(t, rights), g.runtime(t, rights)
	loser := fmt.Sprintf("user%d", g.users)
	ledger := harness.NewLedger()
	ledger.Handle(t, "keeps", harness.Join(t, keeps, "orders", "billing", penstock.MemberID("keeps")))
	ledger.Handle(t, "loses", harness.Join(t, loses, "orders", "billing", penstock.MemberID("loses")))
	for _, member := range []string{"keeps", "loses"} {
		penstocktest.WaitEvent(t, senderSees, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == member })
	}
	harness.Send(t, orders, 0, 200)
	if _, err := g.root.RoleRevokePermission(ctx, loser, "/penstock/secret/orders/billing/", clientv3.GetPrefixRangeEnd("/penstock/secret/orders/billing/")); err != nil {
		t.Fatal(err)
	}
	denied := penstocktest.Record(t, loses)
	again := penstocktest.Record(t, admin)
	if _, err := admin.RotateTokens(ctx, "orders", "billing", time.Second); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, again, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "loses" && e.Cause != nil })
	penstocktest.WaitEvent(t, again, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "keeps" })
	penstocktest.WaitEvent(t, denied, harness.Patience, saysDenied)
	before := ledger.Tally().By["loses"]
	harness.Send(t, orders, 200, 400)
	ledger.Await(t, "all", func(now harness.Tally) bool { return now.Distinct == 400 })
	if now := ledger.Tally(); now.By["loses"] != before || now.Total != 400 {
		t.Errorf("who has lost the right has handled %d more; %d handlings of 400 messages", now.By["loses"]-before, now.Total)
	}
}
