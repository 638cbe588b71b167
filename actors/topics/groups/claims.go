package groups

// How a subscription performs what its group takes: settings put back,
// assignments given out, claims made, lost, taken from others and given back.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/rebalance"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// settingsWork says what a subscription does about those of its group.
type settingsWork string

const settingsLeft, settingsWriting settingsWork = "", "writing"

// settingsWritten: the group has settings again; made reports whether by us.
type settingsWritten struct {
	made bool
	err  error
}

// Ends of what a subscription asked of etcd.
type (
	// claimsMade is the end of a claiming; taken are ready to be read.
	claimsMade struct {
		asked []int
		made  []commitlog.Claimed
		lease int64
		me    int64 // the member's revision under which they were made
		// unwritten are those whose position is not in etcd.
		unwritten []int
		err       error
	}
	revoked struct {
		p      int
		h      format.Holder
		why    string
		done   bool
		failed error
	}
	// orphansReleased is the end of releaseOrphans.
	orphansReleased struct {
		positions []format.Position
		err       error
	}
	// buried is the end of a burial.
	buried struct {
		id     string
		at     int64 // CreateRevision of its key
		done   bool
		failed error
	}
)

// putSettingsBack writes what decided the group's mode, which somebody deleted:
// the next to come would decide again.
func (a *subscription) putSettingsBack() {
	a.settings = settingsWriting
	sub, delayed := a.sub, a.delayed
	supervisor.Call(&a.host, "put settings back", func(ctx context.Context) (m settingsWritten) {
		m.err = topiclog.Retry(ctx, delayed, func() (err error) {
			m.made, err = sub.ensureGroup(ctx)
			return err
		})
		return m
	})
}

func (a *subscription) settingsWritten(ctx actor.Context, m settingsWritten) {
	a.settings = settingsLeft
	switch {
	case m.err != nil:
		a.trouble(ctx, m.err)
		return
	case m.made:
		a.env.Events.Emit(messages.RegistrationRestored{
			Key: a.env.Keys.ConsumerGroupMeta(a.sub.path.ID, a.sub.cfg.Group), Why: registry.Deleted.String(),
		})
	}
	a.later() // they may be gone again
}

func (a *subscription) assign(next *pb.Assignment, moved int, revision int64) {
	a.assigning = next
	next.SinceUnixMs = time.Now().UnixMilli()
	log, me, previous, delayed := a.env.Log, a.me(revision), a.view.PlanRevision(), a.delayed
	supervisor.Call(&a.host, "assign", func(ctx context.Context) assigned {
		return assigned{next, moved, topiclog.Retry(ctx, delayed, func() error {
			_, err := log.Assign(ctx, me, previous, next)
			return err
		})}
	})
}

// assigned: whether it was written or somebody else was first, the watch tells
// what holds now.
func (a *subscription) assigned(ctx actor.Context, m assigned) {
	a.assigning = nil
	switch {
	case m.err == nil:
		a.env.Events.Emit(messages.GroupAssigned{
			Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Generation: m.of.Generation,
			Members: len(m.of.Shares), Partitions: int(m.of.Partitions), Moved: m.moved,
		})
	case errors.Is(m.err, commitlog.ErrRaced):
	default:
		a.trouble(ctx, m.err)
	}
	if a.view.Generation() >= m.of.Generation || errors.Is(m.err, commitlog.ErrRaced) {
		a.later()
	}
}

// later decides again in a moment: what etcd answered is ahead of the watch.
// Until that is heard the moments grow.
func (a *subscription) later() {
	a.host.After(min(10*time.Millisecond<<a.raced, time.Second), decideAgain{})
	a.raced = min(a.raced+1, 10)
}

// unusable: a partition is ours, and where to begin in it cannot be said. Who
// waits to come in is told; else it is left alone for a while.
func (a *subscription) unusable(ctx actor.Context, p int, err error) {
	var damage *commitlog.CorruptError
	if errors.As(err, &damage) {
		a.damaged(p, damage)
		return
	}
	if a.state == subEntering {
		a.refuse(ctx, err)
		return
	}
	a.busy[p] = struct{}{}
	a.delayed(err)
	a.host.After(unusablePause, usableAgain{p})
}

// damaged: where the log of a partition begins or ends cannot be read. The others
// continue without it.
func (a *subscription) damaged(p int, err *commitlog.CorruptError) {
	if _, known := a.out[p]; !known {
		a.out[p] = struct{}{}
		a.env.Events.Emit(messages.BatchCorrupt{Topic: a.sub.path.Name, Partition: p, Offset: err.Base, Err: err})
	}
	a.busy[p] = struct{}{}
	a.host.After(unusablePause, usableAgain{p})
}

func (a *subscription) usableAgain(ctx actor.Context, p int) {
	delete(a.busy, p)
	a.decide(ctx)
}

// mostTrouble is how often a reason that nobody has a name for may keep a member
// from coming in.
const mostTrouble = 10

// trouble: etcd refuses something for a reason that another try at once cannot
// mend. Who waits to come in is told, of a reason without a name after some tries;
// else it is tried again.
func (a *subscription) trouble(ctx actor.Context, err error) {
	if a.state == subEntering && !errors.Is(err, commitlog.ErrRaced) && !errors.Is(err, messages.ErrUnavailable) {
		a.troubled++
		if a.troubled > mostTrouble || hopeless(err) {
			a.refuse(ctx, err)
			return
		}
	}
	a.delayed(err)
	a.host.After(claimPause, decideAgain{})
}

// hopeless tells that etcd will refuse the same again, until a person acts.
func hopeless(err error) bool {
	for _, class := range []error{messages.ErrNoSpace, messages.ErrDenied, messages.ErrInvalid, messages.ErrTooLarge} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

func (a *subscription) delayed(err error) {
	a.env.Events.Emit(messages.CommitDelayed{Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Err: err})
}

// claim takes partitions, and finds out where to begin in each.
func (a *subscription) claim(ps []int, revision int64) {
	a.claiming++
	for _, p := range ps {
		a.busy[p] = struct{}{}
	}
	env, sub, me, plan, delayed := a.env, a.sub, a.me(revision), a.view.PlanRevision(), a.delayed
	if a.sub.cfg.Partitions != nil {
		plan = 0
	} else {
		me.Generation = a.view.Generation()
	}
	supervisor.Call(&a.host, "claim", func(ctx context.Context) claimsMade {
		m := claimsMade{asked: ps, lease: int64(me.Lease), me: revision}
		var got []commitlog.Claimed
		m.err = topiclog.Retry(ctx, delayed, func() (err error) {
			got, err = env.Log.Claim(ctx, me, plan, ps)
			return err
		})
		if m.err == nil {
			m.err = topiclog.Retry(ctx, delayed, func() (err error) {
				m.made, m.unwritten, err = sub.firstPositions(ctx, me, got)
				return err
			})
		}
		return m
	})
}

func (a *subscription) claimed(ctx actor.Context, m claimsMade) {
	a.claiming--
	defer a.emptied(ctx)
	if a.state == subLeaving {
		return // the removal of the key takes them along
	}
	for _, p := range m.asked {
		delete(a.busy, p)
	}
	switch {
	case errors.Is(m.err, commitlog.ErrRaced):
		a.later()
		return
	case m.err != nil:
		a.trouble(ctx, m.err)
		return
	}
	var took []int
	for _, got := range m.made {
		switch {
		case got.Err != nil:
			a.unusable(ctx, got.Partition, got.Err)
		case got.Held != nil:
			a.held[got.Partition] = got.Held.Revision
		default:
			delete(a.held, got.Partition)
			delete(a.out, got.Partition)
			if a.took(ctx, got, m) {
				took = append(took, got.Partition)
			}
		}
	}
	if len(took) > 0 && a.sub.cfg.Claimed != nil {
		a.sub.cfg.Claimed(took)
	}
	a.decide(ctx)
}

// took begins to consume a partition that is ours, and reports whether that is news.
func (a *subscription) took(ctx actor.Context, got commitlog.Claimed, m claimsMade) bool {
	if h := a.holds[got.Partition]; h != nil {
		if h.c.Fence == got.Fence {
			return false
		}
		a.lose(ctx, h.c, messages.ErrFenced)
	}
	c := &prefetch.Claim{Partition: got.Partition, Fence: got.Fence, Lease: m.lease, MemberRevision: m.me}
	a.sub.buffer.Add(c, prefetch.Place{Offset: got.Offset, Base: got.Base, Written: !slices.Contains(m.unwritten, got.Partition), Known: got.Known, Progress: got.Progress})
	a.env.Events.Emit(messages.PartitionClaimed{
		Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Partition: got.Partition, Offset: got.Offset, Fence: got.Fence,
	})
	if p := got.Progress; got.Ungraceful {
		a.env.Events.Emit(messages.PartitionTakenOver{
			Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Partition: got.Partition, Offset: got.Offset, Takeovers: p.Takeovers, Careful: p.Careful,
		})
	}
	a.hold(ctx, c)
	a.lend()
	return true
}

func (a *subscription) hold(ctx actor.Context, c *prefetch.Claim) {
	part, err := a.sub.path.Partition(c.Partition)
	if err != nil {
		return // the topic is over, and with it the subscription
	}
	pid, err := ctx.SpawnNamed(supervisor.Props(newConsumer(a.sub, c, part)), a.env.Name("consumer", strconv.Itoa(c.Partition)))
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	a.holds[c.Partition] = &holding{c, pid}
}

// terminated begins a consumer again that somebody has stopped from outside: its claim
// is still held.
func (a *subscription) terminated(ctx actor.Context, who *actor.PID) {
	for _, h := range a.holds {
		if h.pid.Equal(who) && a.state != subLeaving {
			a.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
			a.hold(ctx, h.c)
		}
	}
}

// lose ends a claim that is no longer ours.
func (a *subscription) lose(ctx actor.Context, c *prefetch.Claim, cause error) {
	a.sub.buffer.Remove(c, cause)
	a.sub.shared.recall(c)
	a.sub.buffer.Count(func(n *messages.SubscriptionCounters) { n.Lost++ })
	a.drop(ctx, c)
	a.env.Events.Emit(messages.PartitionLost{
		Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Partition: c.Partition, Fence: c.Fence, Err: cause,
	})
	if a.sub.cfg.Lost != nil {
		a.sub.cfg.Lost([]int{c.Partition})
	}
}

func (a *subscription) drop(ctx actor.Context, c *prefetch.Claim) {
	if h := a.holds[c.Partition]; h != nil && h.c == c {
		ctx.Stop(h.pid)
		delete(a.holds, c.Partition)
	}
	if len(a.holds) == 0 {
		a.dropLender()
	}
	isC := func(x *prefetch.Claim) bool { return x == c }
	a.idle, a.settling.waiting = slices.DeleteFunc(a.idle, isC), slices.DeleteFunc(a.settling.waiting, isC)
}

func (a *subscription) revoke(p int, r rebalance.Revocation, revision int64) {
	a.busy[p] = struct{}{}
	log, me, delayed := a.env.Log, a.me(revision), a.delayed
	why := "its member is gone"
	if r.Overdue {
		why = "it was not released in time"
	}
	supervisor.Call(&a.host, "revoke", func(ctx context.Context) revoked {
		m := revoked{p: p, h: r.Holder, why: why}
		m.failed = topiclog.Retry(ctx, delayed, func() (err error) {
			m.done, err = log.Revoke(ctx, me, p, r.Holder, r.Overdue)
			return err
		})
		return m
	})
}

func (a *subscription) revoked(ctx actor.Context, m revoked) {
	delete(a.busy, m.p)
	switch {
	case m.failed != nil:
		a.trouble(ctx, m.failed)
		return
	case m.done:
		a.env.Events.Emit(messages.ClaimRevoked{
			Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Partition: m.p, Member: m.h.Member, Why: m.why,
		})
		a.view.Unclaimed(m.p, m.h.Revision)
	default:
		a.later()
		return
	}
	a.decide(ctx)
}

// releaseOrphans releases claims that are ours in etcd and that nobody here has:
// the response about them was lost, or came when they were no longer wanted.
func (a *subscription) releaseOrphans(orphans []format.Position) {
	for _, p := range orphans {
		a.busy[p.Partition] = struct{}{}
	}
	log, me, delayed := a.env.Log, a.me(0), a.delayed
	supervisor.Call(&a.host, "release orphans", func(ctx context.Context) orphansReleased {
		return orphansReleased{orphans, topiclog.Retry(ctx, delayed, func() error {
			_, err := log.Release(ctx, me, orphans)
			return err
		})}
	})
}

func (a *subscription) releasedOrphans(ctx actor.Context, m orphansReleased) {
	for _, p := range m.positions {
		delete(a.busy, p.Partition)
		if m.err == nil {
			a.view.Unclaimed(p.Partition, p.Fence)
		}
	}
	if m.err != nil {
		a.trouble(ctx, m.err)
		return
	}
	a.decide(ctx)
}

// watch has the processes watched whose ends are this member's to see.
func (a *subscription) watch(ctx actor.Context, me rebalance.Member) {
	now := a.view.Watched(me)
	if same := func(x, y rebalance.Process) bool { return slices.Equal(x.Addresses, y.Addresses) }; a.watched != nil && maps.EqualFunc(a.watched, now, same) {
		return
	}
	a.watched = now
	if now == nil {
		a.watched = map[string]rebalance.Process{}
	}
	a.sub.peers.Want(ctx.Self(), a.watched)
}

// processEnded: the members of that process hold what nobody handles. A member whose
// key is written again lives.
func (a *subscription) processEnded(ctx actor.Context, token string) {
	a.view.Ended(a.dead, token)
	a.decide(ctx)
}

// bury removes the key of a member whose process has ended. The claims under it are then
// revoked as those of any member that is gone.
func (a *subscription) bury(id string, revision int64) {
	a.burying[id] = struct{}{}
	log, me, at, delayed := a.env.Log, a.me(revision), a.dead[id], a.delayed
	supervisor.Call(&a.host, "bury", func(ctx context.Context) buried {
		m := buried{id: id, at: at}
		m.failed = topiclog.Retry(ctx, delayed, func() (err error) {
			m.done, err = log.Bury(ctx, me, id, at)
			return err
		})
		return m
	})
}

func (a *subscription) buried(ctx actor.Context, m buried) {
	delete(a.burying, m.id)
	switch {
	case errors.Is(m.failed, commitlog.ErrRaced):
		a.later()
		return
	case m.failed != nil:
		a.trouble(ctx, m.failed)
		return
	case m.done:
		a.env.Events.Emit(messages.MemberBuried{Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Member: m.id})
	}
	if a.dead[m.id] == m.at {
		delete(a.dead, m.id)
	}
	a.decide(ctx)
}
