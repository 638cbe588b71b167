package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) != "" {
		crash() // pinning_test.go
		return
	}
	goleak.VerifyTestMain(m)
}

var errBoom = errors.New("boom")

func newSystem() *actor.ActorSystem {
	sys := actor.NewActorSystem(
		actor.WithDeadLetterThrottleInterval(time.Millisecond), // its goroutine lives for so long
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	Prepare(sys)
	return sys
}

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	if got := j.take(); !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// events records what is published, of type E.
type events[E any] struct {
	mu  sync.Mutex
	all []E
}

func eventsOf[E any](sys *actor.ActorSystem) *events[E] {
	e := &events[E]{}
	sys.EventStream.Subscribe(func(v any) {
		if ev, ok := v.(E); ok {
			e.mu.Lock()
			e.all = append(e.all, ev)
			e.mu.Unlock()
		}
	})
	return e
}

func (e *events[E]) list() []E {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// lifecycle names a lifecycle message, and returns "" for others.
func lifecycleName(m any) string {
	switch m.(type) {
	case *actor.Started:
		return "started"
	case *actor.Restarting:
		return "restarting"
	case *actor.Stopping:
		return "stopping"
	case *actor.Stopped:
		return "stopped"
	}
	return ""
}

// does makes one shared function of an actor.
func does(f func(ctx actor.Context)) actor.Producer {
	return func() actor.Actor { return actor.ReceiveFunc(f) }
}

// logged writes an actor's lifecycle into a journal, and fails on "boom".
func logged(j *journal, name string, f func(actor.Context)) actor.Producer {
	return func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if l := lifecycleName(ctx.Message()); l != "" {
				j.add("%s %s", name, l)
			}
			if ctx.Message() == any("boom") {
				Fail(ctx, errBoom)
			}
			if f != nil {
				f(ctx)
			}
		})
	}
}

// mustStop stops an actor, within ten virtual seconds.
func mustStop(t *testing.T, sys *actor.ActorSystem, pids ...*actor.PID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, pid := range pids {
		if err := Stop(ctx, sys, pid); err != nil {
			t.Error(err)
		}
	}
}

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T, sys *actor.ActorSystem)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, newSystem())
		time.Sleep(time.Second) // for the throttle, as a bubble's clock stops with this function
	})
}

// steady restarts without jitter: 1 s, 2 s, 4 s, 8 s and so on.
func steady() Policy {
	return Policy{Backoff: Backoff{Min: time.Second, Max: time.Minute, Factor: 2}}
}
