package node

// Handles and their actors, as the branches of the engine's actor keep them, and
// what those reply to who asks for one.

import (
	"cmp"
	"fmt"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Placement is a handle, its actor, and who waits for either. The actor that
// keeps it alone uses it.
type Placement[H any] struct {
	Handle  H
	PID     *actor.PID // nil while the actor has not begun
	Asker   *actor.PID
	Leavers []*actor.PID // wait for its end
	// Ended: the actor is gone, and its keys are being taken away in its place.
	Ended bool
}

// Withdrawn is the reply to a question that withdraws something: it has ended,
// and its name is free again.
type Withdrawn struct{}

// Release tells those who wait for an end.
func Release(ctx actor.Context, leavers ...*actor.PID) {
	for _, leaver := range leavers {
		if leaver != nil { // a Send, not a request
			supervisor.Notify(ctx, leaver, &Withdrawn{})
		}
	}
}

// Dismiss tells a caller that was not answered yet that it is over: why, or
// messages.ErrClosed. One that was told of an error hears this too late, and does not.
func Dismiss(ctx actor.Context, asker *actor.PID, announced *atomic.Bool, why error) {
	if announced.CompareAndSwap(false, true) {
		supervisor.Notify(ctx, asker, cmp.Or(why, messages.ErrClosed))
	}
}

// Refuse reports whether Stop was called, and tells who asks then: what is there
// ends.
func (n *Node) Refuse(ctx actor.Context) bool {
	if n.Stopping() {
		supervisor.Reply(ctx, messages.ErrClosed)
		return true
	}
	return false
}

// ErrOurs says that this runtime has that id itself, or has not quite left yet.
func ErrOurs(what, id string) error {
	return fmt.Errorf("%s %q %w, so the %w", what, id, messages.ErrExists, messages.ErrTaken)
}
