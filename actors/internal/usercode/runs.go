package usercode

// Where user code runs that an end would wait for. Two marks show it: the
// goroutine, and the context that the user's function was given.

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/messages"
)

// Runs knows which goroutines of a runtime run user code. It is safe for
// concurrent use.
type Runs struct {
	mu sync.Mutex
	on map[uint64][]*Run // by goroutine, the outermost first

	labels    atomic.Uint64 // given out
	stacks    stacks
	measuring measuring
}

// Run is a run of a user's function, or of a loop.
type Run struct {
	What string // for people
	// Of is what the run belongs to: the queue or handle whose end waits for it.
	// It is compared by identity.
	Of any
	// Holds reports whether the run has a message of that sender in hand; nil
	// means no.
	Holds func(dest, sender string) bool

	within *Runs
	outer  *Run // of the context that it was begun with
}

// HasInHand reports whether the run has a message of that sender in hand.
func (r *Run) HasInHand(dest, sender string) bool { return r.Holds != nil && r.Holds(dest, sender) }

// New returns an empty Runs.
func New() *Runs { return &Runs{on: make(map[uint64][]*Run)} }

// Enter notes that r runs on this goroutine until leave is called there. A nil
// Runs notes nothing.
func (rs *Runs) Enter(r *Run) (leave func()) {
	if rs == nil {
		return func() {}
	}
	r.within = rs
	id := goroutine()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.on[id] = append(rs.on[id], r)
	return func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		if on := rs.on[id]; len(on) > 1 {
			rs.on[id] = on[:len(on)-1]
		} else {
			delete(rs.on, id)
		}
	}
}

type runKey struct{}

// Mark returns the context for the user's function.
func (r *Run) Mark(ctx context.Context) context.Context {
	r.outer, _ = ctx.Value(runKey{}).(*Run)
	return context.WithValue(ctx, runKey{}, r)
}

// Refuse returns messages.ErrBusy when the caller runs in user code that the end
// would wait for, as waits reports. Else it returns nil.
func (rs *Runs) Refuse(ctx context.Context, end string, waits func(*Run) bool) error {
	busy := func(r *Run) error {
		return fmt.Errorf("%s in %s, which it would wait for: return first, then wait for the end, with a context of its own: %w",
			end, r.What, messages.ErrBusy)
	}
	for r, _ := ctx.Value(runKey{}).(*Run); r != nil; r = r.outer {
		if r.within == rs && waits(r) {
			return busy(r)
		}
	}
	id := goroutine()
	rs.mu.Lock()
	on := rs.on[id]
	rs.mu.Unlock()
	for _, r := range on { // none but this goroutine changes it
		if waits(r) {
			return busy(r)
		}
	}
	return nil
}

// goroutine is the number of the calling goroutine: the first line of its stack
// begins with it. Two that run at once never have the same.
func goroutine() uint64 {
	var line [32]byte
	n := runtime.Stack(line[:], false)
	number, _, _ := bytes.Cut(bytes.TrimPrefix(line[:n], []byte("goroutine ")), []byte(" "))
	id, _ := strconv.ParseUint(string(number), 10, 64)
	return id
}
