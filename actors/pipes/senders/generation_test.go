package senders_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: the generation of the tokens for all groups outlives a sender that ends while it
// writes its token. Without it, what was revoked would be good again at a sender that was cut
// off from etcd meanwhile.
func TestGenerationOutlivesSenders(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{Name: "orders"})
	if _, err := e.RevokeTokens(ctx, "orders", ""); err != nil {
		t.Fatal(err)
	}
	if err := d.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.SettleToken(ctx, ""); err != nil {
		t.Fatal(err)
	}
	key := s.Keys.Generation("orders", "")
	if got, err := s.Client(t).Get(ctx, key); err != nil || got.Count != 1 {
		t.Errorf("%s is there %d times: %v", key, got.Count, err)
	}
}

// Promise: a sender that takes a group's key away and hears of that when the group is there
// again, with another token, ends no link of it.
func TestGroupsKeyGoesLate(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Begin(t)
	events := e.Events(ctx)
	d := enginetest.Register(t, e, senders.Config{ID: "mine"})
	m := enginetest.Join(t, e, members.Config{ID: "m"})
	enginetest.Until(t, "the link is there", func() bool { return len(d.Stats()) == 1 && d.Stats()[0].Links == 1 })
	key := s.Keys.GroupSecret("orders", "billing", "mine")
	held, err := proto.Marshal(&pb.Secret{Token: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	e.System().Root.Send(d.PID(), senders.TokensSeen(discovery.Delta{Deletes: []discovery.KV{{Key: key, Value: held}}}))
	// What follows in the actor's mailbox is heard after it.
	if _, err := e.RotateTokens(ctx, "orders", "", 0); err != nil {
		t.Fatal(err)
	}
	c := s.Client(t)
	enginetest.Until(t, "the token is written again", func() bool {
		got, err := c.Get(ctx, key)
		if err != nil || len(got.Kvs) != 1 {
			t.Fatal(got, err)
		}
		var now pb.Secret
		if err := proto.Unmarshal(got.Kvs[0].Value, &now); err != nil {
			t.Fatal(err)
		}
		return now.GetGeneration() == 1
	})
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e, ok := e.(messages.MemberUnlinked); ok {
			if e.Cause != nil && strings.Contains(e.Cause.Error(), "was deleted") {
				t.Errorf("the link ended: %v", e.Cause)
			}
			return
		}
	}
}
