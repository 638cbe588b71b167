package pipes_test

// Tokens that are rotated and revoked.

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/socket"
)

// refusedToken checks that a token admits nobody.
func refusedToken(t *testing.T, d *penstock.Destination, token []byte, group string) {
	t.Helper()
	var bye *socket.RefusedError
	conn, err := intrude(t, d.URL(), token, d.Name(), group, "mallory")
	if err == nil {
		conn.Close()
	}
	if !errors.As(err, &bye) || bye.Code != pb.Code_BAD_PROOF {
		t.Errorf("joining %s with a token that is over: %v, want a refusal for a bad proof", group, err)
	}
}

// rotated waits until a sender has written the token of a generation.
func rotated(t *testing.T, rt *penstock.Runtime, dest, group string, generation uint64) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("the token of %s is of generation %d", group, generation), func() bool {
		all, err := rt.DescribeTokens(harness.Context(t), dest)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if one.Group == group && len(one.Senders) > 0 {
				return one.Senders[0].Generation == generation && one.Generation == generation
			}
		}
		return false
	})
}

// Promise: tokens are rotated under load, and nothing is lost; nothing is handled twice,
// but what members had that were killed meanwhile. No link is made with a token that is
// over, and links of one end before it is.
func TestTokensRotatedUnderLoad(t *testing.T) {
	rotations, kills := 20, 5
	if testing.Short() {
		rotations, kills = 6, 2
	}
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	stays := memberProcess(t, ns, "stays", penstock.AtLeastOnce, l)
	victim := memberProcess(t, ns, "victim-0", penstock.AtLeastOnce, l)
	stays.awaitReady(t)
	victim.awaitReady(t)
	load := harness.StartLoad(t, orders)
	l.Await(t, "both at work", func(now harness.Tally) bool { return now.By["stays"] > 100 && now.By["victim-0"] > 100 })
	_, token := groupToken(t, ns, "orders", "billing", "s", nil)
	tokens := [][]byte{token}
	killed := 0
	// ended counts the links of the member that stays which ended, in order.
	ended := func() (n int) {
		for _, e := range events.Events() {
			if e, ok := e.(messages.MemberUnlinked); ok && e.Member == "stays" {
				if e.Cause == nil || !strings.Contains(e.Cause.Error(), "the token was replaced") || e.Requeued > 0 {
					t.Fatalf("a link that was to end in order: %+v", e)
				}
				n++
			}
		}
		return n
	}
	for i := 1; i <= rotations; i++ {
		// A busy machine has half of the grace to finish what is in hand.
		generations, err := rt.RotateTokens(harness.Context(t), "orders", "billing", 6*time.Second)
		if err != nil || generations["billing"] != uint64(i) {
			t.Fatalf("rotation %d: %v, %v", i, generations, err)
		}
		if i > rotations-kills {
			victim.kill(t)
			killed++
			victim = memberProcess(t, ns, fmt.Sprintf("victim-%d", killed), penstock.AtLeastOnce, l)
			victim.awaitReady(t)
		}
		_, token = groupToken(t, ns, "orders", "billing", "s", tokens[i-1])
		tokens = append(tokens, token)
		if i > 1 {
			refusedToken(t, orders, tokens[i-2], "billing")
		}
		harness.Eventually(t, "the member links again", func() bool { return ended() == i })
		at := l.Tally().By["stays"]
		l.Await(t, "it goes on", func(now harness.Tally) bool { return now.By["stays"] > at+50 })
		if now := l.Tally(); killed == 0 && now.Total != now.Distinct {
			t.Fatalf("rotation %d: %d messages were handled twice", i, now.Total-now.Distinct)
		}
	}
	for i, old := range tokens[:rotations-1] {
		if bytes.Equal(old, tokens[rotations]) {
			t.Errorf("the token of generation %d is used again", i)
		}
		refusedToken(t, orders, old, "billing")
	}
	n := harness.Settle(t, load, orders, l)
	l.Complete(t, n, killed*window)
}

// Promise: a group's tokens are revoked: its links end within two seconds, also those that
// were about to end in order, and the tokens admit nobody any more. Other groups stay; with
// all groups, all end. A member that may read the new token is back.
func TestTokensRevoked(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	members := harness.Runtime(t, ns)
	ledger := harness.NewLedger()
	ledger.Handle(t, "billing", harness.Join(t, members, "orders", "billing", penstock.MemberID("honest")))
	harness.Join(t, members, "orders", "audit", penstock.MemberID("auditor"))
	_, first := groupToken(t, ns, "orders", "billing", "s", nil)
	early, err := intrude(t, orders.URL(), first, "orders", "billing", "early")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.RotateTokens(harness.Context(t), "orders", "billing", time.Hour); err != nil {
		t.Fatal(err)
	}
	_, second := groupToken(t, ns, "orders", "billing", "s", first)
	beside, err := intrude(t, orders.URL(), first, "orders", "billing", "beside") // it admits still
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	generations, err := rt.RevokeTokens(harness.Context(t), "orders", "billing")
	if err != nil || generations["billing"] != 2 {
		t.Fatal(generations, err)
	}
	for _, conn := range []*socket.Conn{early, beside} {
		select {
		case <-conn.Done():
		case <-time.After(harness.Patience):
			t.Fatal("a link of a revoked token is there still")
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("links have ended after %s", took)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool {
		return e.Member == "beside" && e.Cause != nil && strings.Contains(e.Cause.Error(), "revoked")
	})
	refusedToken(t, orders, first, "billing")
	refusedToken(t, orders, second, "billing")
	rotated(t, rt, "orders", "billing", 2)
	harness.Send(t, orders, 0, 100)
	ledger.Await(t, "all", func(now harness.Tally) bool { return now.Distinct == 100 })
	for _, e := range events.Events() {
		if e, ok := e.(messages.MemberUnlinked); ok && e.Group == "audit" {
			t.Errorf("another group's link ended: %+v", e)
		}
	}
	if _, err := rt.RevokeTokens(harness.Context(t), "orders", ""); err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "auditor" })
	rotated(t, rt, "orders", "", 1)
	rotated(t, rt, "orders", "audit", 1)
}

// Promise: what is revoked or deleted while a sender is cut off from etcd stays so when it
// is back, whether its lease has ended meanwhile or not. Of what was deleted when the lease
// had ended, nothing can tell: then the token is replaced in order.
func TestTokensRevokedWhileCutOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lost   bool // its lease ends meanwhile
		revoke func(t *testing.T, admin *penstock.Runtime, key string)
		ends   bool // at once
	}{
		"revoked":             {false, revokeBilling, true},
		"revoked, lease lost": {true, revokeBilling, true},
		"deleted": {false, func(t *testing.T, _ *penstock.Runtime, key string) {
			if _, err := harness.Client(t).Delete(harness.Context(t), key); err != nil {
				t.Fatal(err)
			}
		}, true},
		"lease lost": {true, func(*testing.T, *penstock.Runtime, string) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := penstocktest.Space(t)
			ttl := time.Minute
			if c.lost {
				ttl = 5 * time.Second
			}
			between := penstocktest.NewProxy(t, strings.TrimPrefix(harness.Etcd.Endpoint(), "http://"))
			rt := harness.OrderlyRuntime(t, penstock.Prefix(ns), penstock.LeaseTTL(ttl), penstock.Etcd(between.Addr()))
			orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
			admin := harness.Runtime(t, ns)
			harness.Join(t, admin, "orders", "billing", penstock.MemberID("honest"))
			key, token := groupToken(t, ns, "orders", "billing", "s", nil)
			conn, err := intrude(t, orders.URL(), token, "orders", "billing", "mallory")
			if err != nil {
				t.Fatal(err)
			}
			between.Cut()
			c.revoke(t, admin, key)
			if c.lost {
				harness.Eventually(t, "its keys are gone", func() bool {
					got, err := harness.Client(t).Get(harness.Context(t), ns+"/secret/", clientv3.WithPrefix(), clientv3.WithLimit(2))
					if err != nil {
						t.Fatal(err)
					}
					return got.Count <= 1 // the generation stays
				})
			}
			select {
			case <-conn.Done():
				t.Error("a sender that is cut off has ended a link")
			default:
			}
			between.Resume()
			_, next := groupToken(t, ns, "orders", "billing", "s", token)
			if !c.ends {
				select {
				case <-conn.Done():
					t.Error("the link has ended at once")
				default:
				}
				return
			}
			select {
			case <-conn.Done():
			case <-time.After(harness.Patience):
				t.Fatal("the link is there still")
			}
			refusedToken(t, orders, token, "billing")
			if again, err := intrude(t, orders.URL(), next, "orders", "billing", "friend"); err != nil {
				t.Errorf("with the next token: %v", err)
			} else {
				again.Close()
			}
		})
	}
}

func revokeBilling(t *testing.T, admin *penstock.Runtime, _ string) {
	if _, err := admin.RevokeTokens(harness.Context(t), "orders", "billing"); err != nil {
		t.Fatal(err)
	}
}

// Promise: nothing of tokens is left behind by a group that is gone, and who names a group
// or a destination that is not there is told so.
func TestTokensOfAGroupThatIsGone(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	if _, err := rt.RotateTokens(harness.Context(t), "orders", "", 0); !errors.Is(err, penstock.ErrNoDestination) {
		t.Errorf("of no destination: %v", err)
	}
	harness.Register(t, rt, "orders", penstock.SenderID("s"), penstock.DropWithoutGroup())
	m := harness.Join(t, rt, "orders", "billing", penstock.KeepFor(time.Second))
	for _, c := range []struct {
		group string
		grace time.Duration
		want  error
	}{
		{"audit", 0, penstock.ErrNoGroup}, {"a/b", 0, penstock.ErrInvalid}, {"billing", time.Millisecond, penstock.ErrInvalid}, {"billing", 0, nil},
	} {
		if _, err := rt.RotateTokens(harness.Context(t), "orders", c.group, c.grace); !errors.Is(err, c.want) {
			t.Errorf("rotate %q with %s: %v, want %v", c.group, c.grace, err, c.want)
		}
	}
	rotated(t, rt, "orders", "billing", 1)
	if err := m.Leave(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	harness.AwaitKeys(t, harness.Client(t), ns+"/secret/", "the sender's token alone", harness.Exactly([]string{ns + "/secret/orders/s"}))
}
