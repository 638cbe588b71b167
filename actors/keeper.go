package actors

// The keeper: who ends an engine whose root actor was ended by somebody else.

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/supervisor"
)

// keeper watches the root actor, from beside it. When that has ended and nobody has
// called Stop, a bug has used up the budget, or the user has stopped it as he may
// stop any actor of his system. Then the keeper does what a Stop without time does:
// nothing of the engine's is left in etcd, and whoever waits hears of the end.
//
//	watching ──root ended──▶ ending ──ended──▶ (stopped)
type keeper struct {
	eng   *Engine
	host  supervisor.Host
	state keeperState
}

type keeperState string

const keeperWatching, keeperEnding keeperState = "watching", "ending"

var keeperMoves = supervisor.Moves[keeperState]{
	"":             {keeperWatching},
	keeperWatching: {keeperEnding},
}

// ended: the engine is over.
type ended struct{}

// keeperName is what its name ends in, after the root actor's.
const keeperName = "-keeper"

func newKeeper(e *Engine) actor.Producer {
	return func() actor.Actor { return &keeper{eng: e} }
}

func (k *keeper) Receive(ctx actor.Context) {
	msg, mine := k.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch msg.(type) {
	case *actor.Started:
		k.host.Begin(ctx)
		k.state = keeperMoves.To(ctx, k.state, keeperWatching)
		ctx.Watch(k.eng.node.Root) // one that has ended already says so
	case *actor.Terminated:
		k.rootEnded(ctx)
	case ended, *supervisor.Ended:
		ctx.Stop(ctx.Self())
	case *actor.Restarting:
		k.host.End()
	case *actor.Stopping:
		ctx.Unwatch(k.eng.node.Root)
		k.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (k *keeper) rootEnded(ctx actor.Context) {
	if k.state != keeperWatching {
		return
	}
	k.state = keeperMoves.To(ctx, k.state, keeperEnding)
	eng := k.eng
	supervisor.Call(&k.host, "end", func(ctx context.Context) ended {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), node.StopGrace)
		defer cancel()
		eng.endUnasked(ctx)
		return ended{}
	})
}
