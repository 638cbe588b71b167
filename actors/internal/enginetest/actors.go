package enginetest

// The actors of an engine, which tests stop and make fail.

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Root is the kind of the engine's own actor.
const Root = "engineActor"

// ActorsOf returns an engine's actors of a kind: the name of its Go type.
func ActorsOf(e *actors.Engine, kind string) (out []supervisor.Info) {
	for _, info := range e.Tree() {
		if strings.HasSuffix(info.Type, "."+kind) {
			out = append(out, info)
		}
	}
	return out
}

// StopActor stops an actor, which nobody asked to end.
func StopActor(e *actors.Engine, info supervisor.Info) {
	sys := e.System()
	sys.Root.Stop(sys.NewLocalPID(info.ID))
}

// Crash makes every actor of a kind fail, and returns them. It does not wait.
func Crash(e *actors.Engine, kind string) []supervisor.Info {
	crashed := ActorsOf(e, kind)
	sys := e.System()
	for _, info := range crashed {
		sys.Root.Send(sys.NewLocalPID(info.ID), node.Crash{Err: fmt.Errorf("a bug in %s", kind)})
	}
	return crashed
}

// CrashAll makes every actor of a kind fail, waits until each has begun again or
// ended, and returns how many there were. A link is the only one that may end.
func CrashAll(t *testing.T, e *actors.Engine, kind string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	events := e.Events(ctx)
	crashed := Crash(e, kind)
	if len(crashed) == 0 {
		return 0
	}
	waiting := make(map[string]bool)
	for _, info := range crashed {
		waiting[info.ID] = true
	}
	for event := range events {
		switch m := event.(type) {
		case messages.ActorRestarted:
			delete(waiting, m.Actor)
		case messages.ActorStopped:
			if kind == "link" {
				delete(waiting, m.Actor) // it is not restarted: its member dials again
				continue
			}
			if waiting[m.Actor] {
				t.Errorf("%s was given up: %v", m.Actor, m.Err)
				delete(waiting, m.Actor)
			}
		}
		if len(waiting) == 0 {
			return len(crashed)
		}
	}
	t.Fatalf("these were not heard of: %v", waiting)
	return len(crashed)
}
