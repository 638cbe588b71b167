package actors_test

// A call that its caller gave up leaves nothing behind that others would wait for.

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: a Register that its caller gave up leaves nothing in etcd, even when
// its write was under way and came through.
func TestRegisterGivenUp(t *testing.T) {
	s := enginetest.NewSpace(t)
	givenUp(t, s, "destination", "registering", func(ctx context.Context, e *actors.Engine) error {
		_, err := e.Register(ctx, senders.Config{Name: "orders", ID: "late"})
		return err
	})
}

// Promise: so does a Join: no member that does not exist keeps its group.
func TestJoinGivenUp(t *testing.T) {
	s := enginetest.NewSpace(t)
	givenUp(t, s, "member", "entering", func(ctx context.Context, e *actors.Engine) error {
		_, err := e.Join(ctx, members.Config{Destination: "orders", Group: "billing", ID: "late"})
		return err
	})
}

// givenUp gives a call up whose key, named late, is in etcd, but whose engine
// does not know that yet.
func givenUp(t *testing.T, s enginetest.Space, kind, early string, call func(context.Context, *actors.Engine) error) {
	look := s.Client(t)
	s, etcd := s.Behind(t, "late")
	defer etcd.Open()
	e := s.Begin(t)
	enginetest.Join(t, e, members.Config{ID: "first"}) // the group is known, so one write does
	before := len(enginetest.ActorsOf(e, kind))
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	called := enginetest.Aside(func() error { return call(ctx, e) })
	enginetest.Await(t, "the keys are on their way", etcd.Closed())
	enginetest.Until(t, "the keys stand", func() bool { return len(s.With(t, look, "late")) > 0 })
	giveUp()
	if err := enginetest.Outcome(t, "the call", called); !errors.Is(err, context.Canceled) {
		t.Errorf("the call: %v", err)
	}
	enginetest.Until(t, "the "+kind+" retires", func() bool {
		return !slices.ContainsFunc(enginetest.ActorsOf(e, kind), func(info supervisor.Info) bool { return info.State == early })
	})
	etcd.Open()
	enginetest.Until(t, "the actor ends", func() bool { return len(enginetest.ActorsOf(e, kind)) == before })
	enginetest.Until(t, "the keys are gone", func() bool { return len(s.With(t, look, "late")) == 0 })
}
