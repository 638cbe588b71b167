package actors_test

// An engine and its parts may end in any order, by anybody's hand, and whoever
// waits for one of them hears of it.

import (
	"context"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a Leave whose member fails meanwhile is continued by the member's next
// incarnation.
func TestLeaveWhileMemberRestarts(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	handling, release := make(chan struct{}, 8), make(chan struct{})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error {
		handling <- struct{}{}
		<-release
		return nil
	})
	enginetest.Send(t, d, 1)
	enginetest.Await(t, "the handler has the message", handling)
	left := enginetest.Aside(func() error { return m.Leave(context.Background()) })
	enginetest.Until(t, "the member leaves", func() bool {
		all := enginetest.ActorsOf(e, "member")
		return len(all) == 1 && all[0].State == "leaving"
	})
	enginetest.Crash(e, "member")
	close(release) // the next incarnation begins when the handler has returned
	if err := enginetest.Outcome(t, "leave", left); err != nil {
		t.Errorf("leave: %v", err)
	}
	enginetest.Until(t, "the member is gone", func() bool { return len(enginetest.ActorsOf(e, "member")) == 0 })
	if left := s.With(t, s.Client(t), "/members/"); len(left) > 0 {
		t.Errorf("these keys are left: %v", left)
	}
}
