package senders

// What a destination's actor notes for whoever asks for the health.

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
)

// becomes moves to a state, and notes it for whoever asks for the health.
func (a *destination) becomes(ctx actor.Context, next destState) {
	a.state = destMoves.To(ctx, a.state, next)
	switch next {
	case registering:
		a.d.role.Is(messages.RoleStarting)
	case serving:
		a.d.role.Is(messages.RoleEstablished)
	case ousted, retiring:
		a.d.role.Ends(a.d.out.Cause())
	}
}

// count notes how many members there are to link.
func (a *destination) count() {
	members := 0
	for _, g := range a.groups {
		members += len(g.members)
	}
	a.d.role.Wants.Store(int64(members))
}
