package worker

// The handlers of one Consume, as the actor keeps them that is their parent.

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Handlers are the actors that work on a job. One that ends before the job does, because
// somebody has stopped it from outside or it was given up, is followed by another one. It
// is for the parent's goroutine.
type Handlers struct {
	node *node.Node
	job  Job
	of   map[string]*atomic.Bool // by PID: its part of the job is over
}

// BeginHandlers begins n handlers of a job as children of ctx's actor. It fails that
// actor when the system refuses.
func BeginHandlers(ctx actor.Context, n *node.Node, job Job, count int) *Handlers {
	h := &Handlers{node: n, job: job, of: make(map[string]*atomic.Bool)}
	for range count {
		h.begin(ctx)
	}
	return h
}

func (h *Handlers) begin(ctx actor.Context) {
	over := &atomic.Bool{}
	pid, err := ctx.SpawnNamed(supervisor.Props(newHandler(h.job, over)), h.node.Name("handler", ""))
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	h.of[pid.Id] = over
}

// Terminated hears of a child that has ended, and reports whether it was one of these. It
// may be called without any.
func (h *Handlers) Terminated(ctx actor.Context, who *actor.PID) bool {
	if h == nil {
		return false
	}
	over, mine := h.of[who.Id]
	if !mine {
		return false
	}
	delete(h.of, who.Id)
	if !over.Load() {
		h.node.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
		h.begin(ctx)
	}
	return true
}
