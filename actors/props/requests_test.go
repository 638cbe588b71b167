package props_test

// Requests over restarts of the destination's actor.

import (
	"errors"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

// Who waits for a reply hears that the destination's actor has restarted, once, and the
// sender takes other requests. The message itself is still delivered.
func TestADestinationRestartsUnderARequest(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	p, _, pids := family(t, e, map[string]*actor.Props{"orders": e.Destination(actors.DestinationConfig{Name: "orders"})})
	hears[*messages.Registered](t, p)
	held := make(chan messages.Delivery, 10)
	receiver := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.Delivery); ok {
			held <- *d
		}
	}))
	t.Cleanup(func() { stop(t, e, receiver) })
	family(t, e, map[string]*actor.Props{
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing"}, actors.Receiver{To: receiver}),
	})
	replies := make(chan *messages.Replied, 10)
	asker := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*messages.Replied); ok {
			replies <- m
		}
	}))
	t.Cleanup(func() { stop(t, e, asker) })
	request := func(value string) {
		sys.Root.RequestWithCustomSender(pids["orders"], &messages.Request{
			Message: messages.Message{Value: []byte(value)}, Timeout: time.Minute, Group: "billing",
		}, asker)
	}
	for {
		request("first")
		select {
		case r := <-replies: // the group is not known yet
			if !errors.Is(r.Err, messages.ErrNoGroup) && !errors.Is(r.Err, messages.ErrNoMember) {
				t.Fatal(r.Err)
			}
			continue
		case first := <-held:
			destination, _ := sys.ProcessRegistry.Get(pids["orders"])
			destination.SendSystemMessage(pids["orders"], &actor.Restart{})
			if r := enginetest.Await(t, "the end of the request", replies); !errors.Is(r.Err, messages.ErrRestarted) {
				t.Errorf("over a restart: %v", r.Err)
			}
			if err := first.Reply(messages.Message{Value: []byte("late")}); err != nil {
				t.Error(err)
			}
		}
		break
	}
	request("second")
	second := enginetest.Await(t, "the next request", held)
	if err := second.Reply(messages.Message{Value: []byte("reply")}); err != nil {
		t.Error(err)
	}
	if r := enginetest.Await(t, "its reply", replies); r.Err != nil || string(r.Reply.Value) != "reply" {
		t.Errorf("%q, %v", r.Reply.Value, r.Err)
	}
	if n := len(replies); n > 0 {
		t.Errorf("%d replies more", n)
	}
}
