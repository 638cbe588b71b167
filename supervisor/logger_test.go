package supervisor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// brokenLogger panics with every line while broken is set.
type brokenLogger struct{ broken *atomic.Bool }

func (brokenLogger) Enabled(context.Context, slog.Level) bool { return true }
func (l brokenLogger) Handle(context.Context, slog.Record) error {
	if l.broken.Load() {
		panic("the logger's")
	}
	return nil
}
func (l brokenLogger) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l brokenLogger) WithGroup(string) slog.Handler      { return l }

// A system whose logger panics is supervised as any other: the panic loses the
// line.
func TestALoggerThatPanicsFailsNobody(t *testing.T) {
	var broken atomic.Bool
	sys := actor.NewActorSystem(
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(brokenLogger{&broken}) }))
	defer sys.Shutdown()
	broken.Store(true)
	defer broken.Store(false)
	started, stopped := make(chan struct{}, 10), make(chan struct{}, 10)
	producer := func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				started <- struct{}{}
			case string:
				panic("a bug")
			case *actor.Stopping:
				stopped <- struct{}{}
				panic("another")
			}
		})
	}
	pid := sys.Root.Spawn(Props(producer))
	<-started
	sys.Root.Send(pid, "fail")
	<-started // begun again
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Stop(ctx, sys, pid); err != nil {
		t.Error(err)
	}
	<-stopped
}
