package actors

// Where user code runs that an end would wait for: a Stop in a handler would
// wait for that handler. Two marks tell: the goroutine, and the context that the
// user's function was given.

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// leaveGrace is how long an end waits for user code that was told to return and
// does not.
const leaveGrace = 2 * time.Second

func userPatience() time.Duration { return leaveGrace }

// insiders knows which goroutines of an engine run user code.
type insiders struct {
	mu sync.Mutex
	on map[uint64][]*userCode // by goroutine, the outermost first
}

// userCode is a run of a user's function, or of a loop.
type userCode struct {
	within *insiders
	what   string        // for people
	member *inlet        // whose deliveries it reads, or nil
	sub    *Subscription // whose records it reads, or nil
	puts   *putCalls     // whose callback it is, or nil
	// holds reports whether it has a message of that sender in hand.
	holds func(dest, sender string) bool
	outer *userCode // of the context that it was begun with
}

func newInsiders() *insiders { return &insiders{on: make(map[uint64][]*userCode)} }

// enter notes that c runs on this goroutine until leave is called there. A nil
// inside notes nothing.
func (i *insiders) enter(c *userCode) (leave func()) {
	if i == nil {
		return func() {}
	}
	c.within = i
	id := goroutine()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.on[id] = append(i.on[id], c)
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if on := i.on[id]; len(on) > 1 {
			i.on[id] = on[:len(on)-1]
		} else {
			delete(i.on, id)
		}
	}
}

type insideKey struct{}

// mark returns the context for the user's function.
func (c *userCode) mark(ctx context.Context) context.Context {
	c.outer, _ = ctx.Value(insideKey{}).(*userCode)
	return context.WithValue(ctx, insideKey{}, c)
}

// leaveUnasked asks a member or subscription to drain and retire by itself: who
// wants it cannot wait for it.
type leaveUnasked struct{}

// refuse returns messages.ErrBusy when the caller runs in user code that the end
// would wait for, as waits tells.
func (i *insiders) refuse(ctx context.Context, end string, waits func(*userCode) bool) error {
	busy := func(c *userCode) error {
		return fmt.Errorf("%s in %s, which it would wait for: return first, then wait for the end, with a context of its own: %w",
			end, c.what, messages.ErrBusy)
	}
	for c, _ := ctx.Value(insideKey{}).(*userCode); c != nil; c = c.outer {
		if c.within == i && waits(c) {
			return busy(c)
		}
	}
	id := goroutine()
	i.mu.Lock()
	on := i.on[id]
	i.mu.Unlock()
	for _, c := range on { // none but this goroutine changes it
		if waits(c) {
			return busy(c)
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
