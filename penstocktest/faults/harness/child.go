package harness

// Children of a user's own actors.

import (
	"context"
	"errors"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/supervisor"
)

// Adopt spawns a child under a parent that ends with the test, and waits until the
// parent is told R, or why the child failed.
func Adopt[R any](t *testing.T, rt *penstock.Runtime, props *actor.Props) (*actor.PID, error) {
	t.Helper()
	system := rt.Engine().System()
	children, told := make(chan *actor.PID, 1), make(chan any, 16)
	parent := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			children <- ctx.Spawn(props)
		case R, *supervisor.Failed:
			select {
			case told <- m:
			default: // nobody waits for more
			}
		}
	}))
	t.Cleanup(func() { StopActor(t, system, parent) })
	child := Await(t, "the child", children)
	if f, ok := Await(t, "what the parent is told", told).(*supervisor.Failed); ok {
		return child, f.Err
	}
	return child, nil
}

// StopActor ends an actor that may have ended.
func StopActor(t *testing.T, system *actor.ActorSystem, pid *actor.PID) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := supervisor.Stop(ctx, system, pid); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
		t.Error("stop an actor:", err)
	}
}
