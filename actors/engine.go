package actors

// The engine: one runtime's root actor, and the handle that the root package
// and services hold.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/session"
	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/lending"
	"github.com/penstock-io/penstock/actors/pipes"
	"github.com/penstock-io/penstock/actors/props"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Engine is a running tree of actors with one etcd session. It is safe for
// concurrent use.
type Engine struct {
	cfg    Config
	node   *node.Node
	pipes  *pipes.Pipes
	topics *topics.Topics
	face   *props.Face
	ownSys bool
	work   session.Work
	// callbacks describes the actor that calls them, each time around the same work.
	callbacks *actor.Props
	log       *events.Logger // writes to the user's logger; nil without one
	stopped   chan struct{}  // closed when the engine is over
	err       error          // why, once stopped is closed
	// actorEvents is the subscription to what supervision does.
	actorEvents *eventstream.Subscription
}

// Start begins an engine in sys, or in a system of its own when sys is nil. It
// blocks until the engine has a session with etcd, or ctx ends; ctx has no
// further meaning. Errors: messages.ErrInvalid with every fault of cfg,
// messages.ErrUnavailable, messages.ErrDenied.
func Start(ctx context.Context, sys *actor.ActorSystem, cfg Config) (*Engine, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if sys != nil && sys.IsStopped() {
		return nil, fmt.Errorf("start: the actor system was shut down: %w", messages.ErrInvalid)
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if until, ok := ctx.Deadline(); ok {
		// With a user, Dial logs in.
		cfg.Etcd.DialTimeout = min(cmp.Or(cfg.Etcd.DialTimeout, discovery.DefaultDialTimeout), max(time.Until(until), time.Millisecond))
	}
	links, err := cfg.links()
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	clients, err := discovery.Dial(cfg.Etcd)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	e := newEngine(sys, cfg, links, clients)
	n := e.node
	id := n.Root.Id
	fail := func(err error) (*Engine, error) {
		end, cancel := supervisor.Grace(ctx, node.LastGrace)
		defer cancel()
		err = fmt.Errorf("start: %w", err)
		if !n.BeginStop() {
			<-e.stopped // the guardian was first, whose time is bounded
			return nil, err
		}
		err = errors.Join(err, e.end(end))
		e.over(err)
		return nil, err
	}
	if err = e.beginCallbacks(); err != nil {
		return fail(err)
	}
	if _, err = n.System.Root.SpawnNamed(supervisor.Props(newEngineActor(e), supervisor.WithPolicy(enginePolicy())), id); err != nil {
		return fail(err)
	}
	if _, err = n.System.Root.SpawnNamed(supervisor.Props(newGuardian(e)), id+guardianName); err != nil {
		return fail(err)
	}
	if _, err := node.Insist[*ready](ctx, n, &awaitReady{}); err != nil {
		if errors.Is(err, supervisor.ErrNoActor) {
			err = n.Closed()
		}
		return fail(n.Explain(ctx, err))
	}
	return e, nil
}

// newEngine puts an engine together; no actor of it has begun.
func newEngine(sys *actor.ActorSystem, cfg Config, links *pipes.Links, clients *discovery.Clients) *Engine {
	e := &Engine{cfg: cfg, ownSys: sys == nil, stopped: make(chan struct{})}
	if e.ownSys {
		sys = node.NewSystem()
	}
	space := keys.Space(cfg.Prefix)
	n := &node.Node{
		Own:    node.RandomID() + node.RandomID(),
		System: sys, Root: actor.NewPID(sys.Address(), "penstock-"+node.RandomID()),
		Etcd: clients, Keys: space, Events: events.New(), Runs: usercode.New(), Host: hostName(os.Hostname()), Zone: cfg.Zone,
		Tracing: tracing.New(cfg.Tracing),
		Watches: discovery.NewWatches(clients.Watch, discovery.WatchConfig{}),
		Registry: registry.New(clients.Control, registry.Config{
			Collections: []string{space.Dests(), space.AllSecrets(), space.AllConsumerGroups()},
			Ours:        registers(space),
		}),
	}
	if cfg.Logger != nil {
		e.log = events.NewLogger(n.Events, cfg.Logger)
	}
	n.Callbacks = actor.NewPID(sys.Address(), n.Root.Id+"-callbacks")
	e.callbacks = supervisor.Props(worker.NewCallbacks(n.Runs, &n.Dues))
	e.node = n
	e.work = session.Work{Leases: lease.NewLeases(clients.Control), GroupLeases: lease.NewLeases(clients.Control)}
	e.work.Session = lease.NewSession(e.work.Leases, lease.Config{TTL: cfg.LeaseTTL})
	n.Groups = pipegroup.New(clients.Control, e.work.GroupLeases, cfg.LeaseTTL)
	n.Events.Arm = func() { n.Send(n.Root, &sumsOpened{}) }
	if links.TLS != nil {
		links.TLS.Troubled = func(err error) { n.Events.Emit(messages.CertificateTroubled{Err: err}) }
	}
	e.pipes = pipes.New(n, links)
	e.topics = topics.New(n, commitlog.New(commitlog.Config{Client: clients.Control, Space: space, Classify: discovery.Classify}), cfg.Listen, cfg.History)
	e.topics.Govern(cfg.EtcdQuota)
	e.topics.LendOver(lending.New(e.pipes))
	e.face = props.New(faceEngine{e})
	supervisor.Prepare(sys)
	e.watchActors()
	return e
}

// beginCallbacks begins the actor that calls callbacks.
func (e *Engine) beginCallbacks() error {
	_, err := e.node.System.Root.SpawnNamed(e.callbacks, e.node.Callbacks.Id)
	return err
}

// System is the actor system that the engine lives in.
func (e *Engine) System() *actor.ActorSystem { return e.node.System }

// Events is penstock.Runtime.Events.
func (e *Engine) Events(ctx context.Context) iter.Seq[messages.Event] {
	if ctx == nil {
		return func(func(messages.Event) bool) {}
	}
	return e.node.Events.Events(ctx)
}

// Lease is the session's lease in etcd, or 0 before the first.
func (e *Engine) Lease() int64 { return e.node.Lease.Load() }

// Tree describes every guarded actor of the system, a user's own ones included, with
// what each reports of itself. It waits for those that do not reply a second at most;
// see supervisor.Tree.
func (e *Engine) Tree() []supervisor.Info { return supervisor.Tree(e.node.System) }

// Stats is penstock.Runtime.Stats.
func (e *Engine) Stats() messages.Stats {
	s := messages.Stats{Etcd: e.topics.Room(), Registry: e.node.Registry.Stats(), Events: e.node.Events.Count()}
	s.Pipes, s.Members = e.pipes.Stats()
	s.Topics, s.Subscriptions = e.topics.Stats()
	s.Tables, s.Keeper = e.topics.Tables(), e.topics.Keeper()
	slices.SortFunc(s.Pipes, func(a, b messages.PipeStats) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Group, b.Group))
	})
	slices.SortFunc(s.Members, func(a, b messages.MemberStats) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Member, b.Member))
	})
	slices.SortFunc(s.Tables, func(a, b messages.TableStats) int { return cmp.Compare(a.Topic, b.Topic) })
	slices.SortFunc(s.Topics, func(a, b messages.TopicStats) int { return cmp.Compare(a.Topic, b.Topic) })
	slices.SortFunc(s.Subscriptions, func(a, b messages.SubscriptionStats) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Member, b.Member))
	})
	return s
}

// Done is penstock.Runtime.Done.
func (e *Engine) Done() <-chan struct{} { return e.stopped }

// Err is penstock.Runtime.Err.
func (e *Engine) Err() error {
	if !e.Stopped() {
		return nil
	}
	return e.err
}

// Stopped reports whether the engine is over.
func (e *Engine) Stopped() bool {
	select {
	case <-e.stopped:
		return true
	default:
		return false
	}
}

// Stopping reports whether Stop was called, or the engine ends by itself.
func (e *Engine) Stopping() bool { return e.node.Stopping() }

// Stop is penstock.Runtime.Stop.
func (e *Engine) Stop(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := e.node.Runs.Refuse(ctx, "stop", func(*usercode.Run) bool { return true }); err != nil {
		return err
	}
	if !e.node.BeginStop() {
		select {
		case <-e.stopped:
		case <-ctx.Done():
			select {
			case <-e.stopped:
			default:
				return fmt.Errorf("stop: somebody else's is under way: %w", context.Cause(ctx))
			}
		}
		return nil
	}
	err := e.stop(ctx)
	e.over(cmp.Or(err, e.node.Failure()))
	return err
}

// stop is the first Stop.
func (e *Engine) stop(ctx context.Context) error {
	end, cancel := supervisor.Grace(ctx, node.LastGrace)
	defer cancel()
	pipes, topics, err := e.held(end)
	errs := []error{err}
	pipes.Refuse()
	topics.Refuse()
	errs = append(errs, topics.Settle(ctx)...)
	errs = append(errs, pipes.Deliver(ctx)...)
	errs = append(errs, pipes.Drain(ctx)...)
	errs = append(errs, topics.Drain(ctx)...)
	ended := e.end(end)
	errs = append(errs, ended)
	if ended == nil {
		errs = append(errs, e.pipes.GaveUp()...)
	}
	pipes.Announce()
	topics.Announce()
	return errors.Join(errs...)
}

// endUnasked ends an engine whose root actor has ended, unless a Stop does.
func (e *Engine) endUnasked(ctx context.Context) {
	if !e.node.BeginStop() {
		return
	}
	err := e.end(ctx)
	e.over(errors.Join(append(e.pipes.GaveUp(), e.node.Failure(), err)...))
}

// over says, once, that the engine is over, and why: nil after an orderly Stop.
func (e *Engine) over(err error) {
	e.err = err
	e.node.Events.Close(messages.RuntimeStopped{Err: err})
	if e.log != nil {
		e.log.Rest(e.node.Runs, usercode.Grace)
	}
	close(e.stopped)
}

// held asks for what Stop ends. An actor that does not reply is not asked again;
// one that has ended holds nothing.
func (e *Engine) held(ctx context.Context) (p pipes.Held, t topics.Held, err error) {
	if p, err = e.pipes.Held(ctx); err == nil {
		t, err = e.topics.Held(ctx)
	}
	if errors.Is(err, supervisor.ErrNoActor) {
		err = nil
	}
	return p, t, err
}

// end stops the actors, gives up the lease, which takes every key of ours along,
// has the KeepFor of the groups counted that nobody is in now, and closes the
// clients. With etcd away the leases run out by themselves.
func (e *Engine) end(ctx context.Context) error {
	n := e.node
	n.System.Root.Stop(n.System.NewLocalPID(n.Root.Id + guardianName)) // who may be the caller, and then ends when this is through
	err := errors.Join(supervisor.Stop(ctx, n.System, n.Root), worker.EndCallbacks(ctx, n))
	e.pipes.Close()
	if rerr := e.pipes.DropOrphans(ctx, e.work.Session.Revoke(ctx)); rerr != nil {
		n.Events.Emit(messages.SessionSuspended{Lease: n.Lease.Load(), Err: rerr})
	}
	e.topics.Close() // after the lease, or others bury who has left
	n.System.EventStream.Unsubscribe(e.actorEvents)
	n.Etcd.Close()
	if e.ownSys {
		n.System.Shutdown()
	}
	return err
}

// watchActors makes events of what happens to this engine's actors.
func (e *Engine) watchActors() {
	n := e.node
	mine := func(pid *actor.PID) bool { return pid.Id == n.Root.Id || strings.HasPrefix(pid.Id, n.Root.Id+"/") }
	e.actorEvents = n.System.EventStream.Subscribe(func(event any) {
		switch m := event.(type) {
		case *supervisor.Restarted:
			if link := (*node.LinkError)(nil); mine(m.Who) && errors.As(m.Err, &link) {
				n.Events.Emit(messages.LinkDelayed{
					Destination: link.Destination, Group: link.Group, Member: link.Member, Sender: link.Sender,
					Err: link.Err, Attempt: m.Attempt, Delay: m.Delay,
				})
			} else if mine(m.Who) {
				n.Events.Emit(messages.ActorRestarted{Actor: m.Who.Id, Err: m.Err, Attempt: m.Attempt, Delay: m.Delay})
			}
		case *supervisor.Escalated:
			if mine(m.Who) && m.Parent == nil {
				n.Fail(m.Err)
				n.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
			}
		case *supervisor.Overdue:
			if mine(m.Who) || e.face.Has(m.Who) {
				n.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: overdue(m)})
			}
		case *supervisor.LifecyclePanic:
			if mine(m.Who) {
				n.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
			}
		}
	})
}

// overdue says what was left behind. What has a name is code of the user's, or calls it.
func overdue(m *supervisor.Overdue) error {
	if m.What == "" {
		return fmt.Errorf("it had not ended after %s and was left behind", m.After)
	}
	return fmt.Errorf("%s had not ended after %s and was left behind; have your code that it calls return when its context ends", m.What, m.After)
}

// hostName is this host's name as it may be written into keys: the system lets
// it be any bytes, protobuf does not. A host that cannot be asked has no name.
func hostName(name string, err error) string {
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}

// registers reports of a key whether the registry alone writes it: no claims and
// no tickets, which are leased too.
func registers(space keys.Space) func(key string) bool {
	return func(key string) bool {
		k, _ := space.Parse(key)
		switch k.Kind {
		case keys.KindSole, keys.KindSender, keys.KindSecret, keys.KindGroupSecret, keys.KindMember, keys.KindConsumerMember:
			return true
		}
		return false
	}
}
