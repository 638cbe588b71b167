package supervisor

// The mailbox of a guarded actor.

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox stands between the world and an actor's real mailbox, so that the
// guard sees every message before proto.actor's context does.
//
// It also holds back what arrives before the actor is ready: a name can be
// found in the registry before its mailbox has handlers, and a message sent
// then would panic in the sender.
type mailbox struct {
	inner actor.Mailbox
	guard *guard

	ready atomic.Bool
	mu    sync.Mutex // held while early is written or flushed
	early []posted

	// stopAsked is set as soon as a Stop is queued: a handler that stops its
	// own actor and then panics must not be restarted.
	stopAsked atomic.Bool

	dispatcher actor.Dispatcher
	// rerun is the mailbox's loop. Only the one goroutine that holds the
	// mailbox's "running" mark touches it.
	rerun func()
}

type posted struct {
	message any
	system  bool
}

var (
	_ actor.Mailbox    = (*mailbox)(nil)
	_ actor.Dispatcher = (*mailbox)(nil)
)

func (m *mailbox) PostUserMessage(message any) {
	if m.ready.Load() || !m.keep(message, false) {
		m.inner.PostUserMessage(message)
	}
}

func (m *mailbox) PostSystemMessage(message any) {
	switch message.(type) {
	case *actor.Stop:
		m.stopAsked.Store(true)
	case *actor.ResumeMailbox:
		// Whether to resume is the guard's to say: it may be between
		// incarnations, or have children that wait for what happens to it.
		message = &resumed{}
	}
	if m.ready.Load() || !m.keep(message, true) {
		m.inner.PostSystemMessage(message)
	}
}

// keep holds a message back until Start, and returns false when that is past.
func (m *mailbox) keep(message any, system bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready.Load() {
		return false
	}
	m.early = append(m.early, posted{message, system})
	return true
}

func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.dispatcher = dispatcher
	ctx := invoker.(actor.Context)
	m.guard = ctx.Actor().(*guard)
	m.guard.attach(m, invoker, ctx)
	m.inner.RegisterHandlers(m.guard, m)
}

// Start lets through what was held back, Started before everything else.
func (m *mailbox) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.early {
		if _, ok := p.message.(*actor.Started); ok {
			m.inner.PostSystemMessage(p.message)
		}
	}
	for _, p := range m.early {
		if _, ok := p.message.(*actor.Started); ok {
			continue
		}
		if p.system {
			m.inner.PostSystemMessage(p.message)
		} else {
			m.inner.PostUserMessage(p.message)
		}
	}
	m.early = nil
	m.ready.Store(true)
	m.inner.Start()
}

func (m *mailbox) UserMessageCount() int { return m.inner.UserMessageCount() }

func (m *mailbox) Schedule(fn func()) {
	m.rerun = fn
	m.dispatcher.Schedule(fn)
}

func (m *mailbox) Throughput() int { return m.dispatcher.Throughput() }

// revive runs the mailbox again after its goroutine was ended by Goexit, which
// leaves it marked as running forever. It is called from that goroutine's
// deferred functions.
func (m *mailbox) revive() { m.dispatcher.Schedule(m.rerun) }

func (m *mailbox) suspend() { m.inner.PostSystemMessage(&actor.SuspendMailbox{}) }
func (m *mailbox) resume()  { m.inner.PostSystemMessage(&actor.ResumeMailbox{}) }
