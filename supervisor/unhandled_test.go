package supervisor

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Promise: a message that an actor does not know is a dead letter with its sender, who
// is told; those of proto.actor and of hosts are not.
func TestUnhandled(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		dead := eventsOf[*actor.DeadLetterEvent](sys)
		var host Host
		pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			msg, mine := host.Open(ctx.Message())
			if !mine {
				return
			}
			switch msg.(type) {
			case *actor.Started:
				host.Begin(ctx)
				host.After(2*time.Second, "a tick that nobody waits for") // not with the timeout, which proto.actor handles with a race
				ctx.SetReceiveTimeout(time.Second)
				ctx.Stop(ctx.Spawn(Props(does(func(actor.Context) {}))))
			case *actor.Stopping:
				host.End()
			default:
				Unhandled(ctx)
			}
		})))
		time.Sleep(time.Minute)
		if got := dead.list(); len(got) > 0 {
			t.Errorf("a dead letter: %T", got[0].Message)
		}
		sys.Root.Send(pid, "hello")
		synctest.Wait()
		if got := dead.list(); len(got) != 1 || got[0].Message != "hello" || !got[0].PID.Equal(pid) {
			t.Errorf("dead letters: %+v", got)
		}
		if _, err := Ask[string](t.Context(), sys, pid, "who?"); !errors.Is(err, ErrNoActor) {
			t.Errorf("ask: %v", err)
		}
		synctest.Wait() // the letter comes after the answer
		if got := dead.list(); len(got) != 2 || got[1].Sender == nil {
			t.Errorf("dead letters: %+v", got)
		}
		mustStop(t, sys, pid)
	})
}
