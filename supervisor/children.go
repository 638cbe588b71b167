package supervisor

// What policy.go decides about children, carried out.

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/jonboulle/clockwork"
)

// child is what a guard knows about one of its children.
type child struct {
	pid *actor.PID
	// process is the child itself: what is sent through it can never reach a
	// later actor of the same name.
	process actor.Process
	guarded bool
	state   childState
	history history
	round   *round // the restart it is part of, if any
	watch   *late  // armed while it has to stop or halt in time
	timer   clockwork.Timer
	overdue bool
}

type childState int

const (
	up       childState = iota // running, as far as its parent knows
	suspect                    // failed; nothing done yet
	draining                   // told to halt
	down                       // halted; waits to begin
	rising                     // told to begin
	leaving                    // told to stop for good
)

func (c *child) post(message any) {
	if c.process != nil {
		c.process.SendSystemMessage(c.pid, message)
	}
}

// watch starts the time in which c has to stop or halt.
func (g *guard) watch(c *child) {
	c.calm()
	if d := g.settings.stopTimeout; d > 0 {
		l := &late{c}
		c.watch = l
		c.timer = g.settings.clock.AfterFunc(d, func() { g.mb.PostSystemMessage(l) })
	}
}

// calm ends that time; a late already in the mailbox counts no more.
func (c *child) calm() {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer, c.watch, c.overdue = nil, nil, false
}

// round is one restart: of a failed child and those it takes along. They halt
// from the last to the first; when all have and the delay has passed, they
// begin from the first to the last.
type round struct {
	members []*child // in spawn order
	stage   stage
	dueAt   time.Time
	timer   clockwork.Timer
	event   Restarted // as it will be, but for Who
}

type stage int

const (
	backingOff stage = iota // halting, and waiting for the delay
	ripe                    // the delay has passed; halting, perhaps
	starting                // beginning
)

// adopting is the spawn middleware of every guarded actor: it keeps the order
// of spawning, which proto.actor's own list of children does not.
func adopting(next actor.SpawnFunc) actor.SpawnFunc {
	return func(sys *actor.ActorSystem, id string, props *actor.Props, parent actor.SpawnerContext) (*actor.PID, error) {
		g, guarded := parent.Actor().(*guard)
		if guarded && g.is() != running {
			return nil, ErrNotRunning
		}
		pid, err := next(sys, id, props, parent)
		if err == nil && guarded {
			g.adopt(pid)
		}
		return pid, err
	}
}

func (g *guard) adopt(pid *actor.PID) {
	c := &child{pid: pid, history: history{id: pid.Id, since: g.settings.clock.Now()}}
	if process, ok := g.system().ProcessRegistry.Get(pid); ok { // else it has stopped already
		c.process = process
		other := find(g.system(), pid.Id)
		c.guarded = other != nil && other.ctx.Self() == pid
	}
	g.kids = append(g.kids, c)
}

// kid is the child with this very PID. A namesake has another one.
func (g *guard) kid(pid *actor.PID) *child {
	for _, c := range g.kids {
		if c.pid == pid {
			return c
		}
	}
	return nil
}

// childFailed has the policy judge a failure, and performs the verdict.
func (g *guard) childFailed(f *actor.Failure) {
	c := g.kid(f.Who)
	if c == nil {
		// Of a child that was left behind: nobody wants it back.
		if process, ok := g.system().ProcessRegistry.Get(f.Who); ok {
			process.SendSystemMessage(f.Who, &actor.Stop{})
		}
		return
	}
	switch c.state {
	case draining, down, leaving:
		return // it is on its way out already
	}
	c.state = suspect
	if g.is() != running {
		return // all children go with the present incarnation
	}
	v := g.settings.policy.judge(&c.history, reason(f.Reason), g.settings.clock.Now(), rand.Float64())
	switch v.directive {
	case Restart:
		g.say(slog.LevelDebug, "child restarts", "child", c.pid.Id, "attempt", v.attempt, "delay_ms", v.delay.Milliseconds())
		g.restartChild(c, v)
	case Terminate:
		c.state = leaving
		if r := g.leaveRound(c); r != nil {
			g.advance(r)
		}
		publish(g.ctx, &Stopped{Who: c.pid, Err: v.err})
		defer c.post(&actor.Stop{}) // also when the actor does not survive the news
		g.raw.InvokeUserMessage(&Failed{Who: c.pid, Err: v.err})
	case Escalate:
		publish(g.ctx, &Escalated{Who: c.pid, Parent: g.ctx.Self(), Err: v.err})
		g.fail(v.err, f)
	}
}

// restartChild begins a round for c. It takes over the rounds that it touches.
func (g *guard) restartChild(c *child, v verdict) {
	now := g.settings.clock.Now()
	r := &round{dueAt: now.Add(v.delay), event: Restarted{Err: v.err, Attempt: v.attempt, Delay: v.delay}}
	from, to := g.settings.strategy.span(slices.Index(g.kids, c), len(g.kids))
	touched := make(map[*round]bool)
	for _, m := range g.kids[from:to] {
		if m.round != nil {
			touched[m.round] = true
		}
	}
	for i, m := range g.kids {
		within := from <= i && i < to && m.state != leaving
		if within || touched[m.round] && m.state != up {
			r.members = append(r.members, m)
		}
	}
	for old := range touched {
		if old.stage == backingOff && old.dueAt.After(r.dueAt) {
			r.dueAt = old.dueAt
		}
		old.dissolve()
	}
	for _, m := range r.members {
		m.round = r
	}
	r.timer = g.settings.clock.AfterFunc(r.dueAt.Sub(now), func() { g.mb.PostSystemMessage(&due{r}) })
	g.advance(r)
}

// restartAllDown restarts at once every child that is not running.
func (g *guard) restartAllDown() {
	for _, c := range slices.Clone(g.kids) {
		if c.state != up && c.state != leaving && c.round == nil {
			g.restartChild(c, verdict{directive: Restart, attempt: 1, err: ErrNotRunning})
		}
	}
}

// dissolve gives a round up; a due already in the mailbox finds it empty.
func (r *round) dissolve() {
	r.timer.Stop()
	for _, m := range r.members {
		m.round = nil
	}
	r.members = nil
}

// advance takes a round as far as it goes without waiting.
func (g *guard) advance(r *round) {
	if r.stage != starting {
		if !g.haltMembers(r) || r.stage == backingOff {
			return
		}
		r.stage = starting
	}
	for _, m := range r.members {
		switch m.state {
		case rising:
			return // one at a time
		case down:
			g.beginMember(m)
			if m.state == rising {
				return
			}
		}
	}
	r.dissolve()
}

// haltMembers reports whether all members of r are down, and if not, tells the
// next one to go. An overdue one holds up the round but not the others.
func (g *guard) haltMembers(r *round) bool {
	all := true
	for _, m := range slices.Backward(r.members) {
		switch {
		case m.state == down:
		case m.state == draining && m.overdue:
			all = false
		case m.state == draining:
			return false
		case m.guarded:
			m.state = draining
			g.watch(m)
			m.post(&haltNow{report{g, m}})
			return false
		default:
			// Without a guard there is no halt apart from the restart.
			m.state = down
			m.post(&actor.SuspendMailbox{})
		}
	}
	return all
}

func (g *guard) beginMember(m *child) {
	event := m.round.event
	event.Who = m.pid
	m.history.since = g.settings.clock.Now()
	publish(g.ctx, &event)
	if m.guarded {
		m.state = rising
		m.post(&beginNow{report{g, m}})
		return
	}
	m.state = up
	m.post(&actor.Restart{})
}

func (g *guard) roundDue(r *round) {
	if r.stage == backingOff {
		r.stage = ripe
		g.advance(r)
	}
}

// childProgress takes a child's report.
func (g *guard) childProgress(c *child, s childState) {
	expected := c.state == draining && s == down || c.state == rising && s == up
	if !expected {
		return
	}
	c.calm()
	c.state = s
	if c.round != nil {
		g.advance(c.round)
	}
}

// childLate deals with a child that used up its time.
func (g *guard) childLate(l *late) {
	c := l.child
	if c.watch != l {
		return // it made it just now
	}
	c.calm()
	g.say(slog.LevelError, "child does not end", "child", c.pid.Id, "after", g.settings.stopTimeout)
	publish(g.ctx, &Overdue{Who: c.pid, Parent: g.ctx.Self(), After: g.settings.stopTimeout})
	if c == g.sweep {
		if g.left == nil {
			g.left = make(map[*actor.PID]struct{})
		}
		g.left[c.pid] = struct{}{}
		g.forget(c)
		g.passOn(&actor.Terminated{Who: c.pid}) // so that proto.actor does not wait for it
		g.sweepOn()
		return
	}
	if c.round != nil {
		c.overdue = true
		g.advance(c.round)
	}
}

// childTerminated takes the end of a child, or of an actor that was watched.
func (g *guard) childTerminated(m *actor.Terminated) {
	if _, ok := g.left[m.Who]; ok {
		delete(g.left, m.Who)
		return
	}
	c := g.kid(m.Who)
	if c == nil {
		g.passOn(m)
		return
	}
	swept := c == g.sweep
	if r := g.forget(c); r != nil {
		g.advance(r)
	}
	g.passOn(m) // the handler may panic, so this comes after the bookkeeping
	if swept {
		g.sweepOn()
	}
}

// passOn hands proto.actor the end of an actor. If a present child has the name
// of the one that ended, only the inner actor is told: proto.actor goes by
// names, and would strike the present one off.
func (g *guard) passOn(m *actor.Terminated) {
	namesake := slices.ContainsFunc(g.kids, func(c *child) bool { return c.pid.Equal(m.Who) })
	switch {
	case !namesake:
		g.raw.InvokeSystemMessage(m)
	case g.is() == running:
		g.raw.InvokeUserMessage(m)
	}
}

// forget strikes a child off, and returns the round it was part of.
func (g *guard) forget(c *child) *round {
	c.calm()
	r := g.leaveRound(c)
	g.kids = slices.DeleteFunc(g.kids, func(k *child) bool { return k == c })
	return r
}

func (g *guard) leaveRound(c *child) *round {
	r := c.round
	if r != nil {
		r.members = slices.DeleteFunc(r.members, func(m *child) bool { return m == c })
		c.round = nil
		if len(r.members) == 0 {
			r.dissolve()
		}
	}
	return r
}

// dropRounds gives up all restarts under way: the children will be stopped.
func (g *guard) dropRounds() {
	for _, c := range g.kids {
		if c.round != nil {
			c.round.dissolve()
		}
		c.calm()
	}
}
