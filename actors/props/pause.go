package props

// How a member and a subscription are paused: at once when they are up, else as they
// begin.

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

func (a *member) pause(ctx actor.Context) {
	if a.paused = true; a.handle != nil {
		a.handle.Pause()
	}
	reply(ctx, ctx.Sender(), &messages.Paused{})
}

func (a *member) resume(ctx actor.Context) {
	if a.paused = false; a.handle != nil {
		a.handle.Resume()
	}
	reply(ctx, ctx.Sender(), &messages.Resumed{})
}

func (a *subscription) pause(ctx actor.Context, partitions []int) {
	a.steer(func(s *groups.Subscription) { s.Pause(partitions...) })
	reply(ctx, ctx.Sender(), &messages.Paused{})
}

func (a *subscription) resume(ctx actor.Context, partitions []int) {
	a.steer(func(s *groups.Subscription) { s.Resume(partitions...) })
	reply(ctx, ctx.Sender(), &messages.Resumed{})
}

// steer does something to the subscription, once there is one.
func (a *subscription) steer(do func(*groups.Subscription)) {
	if a.handle != nil {
		do(a.handle)
		return
	}
	a.asked = append(a.asked, do)
}

// steered does what was asked before there was a subscription.
func (a *subscription) steered() {
	for _, do := range a.asked {
		do(a.handle)
	}
	a.asked = nil
}
