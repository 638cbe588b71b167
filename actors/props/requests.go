package props

// Requests of a destination: each waits for its reply in a hosted function of its own.

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// MaxRequests is how many requests of one actor are under way at once.
const MaxRequests = 16_384

// requesting names hosted work.
const requesting = "request"

// requests outlives the incarnations of the actor. It is safe for concurrent use.
type requests struct {
	under  atomic.Int64
	over   atomic.Bool // the actor stops
	once   sync.Once
	opened chan struct{} // closed once handle is set
	handle *senders.Destination

	mu  sync.Mutex
	all map[*asking]struct{} // under way
}

// asking is one request.
type asking struct{ asker *actor.PID }

func newRequests() *requests {
	return &requests{opened: make(chan struct{}), all: make(map[*asking]struct{})}
}

// begin notes a request.
func (r *requests) begin(asker *actor.PID) *asking {
	q := &asking{asker}
	r.under.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[q] = struct{}{}
	return q
}

// reply replies to a request, once.
func (r *requests) reply(system *actor.ActorSystem, q *asking, m *messages.Replied) {
	r.mu.Lock()
	_, under := r.all[q]
	delete(r.all, q)
	r.mu.Unlock()
	if under {
		r.under.Add(-1)
		system.Root.Send(q.asker, m)
	}
}

// abandon replies to those whose middleware has not returned with the incarnation's end.
func (r *requests) abandon(system *actor.ActorSystem, name string) {
	r.mu.Lock()
	left := slices.Collect(maps.Keys(r.all))
	r.mu.Unlock()
	for _, q := range left {
		r.reply(system, q, &messages.Replied{Err: r.ended(name)})
	}
}

// ended is what a request hears that outlives its actor's incarnation.
func (r *requests) ended(name string) error {
	why := messages.ErrRestarted
	if r.over.Load() {
		why = messages.ErrClosed
	}
	return fmt.Errorf("request to %q: its actor has ended meanwhile: %w", name, why)
}

// open lets requests be made.
func (r *requests) open(handle *senders.Destination) {
	r.once.Do(func() {
		r.handle = handle
		close(r.opened)
	})
}

// request makes a request, and replies when it has ended, also with this incarnation.
func (a *destination) request(ctx actor.Context, m *messages.Request) {
	asker, system, r := ctx.Sender(), ctx.ActorSystem(), a.asked
	var why error
	switch {
	case asker == nil:
		a.face.dropped(a.cfg.Name, 1, fmt.Errorf("a request without a sender: %w", messages.ErrInvalid))
		return
	case m.Timeout <= 0:
		why = fmt.Errorf("request to %q: a timeout of %s, it must be positive: %w", a.cfg.Name, m.Timeout, messages.ErrInvalid)
	case a.state == destDraining:
		why = fmt.Errorf("request to %q: %w", a.cfg.Name, messages.ErrClosed)
	case r.under.Load() >= MaxRequests:
		why = fmt.Errorf("request to %q: %d requests are under way; wait for their replies: %w", a.cfg.Name, MaxRequests, messages.ErrBusy)
	}
	if why != nil {
		ctx.Send(asker, &messages.Replied{Err: why})
		return
	}
	name, q := a.cfg.Name, r.begin(asker)
	a.runUser(requesting, func(ctx context.Context) error {
		soon, cancel := context.WithTimeout(ctx, m.Timeout)
		defer cancel()
		reply, err := r.ask(soon, name, m)
		if err != nil && ctx.Err() != nil {
			err = r.ended(name)
		}
		r.reply(system, q, &messages.Replied{Reply: reply, Err: err})
		return nil
	})
}

// ask makes a request once the sender is registered. Middleware that panics fails it.
func (r *requests) ask(ctx context.Context, name string, m *messages.Request) (reply messages.Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("request to %q: %w", name, &supervisor.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	select {
	case <-r.opened:
	case <-ctx.Done():
		return reply, fmt.Errorf("request to %q: it is not registered yet: %w", name, context.Cause(ctx))
	}
	var cfg senders.Request
	if m.Group != "" {
		cfg.Groups = []string{m.Group}
	}
	return r.handle.Request(ctx, m.Message, cfg)
}
