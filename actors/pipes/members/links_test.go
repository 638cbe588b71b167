package members_test

// The links of a member end once, and not between two of its loops.

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a link that ends is told of once, and its end crashes nothing, also
// when its source is stopped while it waits to dial again.
func TestSourceStoppedInItsBackoff(t *testing.T) {
	const rounds = 3
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	linked, unlinked := make(chan struct{}, 100), make(chan struct{}, 100)
	events := e.Events(ctx)
	followed := make(chan struct{})
	var links, ends int
	go func() {
		defer close(followed)
		for event := range events {
			switch m := event.(type) {
			case messages.SenderLinked:
				links++
				linked <- struct{}{}
			case messages.SenderUnlinked:
				ends++
				unlinked <- struct{}{}
			case messages.ActorStopped:
				t.Errorf("%s: %v", m.Actor, m.Err)
			}
		}
	}()
	m := enginetest.Join(t, e, members.Config{})
	handled := make(chan struct{}, 100)
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error {
		handled <- struct{}{}
		return nil
	})
	for range rounds {
		enginetest.Await(t, "a link", linked)
		enginetest.Send(t, d, 1)
		enginetest.Await(t, "a message: the link has credit", handled)
		sources := enginetest.ActorsOf(e, "source")
		if len(sources) != 1 {
			t.Fatalf("%d sources, not 1", len(sources))
		}
		for _, link := range enginetest.ActorsOf(e, "link") {
			enginetest.StopActor(e, link) // the source dials again, after a while
		}
		enginetest.Await(t, "the end of the link", unlinked)
		enginetest.StopActor(e, sources[0]) // its member begins another, the sender being there
	}
	enginetest.Await(t, "the last link", linked)
	if err := e.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	enginetest.Await(t, "the end of the events", followed)
	if links != ends {
		t.Errorf("%d links, of which %d ended", links, ends)
	}
}

// Promise: a link that broke is dialled again, which is no failure of an actor.
func TestBrokenLinkIsDialledAgain(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	events := e.Events(enginetest.Within(t))
	enginetest.Register(t, e, senders.Config{})
	enginetest.Join(t, e, members.Config{})
	linked, delayed := 0, 0
	for event := range events {
		switch m := event.(type) {
		case messages.SenderLinked:
			if linked++; linked == 2 {
				if delayed != 1 {
					t.Errorf("%d events of the delay, not 1", delayed)
				}
				return
			}
			for _, link := range enginetest.ActorsOf(e, "link") {
				enginetest.StopActor(e, link)
			}
		case messages.LinkDelayed:
			delayed++
			if m.Destination == "" || m.Group == "" || m.Member == "" || m.Sender == "" || m.Err == nil || m.Attempt != 1 || m.Delay <= 0 {
				t.Errorf("%+v", m)
			}
		case messages.ActorRestarted:
			t.Errorf("%s: %v", m.Actor, m.Err)
		}
	}
	t.Error("the sender was not linked again")
}

// Promise: at most once loses messages with their link, and not between two
// loops of a member that lives.
func TestAtMostOnceBetweenLoops(t *testing.T) {
	const sent = 50 // less than the first window
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{Mode: messages.AtMostOnce})
	enginetest.Send(t, d, sent)
	got := 0
	for _, err := range m.Messages(ctx, false) {
		if err != nil {
			t.Fatal(err)
		}
		got++
		enginetest.Until(t, "the rest came too", func() bool { return m.Stats().Waiting == sent-1 })
		break
	}
	// Nothing is to happen now, so there is nothing to wait for but the time.
	<-time.After(2 * members.ReaderLinger)
	for _, err := range m.Messages(ctx, false) {
		if err != nil {
			t.Fatalf("%d of %d: %v", got, sent, err)
		}
		if got++; got == sent {
			break
		}
	}
	if n := e.Stats().Events["sender_unlinked"]; n != 0 {
		t.Errorf("%d links ended", n)
	}
}
