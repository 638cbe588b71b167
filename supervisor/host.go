package supervisor

// The host: goroutines, blocking calls and timers of one incarnation.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/jonboulle/clockwork"
)

// Host owns the goroutines, blocking calls and timers of one incarnation of an
// actor. It lives by value in the actor's struct; the zero Host is ready; it
// must not be copied.
//
//	func (c *consumer) Receive(ctx actor.Context) {
//		msg, mine := c.host.Open(ctx.Message())
//		if !mine {
//			return // begun by an earlier incarnation
//		}
//		switch m := msg.(type) {
//		case *actor.Started:
//			c.host.Begin(ctx)
//			c.host.Run("reader", c.read)
//		case *supervisor.Ended:
//			supervisor.Fail(ctx, m.Err)
//		case *actor.Stopping, *actor.Restarting:
//			c.host.End()
//		}
//	}
//
// What hosted work has to say arrives in the actor's mailbox, wrapped so that
// Open can tell whose it is. Its methods are for the actor's own goroutine,
// from within Receive; the functions handed to Run and Call run on others and
// must not touch the actor or its Context.
type Host struct {
	now *incarnation // the present or the last one
}

// Ended tells the actor that hosted work is over: what Run began, with the
// error it returned, or a Call that panicked. A panic is a *PanicError.
type Ended struct {
	Name string
	Err  error
}

// incarnation is one Begin to End.
type incarnation struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	post   func(any)
	clock  Clock
	actor  actor.Context // for its own goroutine

	mu     sync.Mutex // against End
	over   bool
	work   sync.WaitGroup
	timers map[*timer]struct{} // nil before the first one
	atEnd  []func()            // of the actor's goroutine
	users  map[*lent]struct{}  // nil before the first one; of the actor's goroutine; mu for what ends
}

// lent is a goroutine that runs user code.
type lent struct {
	name     string
	patience func() time.Duration
	done     chan struct{}
}

// hosted is a message from hosted work to its own actor.
type hosted struct {
	from    *incarnation
	timer   *timer // nil for work
	message any
}

// IgnoreDeadLetterLogging keeps proto.actor from logging what comes too late.
func (*hosted) IgnoreDeadLetterLogging() {}

type timer struct {
	message any
	every   time.Duration // 0 for once
	due     func() bool   // whether a tick is sent; nil: each
	queued  atomic.Bool   // a tick is in the mailbox
	clock   clockwork.Timer
	stopped bool // the actor's goroutine only
}

// Begin opens the host for a new incarnation. Call it in Started, before the
// other methods. What an earlier Begin opened is ended first.
func (h *Host) Begin(ctx actor.Context) {
	h.End()
	i := &incarnation{clock: ClockOf(ctx), actor: ctx}
	i.ctx, i.cancel = context.WithCancelCause(context.Background())
	if g, ok := ctx.Actor().(*guard); ok {
		i.post = g.mb.PostUserMessage // this very actor, whoever has its name later
	} else {
		root, self := ctx.ActorSystem().Root, ctx.Self()
		i.post = func(m any) { root.Send(self, m) }
	}
	h.now = i
}

// End cancels all that was begun since Begin and waits for it. Call it in
// Stopping and in Restarting. It waits as long as a hosted function ignores its
// context; WithStopTimeout of the parent reports that. For user code it waits as
// long as that was promised, then publishes Overdue and leaves it behind. Without
// a Begin, or a second time, it does nothing.
func (h *Host) End() {
	i := h.now
	if i == nil {
		return
	}
	i.mu.Lock()
	i.over = true
	for t := range i.timers {
		t.clock.Stop()
	}
	clear(i.timers)
	i.mu.Unlock()
	for _, f := range i.atEnd {
		f()
	}
	i.atEnd = nil
	i.cancel(ErrEnded)
	i.work.Wait()
	i.awaitUsers()
}

// awaitUsers waits for user code that still runs, each as long as its patience
// lasts from now on.
func (i *incarnation) awaitUsers() {
	began := i.clock.Now()
	i.mu.Lock()
	users := slices.Collect(maps.Keys(i.users))
	i.mu.Unlock()
	told := make(map[string]bool)
	for _, u := range users {
		patience := u.patience()
		timer := i.clock.NewTimer(patience - i.clock.Since(began))
		select {
		case <-u.done:
		case <-timer.Chan():
			select {
			case <-u.done:
			default:
				if !told[u.name] { // there may be thousands of one name
					publish(i.actor, &Overdue{Who: i.actor.Self(), Parent: i.actor.Parent(), What: u.name, After: patience})
				}
				told[u.name] = true
			}
		}
		timer.Stop()
	}
}

// AtEnd has f called by End, on the actor's goroutine, before anything is waited
// for: to end what was begun elsewhere for this incarnation. f must not block.
//
// AtEnd panics before Begin. After End it calls f at once.
func (h *Host) AtEnd(f func()) {
	i := h.begun("AtEnd")
	if i.over { // written by End, on this goroutine
		f()
		return
	}
	i.atEnd = append(i.atEnd, f)
}

// Context is cancelled by End, with the cause ErrEnded. Before Begin it is
// cancelled already.
func (h *Host) Context() context.Context {
	if h.now == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(ErrEnded)
		return ctx
	}
	return h.now.ctx
}

// Run begins a goroutine. When f is over, and the incarnation is not, the actor
// is sent *Ended. f must return soon after its context is cancelled.
//
// Run panics before Begin, and does nothing after End. The name appears in
// Ended.
func (h *Host) Run(name string, f func(context.Context) error) {
	h.goes(name, func(i *incarnation) any {
		return &Ended{Name: name, Err: f(i.ctx)}
	})
}

// Teller returns a function by which hosted work may send its own actor
// messages while it runs. They are opened like its result: what is sent after
// End is dropped. The function is safe for concurrent use and does not block, so
// the work must not tell more than the actor can take: batch, or wait for an
// answer.
//
// Teller panics before Begin.
func (h *Host) Teller() func(message any) {
	i := h.begun("Teller")
	return func(message any) {
		if i.ctx.Err() == nil {
			i.post(&hosted{from: i, message: message})
		}
	}
}

// Call begins one blocking call on a goroutine of its own. Its value arrives as
// a message of type T. If f panics, *Ended arrives in its place. As for Run
// otherwise.
func Call[T any](h *Host, name string, f func(context.Context) T) {
	h.goes(name, func(i *incarnation) any { return f(i.ctx) })
}

// CallUser is Call for code of the user's, which may not return: End waits for it
// as long as patience says when End is called, and then leaves it behind. What a
// call that was left behind returns is dropped.
func CallUser[T any](h *Host, name string, patience func() time.Duration, f func(context.Context) T) {
	h.lend(name, patience, func(i *incarnation) any { return f(i.ctx) })
}

// RunUser is Run for code of the user's; see CallUser.
func (h *Host) RunUser(name string, patience func() time.Duration, f func(context.Context) error) {
	h.lend(name, patience, func(i *incarnation) any { return &Ended{Name: name, Err: f(i.ctx)} })
}

func (h *Host) lend(name string, patience func() time.Duration, f func(*incarnation) any) {
	i := h.begun(name)
	if i.over {
		return
	}
	u := &lent{name: name, patience: patience, done: make(chan struct{})}
	i.mu.Lock()
	if i.users == nil {
		i.users = make(map[*lent]struct{})
	}
	i.users[u] = struct{}{}
	i.mu.Unlock()
	go func() {
		defer func() {
			i.mu.Lock()
			delete(i.users, u)
			i.mu.Unlock()
			close(u.done)
		}()
		i.perform(name, f)
	}()
}

func (h *Host) goes(name string, f func(*incarnation) any) {
	i := h.begun(name)
	if i.over { // written by End, on this goroutine
		return
	}
	i.work.Go(func() { i.perform(name, f) })
}

// perform runs hosted work and posts what came of it.
func (i *incarnation) perform(name string, f func(*incarnation) any) {
	var message any
	returned := false
	defer func() {
		if !returned {
			message = &Ended{Name: name, Err: fmt.Errorf("%s: %w", name, unwound(recover()))}
		}
		if i.ctx.Err() == nil {
			i.post(&hosted{from: i, message: message})
		}
	}()
	message = f(i)
	returned = true
}

func (h *Host) begun(name string) *incarnation {
	if h.now == nil {
		panic(errors.New("supervisor: " + name + ": Host used before Begin"))
	}
	return h.now
}

// After sends message to the actor once, after d. The function it returns stops
// the timer; once that has been called the message is not opened any more, even
// if it was on its way. It may be ignored, and is for the actor's goroutine.
//
// After panics before Begin, and does nothing after End.
func (h *Host) After(d time.Duration, message any) (stop func()) {
	return h.begun("After").start(d, &timer{message: message})
}

// Every sends message to the actor each d, which must be positive. While one is
// waiting in the mailbox no other is sent, so a slow actor is not flooded. As
// for After otherwise.
func (h *Host) Every(d time.Duration, message any) (stop func()) {
	if d <= 0 {
		panic(fmt.Errorf("supervisor: Every: period %v is not positive", d))
	}
	return h.begun("Every").start(d, &timer{message: message, every: d})
}

// EveryWhen is Every, but for the ticks at which due reports false: an actor with nothing
// to do is not woken for it. due is called on the clock's goroutine, once for each tick, so
// it must not block and not touch the actor. End waits for it. When it panics the actor is
// sent *Ended with that.
func (h *Host) EveryWhen(d time.Duration, message any, due func() bool) (stop func()) {
	if d <= 0 {
		panic(fmt.Errorf("supervisor: EveryWhen: period %v is not positive", d))
	}
	return h.begun("EveryWhen").start(d, &timer{message: message, every: d, due: due})
}

func (i *incarnation) start(d time.Duration, t *timer) (stop func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over {
		return func() {}
	}
	if i.timers == nil {
		i.timers = make(map[*timer]struct{})
	}
	i.timers[t] = struct{}{}
	t.clock = i.clock.AfterFunc(d, func() { i.tick(t) })
	return func() {
		t.stopped = true
		i.mu.Lock()
		defer i.mu.Unlock()
		t.clock.Stop()
		delete(i.timers, t)
	}
}

// tick runs on the clock's goroutine.
func (i *incarnation) tick(t *timer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.timers[t]; !ok {
		return // stopped, or over
	}
	if t.every > 0 {
		t.clock.Reset(t.every)
	} else {
		delete(i.timers, t)
	}
	if t.due == nil {
		i.fire(t)
		return
	}
	i.work.Add(1) // End waits for work after it has emptied timers
	defer i.work.Done()
	i.mu.Unlock()
	due, err := i.asks(t)
	i.mu.Lock()
	switch _, ok := i.timers[t]; {
	case !ok:
	case err != nil:
		i.post(&hosted{from: i, message: &Ended{Name: "EveryWhen", Err: err}})
	case due:
		i.fire(t)
	}
}

// fire sends a tick. mu is held.
func (i *incarnation) fire(t *timer) {
	if t.queued.CompareAndSwap(false, true) {
		i.post(&hosted{from: i, timer: t, message: t.message})
	}
}

// asks reports whether a tick is to be sent.
func (i *incarnation) asks(t *timer) (due bool, err error) {
	returned := false
	defer func() {
		if !returned {
			err = fmt.Errorf("EveryWhen: %w", unwound(recover()))
		}
	}()
	due, returned = t.due(), true
	return due, nil
}

// Open is the first thing in Receive. It unwraps a message from hosted work and
// returns any other as it is; false means that the message is of an earlier
// incarnation, or of a stopped timer, and is to be dropped.
func (h *Host) Open(message any) (any, bool) {
	m, ok := message.(*hosted)
	if !ok {
		return message, true
	}
	if m.from != h.now || m.from.over {
		return nil, false
	}
	if t := m.timer; t != nil {
		t.queued.Store(false)
		if t.stopped {
			return nil, false
		}
	}
	return m.message, true
}
