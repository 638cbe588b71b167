package groups

// Commits of a subscription: one at a time, so that an offset is never overtaken
// by an older one.

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// commits is the state of a subscription's commits.
type commits struct {
	running commitState
	under   []*commitNow   // who waits for the one under way
	async   []*asyncCommit // the same, by callback
	next    []*commitNow   // who came meanwhile
	granted *mayMove       // whose transaction is under way
	asking  []*mayMove     // who came meanwhile
}

type commitState string

const commitIdle, commitRunning, commitGranted commitState = "", "running", "a transaction's"

type (
	commitTick struct{}
	// commitNow asks for a commit of everything that is due. It is answered
	// with *committed or an error.
	commitNow struct {
		asker   *actor.PID
		targets []prefetch.Target
	}
	committed  struct{}
	commitDone struct {
		positions []format.Position
		errs      []error
		err       error
	}
)

// commit begins to write what is due, unless that is under way.
func (a *subscription) commit(ctx actor.Context) {
	if a.commits.running != commitIdle || len(a.releasing) > 0 {
		return
	}
	a.commits.async = a.sub.async.take() // before due is: what they ask for is in it
	due := a.sub.buffer.Due()
	a.commits.under, a.commits.next = a.commits.next, nil
	if len(due) == 0 {
		a.commitDone(ctx, commitDone{})
		return
	}
	a.commits.running = commitRunning
	log, me, delayed := a.env.Log, a.me(0), a.delayed
	supervisor.Call(&a.host, "commit", func(ctx context.Context) commitDone {
		m := commitDone{positions: due}
		m.err = topiclog.Retry(ctx, delayed, func() (err error) {
			m.errs, err = log.Commit(ctx, me, due)
			return err
		})
		return m
	})
}

func (a *subscription) commitNow(ctx actor.Context, m *commitNow) {
	m.asker = ctx.Sender()
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
			a.sub.buffer.Wrote(p)
		case errors.Is(m.errs[i], messages.ErrFenced):
			fenced = true
			if h := a.holds[p.Partition]; h != nil && h.c.Fence == p.Fence {
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
		a.reply(ctx, w, a.fate(w.targets, m.err, failed))
	}
	for _, c := range a.commits.async {
		c.fate(errors.Join(c.err, a.fate(c.targets, m.err, failed)), a.sub.committing())
	}
	a.sub.async.decide(a.commits.async)
	a.commits.under, a.commits.async = nil, nil
	a.grant(ctx)
	switch {
	case len(a.commits.next) > 0:
		a.commit(ctx)
	case len(m.positions) > 0 && a.sub.async.waits():
		supervisor.Notify(ctx, ctx.Self(), commitWanted{}) // who came meanwhile has sent one, too early
	}
	a.releaseIdle()
	if fenced {
		a.emptied(ctx)
		a.decide(ctx)
	}
}

// fate is what became of targets: all is the error of the whole commit, failed
// those of partitions.
func (a *subscription) fate(targets []prefetch.Target, all error, failed map[int]error) error {
	errs := []error{all, a.sub.buffer.Unmet(targets)}
	for _, w := range targets {
		errs = append(errs, failed[w.Partition])
	}
	return errors.Join(errs...)
}

// errRestarted: the actor failed while a commit was under way.
var errRestarted = fmt.Errorf("whether the offset was written is not known: %w", messages.ErrRestarted)

// dismiss replies to whoever waits for a commit when the actor ends.
func (a *subscription) dismiss(ctx actor.Context, why error) {
	for _, w := range append(a.commits.under, a.commits.next...) {
		a.reply(ctx, w, why)
	}
	for _, c := range a.commits.async {
		c.fate(why, a.sub.committing())
	}
	a.sub.async.decide(a.commits.async)
	for _, m := range a.commits.asking {
		supervisor.Notify(ctx, m.asker, why)
	}
	a.commits = commits{}
}

func (a *subscription) reply(ctx actor.Context, w *commitNow, err error) {
	if err != nil {
		supervisor.Notify(ctx, w.asker, fmt.Errorf("%s: %w", a.sub.committing(), err))
		return
	}
	supervisor.Notify(ctx, w.asker, &committed{})
}

// seekIn asks for a Seek in a partition; it is answered with *sought or an
// error.
type seekIn struct {
	partition int
	to        messages.Start
}

func (a *subscription) seek(ctx actor.Context, m *seekIn) {
	h := a.holds[m.partition]
	if n := a.sub.path.Partitions(); m.partition < 0 || m.partition >= n {
		supervisor.Reply(ctx, fmt.Errorf("partition %d of %d: %w", m.partition, n, messages.ErrNoPartition))
		return
	}
	if h == nil {
		supervisor.Reply(ctx, fmt.Errorf("partition %d is not owned here: %w", m.partition, messages.ErrFenced))
		return
	}
	ctx.RequestWithCustomSender(h.pid, &seekTo{m.to}, ctx.Sender())
}

// Commit is penstock.Subscription.Commit.
func (s *Subscription) Commit(ctx context.Context, recs ...messages.Record) error {
	fail := func(err error) error { return fmt.Errorf("%s: %w", s.committing(), err) }
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	if err := s.refuses("Commit", commitInstead); err != nil {
		return fail(err)
	}
	return s.write(ctx, recs)
}

// write commits up to records, or all that is due.
func (s *Subscription) write(ctx context.Context, recs []messages.Record) error {
	fail := func(err error) error { return fmt.Errorf("%s: %w", s.committing(), err) }
	targets, fenced, err := s.buffer.Ask(recs)
	if err != nil {
		return fail(err)
	}
	_, err = supervisor.Ask[*committed](ctx, s.env.System, s.pid.Load(), &commitNow{targets: targets})
	switch {
	case errors.Is(err, supervisor.ErrNoActor):
		return fail(cmp.Or(s.buffer.Cause(), messages.ErrClosed))
	case errors.Is(err, supervisor.ErrFailed):
		return fail(fmt.Errorf("%w: %w", errRestarted, err))
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return fail(fmt.Errorf("etcd has not confirmed it: %w: %w", messages.ErrUnavailable, context.Cause(ctx)))
	case fenced != nil:
		return fail(errors.Join(fenced, err))
	}
	return err
}

// commitInstead is how records of a shared group are committed.
const commitInstead = "what is finished is committed by the owner of its partition, as CommitEvery says"

// committing is what fails, for errors.
func (s *Subscription) committing() string {
	return fmt.Sprintf("commit of group %q in %q", s.cfg.Group, s.cfg.Topic)
}

// CommitAsync is penstock.Subscription.CommitAsync.
func (s *Subscription) CommitAsync(done func(error), recs ...messages.Record) {
	if done != nil && s.async.full() {
		s.async.tell(&asyncCommit{done: done, err: fmt.Errorf("%s: %d others wait to be told: %w", s.committing(), MaxCommitsWaiting, messages.ErrBusy)})
		return
	}
	if err := s.refuses("Commit", commitInstead); err != nil {
		if done != nil {
			s.async.tell(&asyncCommit{done: done, err: fmt.Errorf("%s: %w", s.committing(), err)})
		} else {
			s.delayed(err)
		}
		return
	}
	targets, fenced, err := s.buffer.Ask(recs)
	if err != nil {
		fenced = err
	}
	if done == nil && fenced != nil { // nobody else would hear of it
		s.env.Events.Emit(messages.CommitDelayed{Topic: s.cfg.Topic, Group: s.cfg.Group, Err: fenced})
	}
	if s.async.add(&asyncCommit{targets: targets, done: done, err: fenced}) {
		s.env.Send(s.pid.Load(), commitWanted{})
	}
}
