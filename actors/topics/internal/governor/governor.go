package governor

// The actor that looks at etcd for the gate.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/quota"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// governor looks at etcd whenever its gate wants that.
//
//	watching ◀──a look succeeds── ──a look is refused, or shows no quota──▶ blind
//
// After a crash it begins again, and the gate stays as it was: it outlives the actor.
type governor struct {
	node  *node.Node
	gate  *quota.Gate
	fixed int64 // the quota, where etcd does not say it
	host  supervisor.Host
	state state
}

type state string

const watching, blind state = "watching", "blind"

var moves = supervisor.Moves[state]{
	"":       {watching},
	watching: {blind},
	blind:    {watching},
}

// What a governor hears.
type (
	// saw: a look has changed the gate's state.
	saw struct {
		before, after quota.State
		size          quota.Size
	}
	// cannot: a look failed for a reason that a person has to act upon.
	cannot struct{ err error }
	// can: a look succeeded again.
	can struct{}
	// alarmed: etcd has other alarms than before.
	alarmed struct {
		alarms []string
		size   quota.Size
	}
)

// errNoQuota: this etcd does not say what its quota is.
var errNoQuota = errors.New("this version of etcd does not say its quota: set EtcdQuota")

// New makes the actor that looks for gate. fixed is the quota of an etcd that does not
// say it, 0 for none.
func New(n *node.Node, gate *quota.Gate, fixed int64) actor.Producer {
	return func() actor.Actor { return &governor{node: n, gate: gate, fixed: fixed} }
}

func (a *governor) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case saw:
		a.saw(m)
	case cannot:
		a.cannot(ctx, m)
	case can:
		a.can(ctx)
	case alarmed:
		a.alarmed(m)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *governor) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = moves.To(ctx, a.state, watching)
	l := &looks{node: a.node, gate: a.gate, fixed: a.fixed, tell: a.host.Teller()}
	a.host.Run("look at etcd", l.run)
}

func (a *governor) saw(m saw) {
	s := m.size
	switch m.after {
	case quota.Slowed:
		a.node.Events.Emit(messages.PutsSlowed{Used: s.InUse, Size: s.File, Quota: s.Quota})
	case quota.Shut:
		a.node.Events.Emit(messages.PutsRefused{Used: s.InUse, Size: s.File, Quota: s.Quota})
	default:
		a.node.Events.Emit(messages.PutsFree{Used: s.InUse, Size: s.File, Quota: s.Quota})
	}
}

func (a *governor) cannot(ctx actor.Context, m cannot) {
	if a.state == watching {
		a.state = moves.To(ctx, a.state, blind)
		a.node.Events.Emit(messages.EtcdUnwatched{Err: m.err})
	}
}

func (a *governor) can(ctx actor.Context) {
	if a.state == blind {
		a.state = moves.To(ctx, a.state, watching)
	}
}

func (a *governor) alarmed(m alarmed) {
	s := m.size
	a.node.Events.Emit(messages.EtcdAlarmed{Alarms: strings.Join(m.alarms, ","), Used: s.InUse, Size: s.File, Quota: s.Quota, Do: advice(m.alarms)})
}

// advice is what a person can do about alarms.
func advice(alarms []string) string {
	switch {
	case slices.Contains(alarms, "NOSPACE"):
		return "delete records or topics, compact etcd's history and defragment it, then \"etcdctl alarm disarm\""
	case len(alarms) > 0:
		return "see \"penstock doctor\" and etcd's log"
	}
	return ""
}

func (a *governor) ended(ctx actor.Context, m *supervisor.Ended) {
	if m.Err != nil {
		supervisor.Fail(ctx, m.Err)
	}
}

// looks is the loop that looks.
type looks struct {
	node  *node.Node
	gate  *quota.Gate
	fixed int64
	tell  func(any)
	seen  []string // the alarms of the last look
}

const (
	// lookTimeout bounds one look.
	lookTimeout = 2 * time.Second
	// again is after how long a look is tried that was refused.
	again = 10 * time.Minute
)

func (l *looks) run(ctx context.Context) error {
	wanted := l.gate.Wanted()
	failing := false
	for {
		select {
		case <-wanted:
		case <-ctx.Done():
			return nil
		}
		next, err := l.look(ctx, &failing)
		if err != nil {
			return err
		}
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// look looks once, and returns how long to wait for the next time.
func (l *looks) look(ctx context.Context, failing *bool) (next time.Duration, err error) {
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	space, err := discovery.SpaceOf(looking, l.node.Etcd.Control)
	if ctx.Err() != nil {
		return 0, nil
	}
	size := quota.Size{InUse: space.InUse, File: space.File, Quota: space.Quota}
	if size.Quota == 0 {
		size.Quota = l.fixed
	}
	if err == nil && !slices.Equal(space.Alarms, l.seen) {
		l.seen = space.Alarms
		l.tell(alarmed{space.Alarms, size})
	}
	if err == nil && size.Quota == 0 {
		err = errNoQuota
	}
	if err != nil {
		l.gate.Blind()
		if errors.Is(err, messages.ErrUnavailable) {
			return time.Second, nil
		}
		*failing = true
		l.tell(cannot{err})
		return again, nil
	}
	if *failing {
		*failing = false
		l.tell(can{})
	}
	before, after, next := l.gate.Looked(size)
	if before != after {
		l.tell(saw{before, after, size})
	}
	return next / 2, nil
}
