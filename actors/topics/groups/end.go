package groups

// How a subscription ends: in order, or at once.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// drain ends the subscription in order: what is in hand is finished, and every
// claim released with its last commit.
func (a *subscription) drain(ctx actor.Context, leaver *actor.PID) {
	a.sub.addLeaver(leaver)
	if a.state == subEntering || a.state == subInside {
		a.becomes(ctx, subDraining)
	}
	buffer := a.sub.buffer
	buffer.Leave(prefetch.Leaving, nil)
	a.tellLeave()
	if !buffer.Busy() {
		buffer.SettlePolled(false)
	}
	for _, p := range slices.Sorted(maps.Keys(a.holds)) {
		buffer.Release(a.holds[p].c)
	}
	a.emptied(ctx)
	a.host.After(a.sub.cfg.RevokeTimeout+usercode.Grace, drainLate{})
}

// drainLate: what was asked back is still in hand though another member may have
// taken it by now.
func (a *subscription) drainLate(ctx actor.Context) {
	if a.state != subDraining || len(a.holds) == 0 {
		return
	}
	stuck := a.sub.buffer.InHand()
	stuck = append(stuck, partitionsOf(a.settling.under)...)
	if len(stuck) == 0 {
		a.host.After(time.Second, drainLate{}) // etcd is waited for
		return
	}
	err := fmt.Errorf("partitions %d were in hand for longer than RevokeTimeout (%s): others begin at the last commit: %w",
		stuck, a.sub.cfg.RevokeTimeout, messages.ErrBusy)
	for _, leaver := range a.sub.takeLeavers() {
		supervisor.Notify(ctx, leaver, err)
	}
	a.retire(ctx)
}

// tellLeave lets the group continue while the last records are being handled: the
// next oldest gives out our partitions, and takes over from us if we did that.
func (a *subscription) tellLeave() {
	if !a.sub.written.Load() || len(a.holds) == 0 || a.leaving != nil {
		return
	}
	sub := a.sub
	a.leaving = node.BeginWrite(a.host.Context())
	write := a.leaving
	supervisor.Call(&a.host, "tell of leaving", func(context.Context) leaveTold {
		_ = write.Do(func(ctx context.Context) error { return sub.putMember(ctx, true) }) // without it the others wait until we are gone
		return leaveTold{}
	})
}

// emptied tells who drains that nothing is held any more.
func (a *subscription) emptied(ctx actor.Context) {
	if a.state == subLeaving || a.state == subDraining && len(a.holds) == 0 && a.claiming == 0 {
		for _, leaver := range a.sub.takeLeavers() {
			supervisor.Notify(ctx, leaver, &drained{})
		}
	}
}

// retire gives up what is held, takes the member's key away and stops. What was
// in hand is handed out again by others.
func (a *subscription) retire(ctx actor.Context) {
	if a.state == subLeaving {
		return
	}
	a.becomes(ctx, subLeaving)
	a.emptied(ctx)
	env, sub, write, leaving := a.env, a.sub, a.write, a.leaving
	me := a.me(0)
	var left []format.Position
	for _, h := range a.holds {
		left = append(left, sub.buffer.Last(h.c))
		sub.buffer.Remove(h.c, messages.ErrClosed)
	}
	supervisor.Call(&a.host, "remove key", func(ctx context.Context) subKeyGone {
		write.Cut()
		if leaving != nil {
			leaving.Cut()
		}
		ctx, cancel := context.WithTimeout(ctx, node.StopGrace)
		defer cancel()
		if len(left) > 0 && !errors.Is(sub.path.Ended(), messages.ErrTopicDeleted) {
			_, _ = env.Log.Release(ctx, me, left) // else they end with the lease, or are taken away
		}
		_ = sub.removal.Of(func() error { return sub.removeKeys(ctx, me) }) // what is left ends with the lease
		return subKeyGone{}
	})
}
