package senders_test

import (
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/senders"
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
