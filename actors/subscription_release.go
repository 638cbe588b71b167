package actors

// How claims are given back: with the last position, in one transaction.

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// claimsReleased: they are, but for those with an error.
type claimsReleased struct {
	positions []commitlog.Position
	errs      []error
	err       error
	// unsettled is why BeforeRelease had nothing more committed.
	unsettled error
}

// release takes in a claim that nobody has in hand any more.
func (a *subscription) release(ctx actor.Context, c *claim) {
	if h := a.holds[c.p]; h == nil || h.c != c || slices.Contains(a.idle, c) || slices.Contains(a.releasing, c) {
		return
	}
	a.idle = append(a.idle, c)
	a.releaseIdle()
}

// releaseIdle has the user finish with idle claims, then writes their last
// positions and deletes them, each in one transaction. No commit may be under
// way: it could come after.
func (a *subscription) releaseIdle() {
	if len(a.idle) == 0 || len(a.releasing) > 0 || a.commits.running == commitRunning {
		return
	}
	a.releasing, a.idle = a.idle, nil
	claims, sub, log, me, delayed := a.releasing, a.sub, a.eng.log, a.me(0), a.delayed
	supervisor.Call(&a.host, "release", func(ctx context.Context) (m claimsReleased) {
		m.unsettled = sub.settle(ctx, claims)
		for _, c := range claims {
			m.positions = append(m.positions, sub.shelf.last(c))
		}
		m.err = insist(ctx, delayed, func() (err error) {
			m.errs, err = log.Release(ctx, me, m.positions)
			return err
		})
		return m
	})
}

// settle asks BeforeRelease, if there is one, and when that has done its part,
// marks what is finished to be committed.
func (s *Subscription) settle(ctx context.Context, claims []*claim) (err error) {
	if s.cfg.BeforeRelease == nil {
		return nil
	}
	var partitions []int
	for _, c := range claims {
		partitions = append(partitions, c.p)
	}
	slices.Sort(partitions)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RevokeTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("before release of partitions %d: %w", partitions, &supervisor.PanicError{Value: p, Stack: debug.Stack()})
		}
	}()
	if err := s.cfg.BeforeRelease(ctx, partitions); err != nil {
		return fmt.Errorf("before release of partitions %d: %w", partitions, err)
	}
	s.shelf.askFor(claims)
	return nil
}

func (a *subscription) released(ctx actor.Context, m claimsReleased) {
	was := a.releasing
	a.releasing = nil
	if m.unsettled != nil {
		a.delayed(m.unsettled)
	}
	if m.err != nil {
		a.idle = append(a.idle, was...)
		a.delayed(m.err)
		a.host.After(claimPause, commitTick{})
		return
	}
	for i, c := range was {
		if h := a.holds[c.p]; h == nil || h.c != c {
			continue // lost meanwhile
		}
		if m.errs[i] != nil {
			a.lose(ctx, c, m.errs[i])
			continue
		}
		if m.positions[i].Offset >= 0 {
			a.sub.shelf.wrote(m.positions[i])
		}
		a.sub.shelf.remove(c, nil)
		a.drop(ctx, c)
		a.eng.hub.emit(messages.PartitionReleased{
			Topic: a.sub.path.name, Group: a.sub.cfg.Group, Partition: c.p, Offset: a.sub.shelf.place(c),
		})
	}
	a.commit(ctx)
	a.releaseIdle()
	a.emptied(ctx)
	a.decide(ctx)
}
