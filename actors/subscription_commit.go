package actors

// Commits and releases of a subscription: one at a time, so that an offset is
// never overtaken by an older one.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// commits is the state of a subscription's commits.
type commits struct {
	under   []*commitNow // who waits for the one under way; nil when there is none
	running commitState
	next    []*commitNow // who came meanwhile
}

type commitState string

const commitIdle, commitRunning commitState = "", "running"

type (
	commitTick struct{}
	// commitNow asks for a commit of everything that is due. It is answered
	// with *committed or an error, or done is called.
	commitNow struct {
		asker  *actor.PID
		done   func(error)
		wishes []wish
	}
	committed  struct{}
	commitDone struct {
		positions []commitlog.Position
		errs      []error
		err       error
	}
)

// commit begins to write what is due, unless that is under way.
func (a *subscription) commit(ctx actor.Context) {
	if a.commits.running == commitRunning || len(a.releasing) > 0 {
		return
	}
	due := a.sub.shelf.due()
	a.commits.under, a.commits.next = a.commits.next, nil
	if len(due) == 0 {
		a.commitDone(ctx, commitDone{})
		return
	}
	a.commits.running = commitRunning
	log, me, delayed := a.eng.log, a.me(0), a.delayed
	supervisor.Call(&a.host, "commit", func(ctx context.Context) commitDone {
		m := commitDone{positions: due}
		m.err = insist(ctx, delayed, func() (err error) {
			m.errs, err = log.Commit(ctx, me, due)
			return err
		})
		return m
	})
}

func (a *subscription) commitNow(ctx actor.Context, m *commitNow) {
	if m.done == nil {
		m.asker = ctx.Sender()
	}
	a.commits.next = append(a.commits.next, m)
	a.commit(ctx)
}

func (a *subscription) commitDone(ctx actor.Context, m commitDone) {
	a.commits.running = commitIdle
	failed, fenced := make(map[int]error), false
	for i, p := range m.positions {
		switch {
		case m.err != nil:
		case m.errs[i] == nil:
			a.sub.shelf.wrote(p)
		case errors.Is(m.errs[i], messages.ErrFenced):
			fenced = true
			if h := a.holds[p.Partition]; h != nil && h.c.fence == p.Fence {
				a.lose(ctx, h.c, m.errs[i])
			}
		default:
			failed[p.Partition] = m.errs[i]
		}
	}
	if m.err != nil {
		a.delayed(m.err)
	}
	for _, w := range a.commits.under {
		a.answer(ctx, w, errors.Join(m.err, w.concerning(failed), a.sub.shelf.unmet(w.wishes)))
	}
	a.commits.under = nil
	if len(a.commits.next) > 0 {
		a.commit(ctx)
	}
	a.releaseIdle()
	if fenced {
		a.emptied(ctx)
		a.decide(ctx)
	}
}

// concerning joins the errors of the partitions that were asked for.
func (w *commitNow) concerning(errs map[int]error) error {
	var all []error
	for _, w := range w.wishes {
		if err := errs[w.partition]; err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// errRestarted: the actor failed while a commit was under way.
var errRestarted = fmt.Errorf("its actor was restarted meanwhile; commit again: %w", messages.ErrUnavailable)

// dismiss answers whoever waits for a commit when the actor ends.
func (a *subscription) dismiss(ctx actor.Context, why error) {
	for _, w := range append(a.commits.under, a.commits.next...) {
		if w.done != nil {
			w.tell(a, why)
		} else {
			ctx.Send(w.asker, why)
		}
	}
	a.commits = commits{}
}

func (a *subscription) answer(ctx actor.Context, w *commitNow, err error) {
	if err != nil {
		err = fmt.Errorf("commit of group %q in %q: %w", a.sub.cfg.Group, a.sub.path.name, err)
	}
	switch {
	case w.done != nil:
		a.host.Run("tell of commit", func(context.Context) error {
			w.tell(a, err)
			return nil
		})
	case err != nil:
		ctx.Send(w.asker, err)
	default:
		ctx.Send(w.asker, &committed{})
	}
}

// tell calls the user's function; what it does wrong harms nobody else.
func (w *commitNow) tell(a *subscription, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.eng.hub.emit(messages.HandlerPanicked{
				Destination: a.sub.path.name, Group: a.sub.cfg.Group, Value: fmt.Sprint(p), Stack: string(debug.Stack()),
			})
		}
	}()
	w.done(err)
}

// release takes in a claim that nobody has in hand any more.
func (a *subscription) release(ctx actor.Context, c *claim) {
	if h := a.holds[c.p]; h == nil || h.c != c || slices.Contains(a.idle, c) || slices.Contains(a.releasing, c) {
		return
	}
	a.idle = append(a.idle, c)
	a.releaseIdle()
}

// releaseIdle writes the last positions of idle claims and deletes the claims,
// each in one transaction. No commit may be under way: it could come after.
func (a *subscription) releaseIdle() {
	if len(a.idle) == 0 || len(a.releasing) > 0 || a.commits.running == commitRunning {
		return
	}
	a.releasing, a.idle = a.idle, nil
	positions := make([]commitlog.Position, len(a.releasing))
	for i, c := range a.releasing {
		positions[i] = a.sub.shelf.last(c)
	}
	log, me, delayed := a.eng.log, a.me(0), a.delayed
	supervisor.Call(&a.host, "release", func(ctx context.Context) claimsReleased {
		m := claimsReleased{positions: positions}
		m.err = insist(ctx, delayed, func() (err error) {
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

// seekIn asks for a Seek in a partition; it is answered with *sought or an
// error.
type seekIn struct {
	partition int
	to        messages.Start
}

func (a *subscription) seek(ctx actor.Context, m *seekIn) {
	h := a.holds[m.partition]
	if n := a.sub.path.partitions(); m.partition < 0 || m.partition >= n {
		ctx.Respond(fmt.Errorf("partition %d of %d: %w", m.partition, n, messages.ErrNoPartition))
		return
	}
	if h == nil {
		ctx.Respond(fmt.Errorf("partition %d is not owned here: %w", m.partition, messages.ErrFenced))
		return
	}
	ctx.RequestWithCustomSender(h.pid, &seekTo{m.to}, ctx.Sender())
}
