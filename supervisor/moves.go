package supervisor

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
)

// Moves is a table of states: for each, those that may follow it.
//
// It is the one door through which an actor changes its state:
//
//	c.state = consumerMoves.To(ctx, c.state, reading)
type Moves[S ~string] map[S][]S

// May tells whether to may follow from.
func (m Moves[S]) May(from, to S) bool { return slices.Contains(m[from], to) }

// To answers to, the new state, and shows it in Tree. A move that is not in the
// table is a bug: To panics, which fails the actor. It must be called from
// Receive.
func (m Moves[S]) To(ctx actor.Context, from, to S) S {
	if !m.May(from, to) {
		panic(fmt.Errorf("%s: no move from %q to %q", ctx.Self().Id, from, to))
	}
	say(ctx, slog.LevelDebug, "moved", "actor", ctx.Self().Id, "from", string(from), "to", string(to))
	SetState(ctx, string(to))
	return to
}
