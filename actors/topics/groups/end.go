package groups

// How a subscription ends, in order or at once, and how claims are given back: with the
// last position, in one transaction.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
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
	a.leaveShared()
	if !buffer.Busy() {
		buffer.SettlePolled(false)
	}
	for _, p := range slices.Sorted(maps.Keys(a.holds)) {
		a.giveUp(a.holds[p].c)
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
	write, moving := a.leaving, a.moving
	supervisor.Call(&a.host, "tell of leaving", func(context.Context) leaveTold {
		if moving != nil {
			moving.Cut() // it says that this member stays
		}
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
	env, sub, write, moving, leaving := a.env, a.sub, a.write, a.moving, a.leaving
	me := a.me(0)
	var left []format.Position
	for _, h := range a.holds {
		left = append(left, sub.buffer.Last(h.c))
		sub.buffer.Remove(h.c, messages.ErrClosed)
		sub.shared.recall(h.c)
	}
	supervisor.Call(&a.host, "remove key", func(ctx context.Context) subKeyGone {
		write.Cut()
		if moving != nil {
			moving.Cut()
		}
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

// giveUp asks for a claim back from whoever has it in hand.
func (a *subscription) giveUp(c *prefetch.Claim) {
	a.sub.buffer.Release(c)
	a.sub.shared.recall(c)
}

// settling is what BeforeRelease does, for some claims at a time.
type settling struct {
	waiting []*prefetch.Claim // nobody has them in hand any more
	under   []*prefetch.Claim // it was called for them
}

type (
	// settled: BeforeRelease is done, or why it is not.
	settled struct{ err error }
	// claimsReleased: they are, but for those with an error.
	claimsReleased struct {
		positions []format.Position
		errs      []error
		err       error
	}
)

// release takes in a claim that nobody has in hand any more.
func (a *subscription) release(ctx actor.Context, c *prefetch.Claim) {
	if h := a.holds[c.Partition]; h == nil || h.c != c || slices.Contains(slices.Concat(a.settling.waiting, a.settling.under, a.idle, a.releasing), c) {
		return
	}
	if a.sub.cfg.BeforeRelease == nil {
		a.idle = append(a.idle, c)
		a.releaseIdle()
		return
	}
	a.settling.waiting = append(a.settling.waiting, c)
	a.beginSettling()
}

// ErrUnasked is what BeforeRelease returns when nobody is there to finish, which is told
// elsewhere: nothing more is committed.
var ErrUnasked = errors.New("nobody is there to finish")

// settleCall names the call, which may end its goroutine and return nothing.
const settleCall = "before release"

// beginSettling has the user finish with claims, while the others continue.
func (a *subscription) beginSettling() {
	s := &a.settling
	if len(s.under) > 0 || len(s.waiting) == 0 {
		return
	}
	s.under, s.waiting = s.waiting, nil
	sub, claims := a.sub, s.under
	supervisor.CallUser(&a.host, settleCall, usercode.Patience, func(ctx context.Context) settled { return settled{sub.settle(ctx, claims)} })
}

// settle calls BeforeRelease. Another member may take the claims RevokeTimeout
// after they were asked back.
func (s *Subscription) settle(ctx context.Context, claims []*prefetch.Claim) (err error) {
	deadline := s.buffer.AskedBack(claims).Add(s.cfg.RevokeTimeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &supervisor.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	code := s.buffer.Run("BeforeRelease")
	defer s.env.Runs.Enter(code)()
	return s.cfg.BeforeRelease(code.Mark(ctx), partitionsOf(claims))
}

func partitionsOf(claims []*prefetch.Claim) []int {
	ps := make([]int, len(claims))
	for i, c := range claims {
		ps[i] = c.Partition
	}
	slices.Sort(ps)
	return ps
}

// settled has what is finished in the claims committed, unless BeforeRelease
// failed.
func (a *subscription) settled(m settled) {
	claims := a.settling.under
	a.settling.under = nil
	switch {
	case m.err == nil:
		a.sub.buffer.AskFor(claims)
	case !errors.Is(m.err, ErrUnasked):
		a.delayed(fmt.Errorf("before release of partitions %d: %w", partitionsOf(claims), m.err))
	}
	for _, c := range claims {
		if h := a.holds[c.Partition]; h != nil && h.c == c { // else lost meanwhile
			a.idle = append(a.idle, c)
		}
	}
	a.releaseIdle()
	a.beginSettling()
}

// releaseIdle writes the last positions of idle claims and deletes the claims,
// each in one transaction. No commit may be under way: it could come after.
func (a *subscription) releaseIdle() {
	if len(a.idle) == 0 || len(a.releasing) > 0 || a.commits.running != commitIdle {
		return
	}
	a.releasing, a.idle = a.idle, nil
	positions := make([]format.Position, len(a.releasing))
	for i, c := range a.releasing {
		positions[i] = a.sub.buffer.Last(c)
	}
	log, me, delayed := a.env.Log, a.me(0), a.delayed
	supervisor.Call(&a.host, "release", func(ctx context.Context) claimsReleased {
		m := claimsReleased{positions: positions}
		m.err = topiclog.Retry(ctx, delayed, func() (err error) {
			m.errs, err = log.Release(ctx, me, positions)
			return err
		})
		return m
	})
}

func (a *subscription) released(ctx actor.Context, m claimsReleased) {
	was := a.releasing
	a.releasing = nil
	if m.err != nil {
		a.idle = append(a.idle, was...)
		a.delayed(m.err)
		a.host.After(claimPause, commitTick{})
		return
	}
	for i, c := range was {
		if h := a.holds[c.Partition]; h == nil || h.c != c {
			continue // lost meanwhile
		}
		if m.errs[i] != nil {
			a.lose(ctx, c, m.errs[i])
			continue
		}
		if m.positions[i].Offset >= 0 {
			a.sub.buffer.Wrote(m.positions[i])
		}
		a.sub.buffer.Remove(c, nil)
		a.drop(ctx, c)
		a.env.Events.Emit(messages.PartitionReleased{
			Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Partition: c.Partition, Offset: a.sub.buffer.Finished(c),
		})
	}
	a.commit(ctx)
	a.releaseIdle()
	a.emptied(ctx)
	a.decide(ctx)
}
