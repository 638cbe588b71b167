package supervisor

// Whoever asks hears at once of the reply, or why there will be none.

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

func TestAsk(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(actor.SystemMessage); !ok {
				ctx.Respond(ctx.Message())
			}
		})))
		ctx := t.Context()
		if got, err := Ask[int](ctx, sys, pid, 7); got != 7 || err != nil {
			t.Errorf("%d, %v", got, err)
		}
		if got, err := Ask[any](ctx, sys, pid, 7); got != 7 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		if _, err := Ask[int](ctx, sys, pid, errBoom); err != errBoom {
			t.Errorf("an error came as %v", err)
		}
		var wrong *ReplyError
		if _, err := Ask[int](ctx, sys, pid, "seven"); !errors.As(err, &wrong) || wrong.Want != "int" || wrong.Got != "string" || wrong.From != pid.Id {
			t.Errorf("another type came as %v", err)
		}
		if _, err := Ask[int](ctx, sys, nil, 7); !errors.Is(err, ErrNoActor) {
			t.Error(err)
		}
		mustStop(t, sys, pid)
		if _, err := Ask[int](ctx, sys, pid, 7); !errors.Is(err, ErrNoActor) {
			t.Error(err)
		}
	})
}

// question is what the actors of these tests are asked: each does what the value says.
type question string

// Promise: a guarded actor that fails while it handles a question has replied: Ask
// returns ErrFailed and the cause, before the next incarnation begins.
func TestAskOfAnActorThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			switch ctx.Message() {
			case question("fail"):
				Fail(ctx, errBoom)
			case question("panic"):
				panic(errBoom)
			case question("reply and fail"):
				ctx.Respond("a reply")
				Fail(ctx, errBoom)
			}
		}), WithGuardian(Policy{Backoff: Backoff{Min: time.Hour, Max: time.Hour}})))
		for _, q := range []question{"fail", "panic"} {
			began := time.Now()
			if _, err := Ask[string](t.Context(), sys, pid, q); !errors.Is(err, ErrFailed) || !errors.Is(err, errBoom) {
				t.Errorf("%s: %v", q, err)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("%s: heard after %v", q, took)
			}
			time.Sleep(2 * time.Hour) // until it is back
		}
		if got, err := Ask[string](t.Context(), sys, pid, question("reply and fail")); got != "a reply" || err != nil {
			t.Errorf("an actor that replied before it failed: %q, %v", got, err)
		}
		mustStop(t, sys, pid)
	})
}

// Promise: of a message sent in another way, its sender hears nothing that it does
// not know when the handler fails.
func TestFailureIsNoReplyToOthers(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		j := &journal{}
		asker := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(actor.SystemMessage); !ok {
				j.add("%T", ctx.Message())
			}
		}))
		pid := sys.Root.Spawn(Props(logged(&journal{}, "a", nil)))
		sys.Root.RequestWithCustomSender(pid, "boom", asker)
		time.Sleep(time.Second)
		j.want(t)
		mustStop(t, sys, pid, asker)
	})
}

// Promise: Ask returns ErrNoActor as soon as the actor has stopped, when it kept the
// question, and when the question was still queued; a guarded actor or not.
func TestAskOfAnActorThatStops(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		keeps := does(func(actor.Context) {})
		for what, props := range map[string]*actor.Props{
			"guarded": Props(keeps), "not guarded": actor.PropsFromProducer(keeps),
		} {
			pid := sys.Root.Spawn(props)
			asked := make(chan error, 1)
			go func() {
				_, err := Ask[string](context.Background(), sys, pid, question("kept"))
				asked <- err
			}()
			synctest.Wait()
			mustStop(t, sys, pid)
			synctest.Wait()
			select {
			case err := <-asked:
				if !errors.Is(err, ErrNoActor) {
					t.Errorf("%s: %v", what, err)
				}
			default:
				t.Fatalf("%s: who asked hears nothing", what)
			}
		}
	})
}

// Promise: a question that waits while its actor restarts is handled by the next
// incarnation.
func TestAskOfAnActorThatRestarts(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(logged(&journal{}, "a", func(ctx actor.Context) {
			if ctx.Message() == any(question("who?")) {
				ctx.Respond("I")
			}
		})))
		sys.Root.Send(pid, "boom")
		if got, err := Ask[string](t.Context(), sys, pid, question("who?")); got != "I" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		mustStop(t, sys, pid)
	})
}

// Promise: nothing of an Ask stays with the actor that replied.
func TestAskLeavesNoWatcher(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		dead := eventsOf[*actor.DeadLetterEvent](sys)
		pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(question); ok {
				ctx.Respond("a reply")
			}
		})))
		for range 3 {
			if _, err := Ask[string](t.Context(), sys, pid, question("?")); err != nil {
				t.Error(err)
			}
		}
		mustStop(t, sys, pid)
		synctest.Wait()
		for _, d := range dead.list() {
			t.Errorf("a dead letter: %T to %s", d.Message, d.PID.Id)
		}
	})
}
