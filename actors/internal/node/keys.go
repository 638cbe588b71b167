package node

// The keys of an actor in etcd: writing them, which may be cut short, taking them
// away, and losing them.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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
	over  atomic.Bool           // the actor has done what it can
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

// Settle notes that the actor has done about its keys what it can.
func (r *Removal) Settle() { r.over.Store(true) }

// Settled reports whether the actor has done what it can, or somebody in its place.
func (r *Removal) Settled() bool { return r.over.Load() }

// TakeAway removes the keys of an actor that has ended without having done so: it
// was stopped from outside, or given up. h is the host of who keeps its placement,
// and gets done.
func TakeAway[T any](h *supervisor.Host, r *Removal, remove func(context.Context) error, done T) {
	supervisor.Call(h, "take keys away", func(ctx context.Context) T {
		ctx, cancel := context.WithTimeout(ctx, StopGrace)
		defer cancel()
		_ = r.Of(func() error { return remove(ctx) }) // the registry keeps trying, and the lease ends
		return done
	})
}

// Left says that keys may stand in etcd though their owner has ended, or is nil.
func (r *Removal) Left() error {
	if r.stage.Load() != removalFailed {
		return nil
	}
	return fmt.Errorf("it has ended here, but its keys may stay in etcd until the lease ends: %w", *r.why.Load())
}

// Withdraw asks the engine's actor to end a handle and waits until its name is
// free. Its errors say whether the keys are gone and what is waited for:
// messages.ErrBusy for code of the user's, ErrRestarted for an actor of ours that
// has not come up again, ErrUnavailable for etcd.
func (n *Node) Withdraw(ctx context.Context, question any, r *Removal) error {
	_, err := Insist[*Withdrawn](ctx, n, question)
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

// Marshal encodes what is written into a key. Every string in m was validated.
func Marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// KeyLoss says that a key of ours cannot be put back.
type KeyLoss struct {
	Key string
	// Guard: what the key is put back for is not as it was. Else somebody else is
	// in its place.
	Guard bool
}

// As is the loss as an error: messages.ErrTaken, or guard when its guard failed.
func (l KeyLoss) As(guard error) error {
	if l.Guard {
		return fmt.Errorf("%s: %w", l.Key, guard)
	}
	return fmt.Errorf("%s: %w", l.Key, messages.ErrTaken)
}
