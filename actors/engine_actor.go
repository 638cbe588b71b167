package actors

// The engine's root actor: the session, and the branches of what was registered,
// joined and opened.

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/session"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// engineActor keeps the session and two branches. A crash ends the children, and
// the next incarnation begins them again around the same handles and sockets.
//
//	starting ──session alive──▶ running ──▶ (stopped)
//	    └────session refused──▶ refused ──▶ (stopped)
type engineActor struct {
	eng      *Engine
	node     *node.Node
	host     supervisor.Host
	state    engineState
	refusal  error
	waiting  []*actor.PID // who asked to be told when it runs
	branches []branch
	session  *actor.PID // nil once it was given up
	ages     func()     // stops the notes of ages; nil without
}

type engineState string

const engineStarting, engineRunning, engineRefused engineState = "starting", "running", "refused"

var engineMoves = supervisor.Moves[engineState]{
	"":             {engineStarting},
	engineStarting: {engineRunning, engineRefused},
}

// branch is a part of the tree that the engine's actor keeps, on its goroutine.
type branch interface {
	// Begin begins what an earlier incarnation had.
	Begin(ctx actor.Context)
	// Receive handles what is for the branch, and reports whether msg was.
	Receive(ctx actor.Context, msg any) bool
	// Terminated hears of a child that has ended, Failed of one that was given up
	// before. Both report whether it was of the branch.
	Terminated(ctx actor.Context, who *actor.PID) bool
	Failed(ctx actor.Context, m *supervisor.Failed) bool
	// KeyLost ends what has lost its key.
	KeyLost(ctx actor.Context, k keys.Key, loss node.KeyLoss)
	// LeaseTrusted: the session's lease can be trusted, again or for the first time.
	LeaseTrusted()
	// End comes at the end of an incarnation, Close at the end of the engine, too:
	// whoever still holds a handle, or waits for one, is told.
	End(ctx actor.Context)
	Close(ctx actor.Context)
}

// Questions to the engine's actor, and what it tells itself.
type (
	awaitReady struct{}
	ready      struct{}
	// sumsOpened: there are events to be told in sums; sumsDue: it is time to.
	sumsOpened struct{}
	sumsDue    struct{}
	// agesWanted: somebody measures; agesDue: it is time to note how far the pipes are.
	agesWanted struct{}
	agesDue    struct{}
)

func newEngineActor(e *Engine) actor.Producer {
	return func() actor.Actor {
		a := &engineActor{eng: e, node: e.node}
		a.branches = []branch{e.pipes.Branch(&a.host), e.topics.Branch(&a.host)}
		return a
	}
}

// enginePolicy: an engine that etcd refuses at its start ends; whatever else the
// world does is waited for. Bugs get a small budget and then fail the engine,
// which begins everything again; when that does not help either, it stops.
func enginePolicy() supervisor.Policy {
	p := supervisor.DefaultPolicy()
	waiting := supervisor.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second, Factor: 2, Jitter: 0.5, Healthy: time.Minute}
	bug := supervisor.ForType[*supervisor.PanicError]()
	p.Rules = []supervisor.Rule{
		{If: supervisor.ForType[*session.RefusedError](), Then: supervisor.Terminate},
		{If: func(err error) bool { return !bug(err) }, Then: supervisor.Restart, Backoff: &waiting, Budget: &supervisor.Budget{}},
	}
	return p
}

func (a *engineActor) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *session.Alive, *session.EtcdFull:
		a.run(ctx)
	case *session.LeaseTrusted:
		a.trusted()
	case *session.KeyLost:
		a.keyLost(ctx, m.Loss)
	case *supervisor.Failed:
		a.failed(ctx, m)
	case *awaitReady:
		a.awaitReady(ctx)
	case *askAlive:
		supervisor.Reply(ctx, &alive{})
	case *sumsOpened:
		a.host.After(events.SumEvery, sumsDue{})
	case sumsDue:
		a.node.Events.TellSums()
	case *agesWanted:
		a.noteAges()
	case agesDue:
		a.agesDue()
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *supervisor.Ended:
		a.ended(m)
	case node.Crash:
		panic(m.Err)
	case *actor.Restarting:
		a.node.SetRestarting(true)
		a.reply(ctx, node.ErrAskAgain)
		a.end(ctx)
	case *actor.Stopping:
		a.node.Ends()
		ctx.Unwatch(a.node.Callbacks)
		a.end(ctx)
		a.close(ctx)
	default:
		a.branch(ctx, msg)
	}
}

func (a *engineActor) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.node.SetRestarting(false)
	a.state = engineMoves.To(ctx, a.state, engineStarting)
	a.beginSession(ctx)
	ctx.Watch(a.node.Callbacks)
	if a.node.Events.AwaitsSums() {
		a.host.After(events.SumEvery, sumsDue{}) // an earlier incarnation's timer ended with it
	}
	if a.eng.log != nil {
		a.beginLog()
	}
	for _, b := range a.branches {
		b.Begin(ctx)
	}
	a.noteAges()
}

// noteEvery is how exact ages of messages are.
const noteEvery = time.Second

// noteAges has noted how far the pipes are, while somebody measures.
func (a *engineActor) noteAges() {
	if a.ages == nil && a.node.Runs.Measured() {
		a.eng.pipes.Note(time.Now())
		a.ages = a.host.Every(noteEvery, agesDue{})
	}
}

func (a *engineActor) agesDue() {
	if !a.node.Runs.Measured() {
		a.ages()
		a.ages = nil
		return
	}
	a.eng.pipes.Note(time.Now())
}

func (a *engineActor) beginSession(ctx actor.Context) {
	a.session = a.node.Spawn(ctx, "session", "", session.New(a.node, a.eng.work))
}

// branch hands a message to the branch that it is for.
func (a *engineActor) branch(ctx actor.Context, msg any) {
	for _, b := range a.branches {
		if b.Receive(ctx, msg) {
			return
		}
	}
	supervisor.Unhandled(ctx)
}

func (a *engineActor) awaitReady(ctx actor.Context) {
	switch a.state {
	case engineRunning:
		supervisor.Reply(ctx, &ready{})
	case engineRefused:
		supervisor.Reply(ctx, a.refusal)
	default:
		a.waiting = append(a.waiting, ctx.Sender())
	}
}

func (a *engineActor) run(ctx actor.Context) {
	if a.state != engineStarting {
		return
	}
	a.state = engineMoves.To(ctx, a.state, engineRunning)
	a.reply(ctx, &ready{})
}

func (a *engineActor) reply(ctx actor.Context, msg any) {
	for _, pid := range a.waiting {
		supervisor.Notify(ctx, pid, msg)
	}
	a.waiting = nil
}

// failed hears of a child that was given up. Without its session an engine is
// nothing.
func (a *engineActor) failed(ctx actor.Context, m *supervisor.Failed) {
	for _, b := range a.branches {
		if b.Failed(ctx, m) {
			return
		}
	}
	if m.Who.Equal(a.session) {
		a.session = nil
	}
	if a.state == engineStarting {
		a.state = engineMoves.To(ctx, a.state, engineRefused)
		a.refusal = m.Err
		a.reply(ctx, m.Err)
		return
	}
	supervisor.Fail(ctx, m.Err)
}

// terminated hears of an end. The session and the callbacks' actor belong to no
// branch; whoever stopped them from outside gets another one, around the same work.
func (a *engineActor) terminated(ctx actor.Context, who *actor.PID) {
	switch {
	case who.Equal(a.session):
		a.node.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
		a.beginSession(ctx)
		return
	case who.Equal(a.node.Callbacks):
		a.node.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
		if err := a.eng.beginCallbacks(); err != nil {
			supervisor.Fail(ctx, err)
		}
		ctx.Watch(a.node.Callbacks)
		return
	}
	for _, b := range a.branches {
		if b.Terminated(ctx, who) {
			return
		}
	}
}

func (a *engineActor) trusted() {
	for _, b := range a.branches {
		b.LeaseTrusted()
	}
}

// keyLost ends what has lost its key.
func (a *engineActor) keyLost(ctx actor.Context, loss node.KeyLoss) {
	k, _ := a.node.Keys.Parse(loss.Key)
	for _, b := range a.branches {
		b.KeyLost(ctx, k, loss)
	}
}

// callLog names the run of the user's logger.
const callLog = "log"

func (a *engineActor) beginLog() {
	log, runs := a.eng.log, a.node.Runs
	a.host.RunUser(callLog, usercode.Patience, func(ctx context.Context) error {
		defer runs.Enter(&usercode.Run{What: "the logger"})()
		return log.Follow(ctx)
	})
}

// ended: the logger ended its goroutine, and gets another one. Any other work of
// this actor ends with a bug.
func (a *engineActor) ended(m *supervisor.Ended) {
	switch {
	case m.Name != callLog:
		panic(m.Err)
	case m.Err != nil: // else there are no more events
		a.beginLog()
	}
}

// end ends the incarnation.
func (a *engineActor) end(ctx actor.Context) {
	a.host.End()
	for _, b := range a.branches {
		b.End(ctx)
	}
}

// close tells whoever still holds a handle, or waits for one, that it is over.
func (a *engineActor) close(ctx actor.Context) {
	for _, b := range a.branches {
		b.Close(ctx)
	}
}
