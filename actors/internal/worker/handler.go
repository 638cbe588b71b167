package worker

// One of the handlers that Consume runs at once.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/supervisor"
)

// handler hosts the user's function. What the function does wrong is a failed
// message, never a failed actor.
//
//	handling ──stream over──▶ (stopped)
type handler struct {
	c      Job
	over   *atomic.Bool // set when its part is
	host   supervisor.Host
	ctx    context.Context // ends with the consumption, or with this incarnation
	cancel context.CancelFunc
}

// Job is what handlers work on: a consumption of a group's messages or of a
// topic's records.
type Job interface {
	// Context ends it from outside.
	Context() context.Context
	// Work is one handler's part; it blocks until the stream or ctx ends.
	Work(ctx context.Context) error
	// Ended is told by each handler's actor when the stream is over.
	Ended()
	// Patience is how long an end still waits for handlers that do not return.
	Patience() time.Duration
}

// newHandler makes the actor of one handler of c.
func newHandler(c Job, over *atomic.Bool) actor.Producer {
	return func() actor.Actor { return &handler{c: c, over: over} }
}

func (h *handler) Receive(ctx actor.Context) {
	msg, mine := h.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		h.host.Begin(ctx)
		h.ctx, h.cancel = context.WithCancel(h.c.Context())
		h.work()
	case *supervisor.Ended:
		h.ended(ctx, m.Err)
	case *actor.Stopping, *actor.Restarting:
		if h.cancel != nil {
			h.cancel()
		}
		h.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (h *handler) work() {
	c, ctx := h.c, h.ctx
	h.host.RunUser("handle", c.Patience, func(context.Context) error { return c.Work(ctx) })
}

// ended: the stream is over; or the user's function ended its goroutine, which
// failed one message and takes another goroutine.
func (h *handler) ended(ctx actor.Context, err error) {
	var bug *supervisor.PanicError
	switch {
	case errors.Is(err, supervisor.ErrGoexit):
		h.work()
	case errors.As(err, &bug):
		supervisor.Fail(ctx, err)
	default:
		h.over.Store(true)
		h.c.Ended()
		ctx.Stop(ctx.Self())
	}
}
