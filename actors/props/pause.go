package props

// How a member and a subscription are paused: at once when they are up, else as they
// begin.

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
)

func (a *member) pause(ctx actor.Context) {
	if a.paused = true; a.handle != nil {
		a.handle.Pause()
	}
	reply(ctx, ctx.Sender(), &messages.Paused{Err: a.steerable()})
}

func (a *member) resume(ctx actor.Context) {
	if a.paused = false; a.handle != nil {
		a.handle.Resume()
	}
	reply(ctx, ctx.Sender(), &messages.Resumed{Err: a.steerable()})
}

// steerable returns messages.ErrClosed once the membership is over.
func (a *member) steerable() error {
	if a.handle == nil && a.told {
		return messages.ErrClosed
	}
	return nil
}

func (a *subscription) pause(ctx actor.Context, partitions []int) {
	if a.handle != nil {
		a.handle.Pause(partitions...)
	} else {
		a.asked.set(true, partitions)
	}
	reply(ctx, ctx.Sender(), &messages.Paused{Err: a.steerable()})
}

func (a *subscription) resume(ctx actor.Context, partitions []int) {
	if a.handle != nil {
		a.handle.Resume(partitions...)
	} else {
		a.asked.set(false, partitions)
	}
	reply(ctx, ctx.Sender(), &messages.Resumed{Err: a.steerable()})
}

// steerable returns messages.ErrClosed once the subscription is over.
func (a *subscription) steerable() error {
	if a.handle == nil && a.told {
		return messages.ErrClosed
	}
	return nil
}

// steering is what is to be paused of a subscription that does not exist yet.
type steering struct {
	all bool
	but map[int]struct{} // the partitions for which the contrary holds
}

func (s *steering) set(paused bool, partitions []int) {
	if len(partitions) == 0 {
		s.all, s.but = paused, nil
	}
	for _, p := range partitions {
		switch {
		case p < 0 || p >= messages.MaxPartitions:
		case paused == s.all:
			delete(s.but, p)
		default:
			if s.but == nil {
				s.but = make(map[int]struct{})
			}
			s.but[p] = struct{}{}
		}
	}
}

// apply has it so in the subscription, once there is one.
func (s *steering) apply(to interface {
	Pause(partitions ...int)
	Resume(partitions ...int)
}) {
	but := slices.Collect(maps.Keys(s.but))
	if s.all {
		to.Pause()
	}
	switch {
	case len(but) == 0:
	case s.all:
		to.Resume(but...)
	default:
		to.Pause(but...)
	}
	*s = steering{}
}
