package actors

// One of the handlers that Consume runs at once.

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/supervisor"
)

// handler hosts the user's function. What the function does wrong is a failed
// message, never a failed actor.
//
//	handling ──stream over──▶ (stopped)
type handler struct {
	c      *consumption
	host   supervisor.Host
	cancel context.CancelFunc
}

func newHandler(c *consumption) actor.Producer {
	return func() actor.Actor { return &handler{c: c} }
}

func (h *handler) Receive(ctx actor.Context) {
	msg, mine := h.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		h.host.Begin(ctx)
		c := h.c
		working, cancel := context.WithCancel(c.ctx)
		h.cancel = cancel
		h.host.Run("handle", func(context.Context) error { return c.work(working) })
	case *supervisor.Ended:
		var ended *supervisor.PanicError
		if errors.As(m.Err, &ended) || errors.Is(m.Err, errGoexit) {
			supervisor.Fail(ctx, m.Err) // begin another in its place
		}
		h.c.ended()
		ctx.Stop(ctx.Self())
	case *actor.Stopping, *actor.Restarting:
		if h.cancel != nil {
			h.cancel()
		}
		h.host.End()
	}
}
