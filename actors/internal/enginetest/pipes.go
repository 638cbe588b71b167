package enginetest

// A destination with a group, and what goes through it.

import (
	"cmp"
	"context"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Destination and Group are the names that Register and Join use when a
// configuration has none.
const (
	Destination = "orders"
	Group       = "billing"
)

// Register makes an engine a sender.
func Register(t *testing.T, e *actors.Engine, cfg actors.DestinationConfig) *actors.Destination {
	t.Helper()
	cfg.Name = cmp.Or(cfg.Name, Destination)
	d, err := e.Register(Within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Join makes an engine a member.
func Join(t *testing.T, e *actors.Engine, cfg actors.MemberConfig) *actors.Member {
	t.Helper()
	cfg.Destination, cfg.Group = cmp.Or(cfg.Destination, Destination), cmp.Or(cfg.Group, Group)
	m, err := e.Join(Within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Send sends n messages.
func Send(t *testing.T, d *actors.Destination, n int) {
	t.Helper()
	for range n {
		if err := d.Send(Within(t), messages.Message{Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

// Consume runs handlers until the member leaves or the test ends.
func Consume(t *testing.T, m *actors.Member, h messages.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := Aside(func() error { return m.Consume(ctx, h) })
	t.Cleanup(func() {
		cancel()
		_ = Outcome(t, "consume", over) // its context's end, or nil
	})
}
