package groups

// What a runtime reads of topics: its places in their groups.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/peers"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Subscriptions are the subscriptions of a runtime. They outlive the incarnations
// of the engine's actor. Safe for concurrent use.
type Subscriptions struct {
	env     *topiclog.Env
	peers   *peers.Peers
	lending Lending // of shared groups

	all map[*Subscription]*node.Placement[*Subscription] // used by the branch alone

	mu   sync.Mutex
	live map[*Subscription]struct{}
}

// New makes the subscriptions of an env, of which there are none yet. Others watch this
// process at listen, a listener's URL.
func New(env *topiclog.Env, listen string) *Subscriptions {
	return &Subscriptions{
		env: env, peers: peers.New(env.Node, listen), all: make(map[*Subscription]*node.Placement[*Subscription]), live: make(map[*Subscription]struct{}),
	}
}

// Subscribe is penstock.Topic.Subscribe or, with cfg.Partitions,
// penstock.Topic.SubscribePartitions. ended is why the handle of the topic takes no
// subscription any more, or nil.
func (s *Subscriptions) Subscribe(ctx context.Context, path *topiclog.Topic, ended error, cfg Config) (*Subscription, error) {
	cfg.Topic = path.Name
	fail := func(err error) (*Subscription, error) {
		return nil, fmt.Errorf("subscribe %q to %q: %w", cfg.Group, cfg.Topic, err)
	}
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if o, ok := cfg.Start.Offset(); ok && o < 0 {
		return fail(fmt.Errorf("begin at offset %d: %w: the first is 0", o, messages.ErrOffsetOutOfRange))
	}
	if ended != nil {
		return fail(ended)
	}
	if ctx.Err() != nil {
		return fail(context.Cause(ctx))
	}
	if cfg.Partitions != nil {
		cfg.Partitions = slices.Compact(slices.Sorted(slices.Values(cfg.Partitions)))
		for _, p := range cfg.Partitions {
			if n := path.Partitions(); p < 0 || p >= n {
				return fail(fmt.Errorf("partition %d of %d: %w", p, n, messages.ErrNoPartition))
			}
		}
	}
	cfg.ID = cmp.Or(cfg.ID, node.RandomID())
	env := s.env
	data := cfg.prefetch()
	data.TTL = path.TTL
	sub := &Subscription{env: env, peers: s.peers, path: path, cfg: cfg, incarnation: node.RandomID(), since: time.Now()}
	if cfg.Expired != nil {
		sub.expired = sub.tellsExpired()
		data.Expired = sub.tellExpired
	}
	if cfg.Letters != nil {
		data.Bury = sub.bury
	}
	data.Trip = func(t prefetch.Tripped) { env.Send(sub.pid.Load(), tripped{t}) }
	data.Persist = func(ctx context.Context) error { return sub.write(ctx, nil) }
	sub.buffer = prefetch.New(data, env.Events.Emit, &env.Trusted, env.Runs)
	if cfg.Shared {
		sub.shared = &shares{over: s.lending, lending: prefetch.NewLending(sub.buffer)}
	}
	sub.receives = env.Tracing.NewReceives(cfg.Topic, cfg.Group)
	sub.async.emit, sub.async.host, sub.async.of, sub.async.sub = sub.panicked, env.Call, sub.committing, sub
	if _, err := supervisor.Ask[*subscribed](ctx, env.System, env.Root, &subscribe{sub}); err != nil {
		err = env.Unanswered(ctx, err, &sub.wait, sub.written.Load(), "the group has not given out its partitions yet")
		env.Send(env.Root, &withdraw{sub})
		return fail(err)
	}
	if sub.shared != nil {
		if err := sub.borrow(ctx); err != nil {
			env.Send(env.Root, &withdraw{sub})
			return fail(err)
		}
	}
	return sub, nil
}

// Stats is a row for each subscription, in no order.
func (s *Subscriptions) Stats() (rows []messages.SubscriptionStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.live {
		rows = append(rows, sub.Stats())
	}
	return rows
}

// Held are the subscriptions that Stop ends.
func (s *Subscriptions) Held(ctx context.Context) (Held, error) {
	held, err := node.Insist[*heldList](ctx, s.env.Node, &listHeld{})
	if err != nil {
		return nil, err
	}
	return held.all, nil
}

// Held are subscriptions on their way to the end.
type Held []*Subscription

// Drain finishes and releases what all of them have, at once, or gives up when
// ctx ends.
func (h Held) Drain(ctx context.Context) (errs []error) {
	for _, s := range h {
		s.env.Send(s.pid.Load(), &drain{})
	}
	for _, s := range h {
		errs = append(errs, s.drain(ctx))
	}
	return errs
}

// Announce tells that the subscriptions have ended.
func (h Held) Announce() {
	for _, s := range h {
		s.left()
	}
}

// Close ends what others watch this process by, after the actors and keys are gone.
func (s *Subscriptions) Close() { s.peers.Close() }

func (s *Subscriptions) added(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[sub] = struct{}{}
}

func (s *Subscriptions) removed(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, sub)
}
