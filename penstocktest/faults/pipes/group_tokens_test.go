package pipes_test

// Tokens that admit to one group.

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/socket"
)

// groupToken waits for a sender's token for a group that is not old.
func groupToken(t *testing.T, ns, dest, group, sender string, old []byte) (key string, token []byte) {
	t.Helper()
	key = ns + "/secret/" + dest + "/" + group + "/" + sender
	harness.Eventually(t, "there is a token at "+key, func() bool {
		got, err := harness.Client(t).Get(harness.Context(t), key)
		if err != nil {
			t.Fatal(err)
		}
		secret := &pb.Secret{}
		if len(got.Kvs) == 0 || proto.Unmarshal(got.Kvs[0].Value, secret) != nil || bytes.Equal(secret.Token, old) {
			return false
		}
		token = secret.Token
		return true
	})
	return key, token
}

// Promise: the token of a group admits to that group and to no other. When its key is
// deleted in etcd, the links that were made with it end at once, an event says why, and it
// admits nobody any more; members that may read the next one link again, nothing is lost,
// and other groups do not notice.
func TestTokenOfAGroup(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"))
	members := harness.Runtime(t, ns)
	ledger := harness.NewLedger()
	ledger.Handle(t, "billing", harness.Join(t, members, "orders", "billing", penstock.MemberID("honest")))
	audit := harness.NewLedger()
	audit.Handle(t, "audit", harness.Join(t, members, "orders", "audit", penstock.MemberID("auditor")))
	harness.Send(t, orders, 0, 100)

	key, token := groupToken(t, ns, "orders", "billing", "s", nil)
	refused := func(group string) {
		t.Helper()
		var bye *socket.RefusedError
		if _, err := intrude(t, orders.URL(), token, "orders", group, "mallory"); !errors.As(err, &bye) || bye.Code != pb.Code_BAD_PROOF {
			t.Errorf("joining %s with the token of billing: %v, want a refusal for a bad proof", group, err)
		}
	}
	refused("audit")
	conn, err := intrude(t, orders.URL(), token, "orders", "billing", "mallory")
	if err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	if _, err := harness.Client(t).Delete(harness.Context(t), key); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"mallory", "honest"} {
		penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool {
			return e.Member == member && e.Cause != nil && strings.Contains(e.Cause.Error(), "the token of the group was deleted in etcd")
		})
	}
	select {
	case <-conn.Done():
	case <-time.After(harness.Patience):
		t.Error("the connection is there still")
	}
	t.Logf("links ended after %v", time.Since(began))
	refused("billing")
	groupToken(t, ns, "orders", "billing", "s", token)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "honest" && e.Group == "billing" })
	harness.Send(t, orders, 100, 200)
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*harness.Ledger{"billing": ledger, "audit": audit} {
		l.Await(t, "all of "+name, func(now harness.Tally) bool { return now.Distinct == 200 })
	}
	for _, e := range events.Events() {
		if e, ok := e.(messages.MemberUnlinked); ok && e.Group == "audit" {
			t.Errorf("another group's link ended: %+v", e)
		}
	}
}
