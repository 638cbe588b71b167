package pipes_test

// Members near by first, over real links.

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

func inZone(name string) func(*actors.Config) { return func(c *actors.Config) { c.Zone = name } }

// Promise: members of the sender's zone get all, and when they are full those elsewhere get
// what is above the number that may wait; when they leave, the others get everything.
func TestZonesOverLinks(t *testing.T) {
	t.Parallel()
	s := enginetest.NewSpace(t)
	d := enginetest.Register(t, s.Begin(t, inZone("eu-1a")), senders.Config{PreferZone: true, FarAbove: 20})
	far := enginetest.Join(t, s.Begin(t, inZone("eu-1b")), members.Config{})
	near := enginetest.Join(t, s.Begin(t, inZone("eu-1a")), members.Config{Window: 10})
	type got struct{ who string }
	all := make(chan got, 1024)
	hold := make(chan struct{})
	take := func(who string, wait <-chan struct{}) messages.Handler {
		return func(ctx context.Context, _ messages.Delivery) error {
			select {
			case <-wait:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			all <- got{who}
			return nil
		}
	}
	open := make(chan struct{})
	close(open)
	enginetest.Consume(t, far, take("far", open))
	gate := make(chan struct{})
	enginetest.Consume(t, near, func(ctx context.Context, x messages.Delivery) error {
		select {
		case <-gate: // the second part: nothing is handled
			return take("near", hold)(ctx, x)
		default:
			return take("near", open)(ctx, x)
		}
	})
	enginetest.Until(t, "both read", func() bool { return near.Stats().Links == 1 && far.Stats().Links == 1 })
	count := func(n int) map[string]int {
		who := make(map[string]int)
		for range n {
			who[enginetest.Await(t, "a message", all).who]++
		}
		return who
	}
	// Until the sender has heard that the near one reads, the far one gets everything.
	enginetest.Until(t, "the near one gets a message", func() bool {
		enginetest.Send(t, d, 1)
		return count(1)["near"] == 1
	})
	for range 200 {
		enginetest.Send(t, d, 1)
		if who := count(1); who["near"] != 1 {
			t.Fatalf("%v of a message, while the member of the zone has room", who)
		}
	}
	close(gate)
	enginetest.Send(t, d, 100) // 10 in the window, 20 wait, 70 go elsewhere
	if who := count(70); who["far"] != 70 {
		t.Errorf("%v while the zone is full, want far 70", who)
	}
	if err := near.Leave(enginetest.Within(t)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Log(err)
	}
	if who := count(30); who["far"] != 30 {
		t.Errorf("%v when the zone has left, want far 30", who)
	}
}

func TestZoneIsChecked(t *testing.T) {
	for name, zone := range map[string]string{"long": strings.Repeat("x", 64), "control": "eu\n1a", "not UTF-8": "\xff"} {
		cfg := actors.Config{Zone: zone}
		cfg.EnsureDefaults()
		if err := cfg.Validate(); !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), "zone") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := messages.ValidateZone(strings.Repeat("x", messages.LargestZone)); err != nil {
		t.Error(err)
	}
	cfg := senders.Config{Name: "orders", PreferZone: true, FarAbove: -1}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); !errors.Is(err, messages.ErrInvalid) {
		t.Error(err)
	}
}
