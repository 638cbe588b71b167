package actors

// The guardian: who ends an engine whose root actor was ended by somebody else.

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/supervisor"
)

// guardian watches the root actor, from beside it. When that has ended and nobody has
// called Stop, a bug has used up the budget, or the user has stopped it as he may
// stop any actor of his system. Then the guardian does what a Stop without time does:
// nothing of the engine's is left in etcd, and whoever waits hears of the end.
//
//	watching ──root ended──▶ ending ──ended──▶ (stopped)
type guardian struct {
	eng   *Engine
	host  supervisor.Host
	state guardianState
}

type guardianState string

const guardianWatching, guardianEnding guardianState = "watching", "ending"

var guardianMoves = supervisor.Moves[guardianState]{
	"":               {guardianWatching},
	guardianWatching: {guardianEnding},
}

// ended: the engine is over.
type ended struct{}

// guardianName is what its name ends in, after the root actor's.
const guardianName = "-guardian"

func newGuardian(e *Engine) actor.Producer {
	return func() actor.Actor { return &guardian{eng: e} }
}

func (g *guardian) Receive(ctx actor.Context) {
	msg, mine := g.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch msg.(type) {
	case *actor.Started:
		g.host.Begin(ctx)
		g.state = guardianMoves.To(ctx, g.state, guardianWatching)
		ctx.Watch(g.eng.node.Root) // one that has ended already says so
	case *actor.Terminated:
		g.rootEnded(ctx)
	case ended, *supervisor.Ended:
		ctx.Stop(ctx.Self())
	case *actor.Restarting:
		g.host.End()
	case *actor.Stopping:
		ctx.Unwatch(g.eng.node.Root)
		g.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (g *guardian) rootEnded(ctx actor.Context) {
	if g.state != guardianWatching {
		return
	}
	g.state = guardianMoves.To(ctx, g.state, guardianEnding)
	eng := g.eng
	supervisor.Call(&g.host, "end", func(ctx context.Context) ended {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), node.StopGrace)
		defer cancel()
		eng.endUnasked(ctx)
		return ended{}
	})
}
