package node

// The keys of an actor in etcd: writing them, which may be cut short, and taking
// them away.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// KeyWrite is the writing of an actor's keys, which may have to be cut short:
// what is removed while it is under way would come after it.
type KeyWrite struct {
	ctx    context.Context
	cancel context.CancelFunc
	over   chan struct{}
}

// BeginWrite prepares a write that ends with ctx at the latest.
func BeginWrite(ctx context.Context) *KeyWrite {
	w := &KeyWrite{over: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// Do performs the write. It is called once, by a hosted call.
func (w *KeyWrite) Do(write func(context.Context) error) error {
	defer close(w.over)
	return write(w.ctx)
}

// Cut ends the write and waits for its end.
func (w *KeyWrite) Cut() {
	w.cancel()
	<-w.over
}

// Removal is how far the taking away of a handle's keys is. It is for the words
// of who waits for it and gives up. It is safe for concurrent use.
type Removal struct {
	mu    sync.Mutex // one removal at a time
	stage atomic.Int32
	why   atomic.Pointer[error] // of removalFailed
}

const (
	removalNone   int32 = iota // the actor has not begun
	removalAsked               // etcd was asked
	removalDone                // the keys are gone
	removalFailed              // etcd did not take them away
)

// Of performs f, which takes the keys away, unless they are gone: who leaves by
// itself may be asked to leave as well.
func (r *Removal) Of(f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stage.Load() == removalDone {
		return nil
	}
	r.stage.Store(removalAsked)
	err := f()
	if err == nil {
		r.stage.Store(removalDone)
	} else {
		r.why.Store(&err)
		r.stage.Store(removalFailed)
	}
	return err
}

// Left says that keys may stand in etcd though their owner has ended, or is nil.
func (r *Removal) Left() error {
	if r.stage.Load() != removalFailed {
		return nil
	}
	return fmt.Errorf("it has ended here, but its keys may stay in etcd until the lease ends: %w", *r.why.Load())
}

// Withdrawn is the reply to a question that withdraws something: it has ended,
// and its name is free again.
type Withdrawn struct{}

// Withdraw asks the engine's actor to end a handle and waits until its name is
// free. Its errors say whether the keys are gone and what is waited for:
// messages.ErrBusy for code of the user's, ErrRestarted for an actor of ours that
// has not come up again, ErrUnavailable for etcd.
func (n *Node) Withdraw(ctx context.Context, question any, r *Removal) error {
	_, err := supervisor.Ask[*Withdrawn](ctx, n.System, n.Root, question)
	switch {
	case errors.Is(err, supervisor.ErrNoActor):
		return nil // everything is over
	case err == nil:
		return r.Left()
	}
	switch cause := context.Cause(ctx); r.stage.Load() {
	case removalDone:
		return fmt.Errorf("its keys are gone from etcd; a handler or callback that has not returned holds up the rest: %w: %w", messages.ErrBusy, cause)
	case removalNone:
		return fmt.Errorf("its keys stand until its actor, which is being restarted, removes them, or the lease ends: %w: %w", messages.ErrRestarted, cause)
	default:
		return n.Silent("etcd at %s has not confirmed it, so its keys may stay until the lease ends", cause)
	}
}

// Placement is a handle, its actor, and who waits for either. The actor that
// keeps it alone uses it.
type Placement[H any] struct {
	Handle  H
	PID     *actor.PID // nil while the actor has not begun
	Asker   *actor.PID
	Leavers []*actor.PID // wait for its end
}

// Release tells those who wait for an end.
func Release(ctx actor.Context, leavers ...*actor.PID) {
	for _, leaver := range leavers {
		if leaver != nil { // a Send, not a request
			ctx.Send(leaver, &Withdrawn{})
		}
	}
}

// Dismiss tells a caller that was not answered yet that the runtime is over. One
// that was told of an error hears this too late, and does not.
func Dismiss(ctx actor.Context, asker *actor.PID, announced *atomic.Bool) {
	if announced.CompareAndSwap(false, true) {
		ctx.Send(asker, messages.ErrClosed)
	}
}

// Refuse reports whether Stop was called, and tells who asks then: what is there
// ends.
func (n *Node) Refuse(ctx actor.Context) bool {
	if n.Stopping() {
		ctx.Respond(messages.ErrClosed)
		return true
	}
	return false
}

// ErrOurs says that this runtime has that id itself, or has not quite left yet.
func ErrOurs(what, id string) error {
	return fmt.Errorf("%s %q %w, so the %w", what, id, messages.ErrExists, messages.ErrTaken)
}

// Marshal encodes what is written into a key. Every string in m was validated.
func Marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
