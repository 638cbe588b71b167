package worker

// Who calls callbacks: one actor for each runtime, beside its engine, because what
// has to be told at the engine's end is told too.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// callers hosts a goroutine for each handle that has callbacks to call.
//
//	calling ──▶ (stopped)
type callers struct {
	inside *usercode.Runs
	dues   *usercode.Dues
	work   *callersWork
	host   supervisor.Host
	state  callersState
}

// callersWork outlives the incarnations of callers: who is due is called by the
// next one.
type callersWork struct {
	// due are those whose goroutine runs, by its name, with how often that was
	// asked for: more than once when one has come to its end meanwhile.
	due    map[usercode.Callbacks]int
	under  map[string]usercode.Callbacks
	begun  uint64
	asking []*actor.PID // who waits until nobody is under way
}

type callersState string

const callersCalling callersState = "calling"

var callersMoves = supervisor.Moves[callersState]{"": {callersCalling}}

// What callers hear.
type (
	// awaitCalls is answered with *callsOver once everything due was called.
	awaitCalls struct{}
	callsOver  struct{}
	// listCalls is answered with *callsLeft: what awaitCalls waits for.
	listCalls struct{}
	callsLeft struct{ err error }
)

// NewCallbacks makes the actor that calls the callbacks of d. Where they run is noted in i.
func NewCallbacks(i *usercode.Runs, d *usercode.Dues) actor.Producer {
	work := &callersWork{due: make(map[usercode.Callbacks]int)}
	return func() actor.Actor { return &callers{inside: i, dues: d, work: work} }
}

// Inspect reports how many handles have callbacks to call.
func (a *callers) Inspect(in *supervisor.Inspection) { in.Int("handles", len(a.work.due)) }

func (a *callers) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.host.Begin(ctx)
		a.state = callersMoves.To(ctx, a.state, callersCalling)
		a.resume(ctx)
		a.take() // what an earlier one was told and did not hear
	case *usercode.Due:
		a.take()
	case *supervisor.Ended:
		a.ended(ctx, m)
	case *awaitCalls:
		a.take()
		a.work.asking = append(a.work.asking, ctx.Sender())
		a.reply(ctx)
	case *listCalls:
		supervisor.Reply(ctx, &callsLeft{a.left()})
	case node.Crash:
		panic(m.Err)
	case *actor.Restarting:
		a.host.End() // it waits for the callback that is being called
	case *actor.Stopping:
		a.host.End()
		a.stopping()
	default:
		supervisor.Unhandled(ctx)
	}
}

// resume begins what an earlier incarnation had begun, and has awaited.
func (a *callers) resume(ctx actor.Context) {
	a.work.under = make(map[string]usercode.Callbacks)
	for c := range a.work.due {
		a.work.due[c] = 1
		a.begin(c)
	}
	a.reply(ctx)
}

// take begins what is due and was not begun.
func (a *callers) take() {
	for _, c := range a.dues.Take() {
		if a.work.due[c]++; a.work.due[c] == 1 {
			a.begin(c)
		}
	}
}

func (a *callers) begin(c usercode.Callbacks) {
	a.work.begun++
	name := fmt.Sprintf("callbacks %d", a.work.begun)
	a.work.under[name] = c
	inside := a.inside
	a.host.Run(name, func(ctx context.Context) error {
		defer inside.Enter(c.Run())()
		c.Call(ctx)
		return nil
	})
}

// ended: a queue is empty, or a callback ended its goroutine.
func (a *callers) ended(ctx actor.Context, m *supervisor.Ended) {
	c := a.work.under[m.Name]
	delete(a.work.under, m.Name)
	switch {
	case m.Err != nil:
		a.begin(c)
	case a.work.due[c] > 1:
		a.work.due[c] = 1
		a.begin(c)
	default:
		delete(a.work.due, c)
	}
	a.reply(ctx)
}

// stopping leaves what is not called to the next one, or to be named.
func (a *callers) stopping() {
	for c := range a.work.due {
		if c.Waiting() != nil {
			a.dues.Add(c)
		}
	}
}

func (a *callers) reply(ctx actor.Context) {
	if len(a.work.due) > 0 {
		return
	}
	for _, pid := range a.work.asking {
		supervisor.Notify(ctx, pid, &callsOver{})
	}
	a.work.asking = nil
}

func (a *callers) left() error {
	var errs []error
	for c := range a.work.due {
		errs = append(errs, c.Waiting())
	}
	return errors.Join(errs...)
}

// callbackGrace is how long the end of a runtime or subscription waits for
// callbacks that do not return, however long its context lasts: the end may have
// been called by one of them.
const callbackGrace = 5 * time.Second

// WithinGrace is a context for waiting for callbacks.
func WithinGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callbackGrace, fmt.Errorf("not within %s: %w", callbackGrace, messages.ErrBusy))
}

// EndCallbacks waits for callbacks to return, and says which did not. What they
// hold stays behind.
func EndCallbacks(ctx context.Context, n *node.Node) error {
	waiting, cancel := WithinGrace(ctx)
	defer cancel()
	_, err := supervisor.Ask[*callsOver](waiting, n.System, n.Callbacks, &awaitCalls{})
	if err == nil {
		return supervisor.Stop(ctx, n.System, n.Callbacks)
	}
	if errors.Is(err, supervisor.ErrNoActor) {
		return uncalled(n)
	}
	cause := context.Cause(waiting)
	look, done := context.WithTimeout(context.WithoutCancel(ctx), node.LastGrace)
	defer done()
	left, err := supervisor.Ask[*callsLeft](look, n.System, n.Callbacks, &listCalls{})
	n.System.Root.Stop(n.Callbacks)
	if err != nil {
		return fmt.Errorf("wait for callbacks: %w", errors.Join(err, cause))
	}
	if left.err == nil { // they have returned meanwhile
		return fmt.Errorf("wait for callbacks: %w", cause)
	}
	return fmt.Errorf("wait for callbacks: %w: %w", left.err, cause)
}

// uncalled says what nobody calls any more, as the actor is gone that did.
func uncalled(n *node.Node) error {
	var errs []error
	for _, c := range n.Dues.Take() {
		errs = append(errs, c.Waiting())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wait for callbacks: %w: %w", err, node.ErrOutside)
	}
	return nil
}
