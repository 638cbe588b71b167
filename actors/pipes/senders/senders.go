package senders

// What a runtime sends: its destinations and the listeners where members find
// them.

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/nanomsg"
	"github.com/penstock-io/penstock/transport/socket"
)

// Senders are the destinations of a runtime. They outlive the incarnations of the
// engine's actor. Safe for concurrent use.
type Senders struct {
	node    *node.Node
	links   *links.Config
	secrets secrets
	exposed sync.Once // LinksExposed is told

	// dests and lost are used by the branch alone, and when that is over.
	dests map[string]*node.Placement[*Destination]
	lost  map[string]*messages.AbandonedError // what destinations that ended by themselves gave up

	mu        sync.Mutex                  // guards what follows: hosted calls, and a Stop that ran out of time use it too
	listeners map[string]*socket.Listener // by the URL asked for, while a destination uses it
	queues    map[string]*sendq.Queue     // that live, by destination
	plain     map[*nanomsg.Listener]struct{}
}

// New makes the destinations of a node, of which there are none yet, with links like
// those.
func New(n *node.Node, l *links.Config) *Senders {
	return &Senders{
		node: n, links: l, secrets: secrets{byName: make(map[string]placedSecret)},
		dests: make(map[string]*node.Placement[*Destination]), lost: make(map[string]*messages.AbandonedError),
		listeners: make(map[string]*socket.Listener), queues: make(map[string]*sendq.Queue),
		plain: make(map[*nanomsg.Listener]struct{}),
	}
}

// Register is penstock.Runtime.Register.
func (s *Senders) Register(ctx context.Context, cfg Config) (*Destination, error) {
	fail := func(err error) (*Destination, error) {
		return nil, fmt.Errorf("register %q: %w", cfg.Name, err)
	}
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	cfg.EnsureDefaults()
	cfg.Listen = cmp.Or(cfg.Listen, s.links.Listen)
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if _, err := s.links.Listens(cfg.Listen); err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	use, err := chain.NewSends(s.node.Tracing.Sends(tracing.Send, cfg.Name, cfg.Use))
	if err != nil {
		return fail(err)
	}
	n := s.node
	bare, err := s.listenPlain(ctx, &cfg)
	if err != nil {
		return fail(err)
	}
	d := &Destination{
		plain: bare, closePlain: func() { s.closePlain(bare) },
		node: n, cfg: cfg, use: use, out: sendq.New(cfg.Name, cfg.queue(n.Zone), n.Events.Emit, n.Events.Later), id: cmp.Or(cfg.ID, node.RandomID()),
		incarnation: socket.NewSecret().Incarnation, asksRights: s.links.AllowListed, asksIdentity: s.links.AsksIdentity(),
	}
	d.sends = func(ctx context.Context, m messages.Message) error { return d.send(ctx, &m) }
	if take := cfg.Expired; take != nil {
		of := fmt.Sprintf("OnExpired of %q", cfg.Name)
		d.expired = usercode.NewCalls("the callbacks of "+of, n.Call, usercode.PanicTeller(n.Events.Emit, of))
		d.out.Expired = func(m messages.ExpiredMessage) bool {
			return d.expired.Offer(func() { take(context.Background(), m) }, messages.PayloadSize(&m.Message))
		}
	}
	done := fmt.Sprintf("SendAsync to %q", cfg.Name)
	d.calls = usercode.NewCalls("the callbacks of "+done, n.Call, usercode.PanicTeller(n.Events.Emit, done))
	if _, err := supervisor.Ask[*registered](ctx, n.System, n.Root, &register{d}); err != nil {
		err = n.Unanswered(ctx, err, &d.wait, d.written.Load(), "the groups are not known yet") // before that ends
		n.Send(n.Root, &withdraw{d})
		d.closePlain()
		return fail(err)
	}
	d.exposePlain()
	return d, nil
}

// Stats is a row for each destination and group, in no order.
func (s *Senders) Stats() (rows []messages.PipeStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.queues {
		rows = append(rows, o.Stats()...)
	}
	return rows
}

// Note notes how far the groups are, for Ages.
func (s *Senders) Note(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.queues {
		o.Note(now)
	}
}

// Ages are of each group's oldest unsettled message.
func (s *Senders) Ages(now time.Time) (rows []messages.OldestMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.queues {
		rows = append(rows, o.Ages(now)...)
	}
	return rows
}

// Held are the destinations that Stop ends.
func (s *Senders) Held(ctx context.Context) (Held, error) {
	held, err := node.Insist[*heldList](ctx, s.node, &listHeld{})
	if err != nil {
		return nil, err
	}
	return held.all, nil
}

// Held are destinations on their way to the end.
type Held []*Destination

// Refuse takes no more messages.
func (h Held) Refuse() {
	for _, d := range h {
		d.out.Drain()
	}
}

// Deliver waits until what was accepted is acked, or gives it up when ctx ends:
// *messages.AbandonedError.
func (h Held) Deliver(ctx context.Context) (errs []error) {
	for _, d := range h {
		errs = append(errs, d.deliver(ctx))
	}
	return errs
}

// Announce tells that the destinations have ended.
func (h Held) Announce() {
	for _, d := range h {
		d.node.Events.Emit(messages.DestinationUnregistered{Destination: d.cfg.Name, Sender: d.id})
	}
}

// GaveUp is what destinations gave up without anybody having been told. The
// engine's actor must be over.
func (s *Senders) GaveUp() (errs []error) {
	for _, p := range s.dests {
		s.lose(p.Handle.out)
	}
	for _, lost := range s.lost {
		errs = append(errs, lost)
	}
	return errs
}

// lose notes what a destination gave up whose end nobody had asked for: Stop tells.
func (s *Senders) lose(o *sendq.Queue) {
	lost := o.Unreported()
	if lost == nil || o.Config().Lends { // who lent it has it
		return
	}
	if before := s.lost[o.Name()]; before != nil {
		lost.Messages += before.Messages
	}
	s.lost[o.Name()] = lost
}

// Close closes the listeners. The engine's actor is over, or has not ended in
// time.
func (s *Senders) Close() {
	for _, l := range s.bound() {
		l.Close()
	}
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.plain))
	s.mu.Unlock()
	for _, l := range left {
		s.closePlain(l)
	}
}

// bound are the listeners, by the URL asked for.
func (s *Senders) bound() map[string]*socket.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.listeners)
}

// keep notes a listener, or with nil that it is closed.
func (s *Senders) keep(asked string, l *socket.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == nil {
		delete(s.listeners, asked)
		return
	}
	s.listeners[asked] = l
}

func (s *Senders) addQueue(o *sendq.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[o.Name()] = o
}

func (s *Senders) removeQueue(o *sendq.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues[o.Name()] == o {
		delete(s.queues, o.Name())
	}
}

// What the runtime itself sends: messages that it lends, and answers for.

// Loan is how a message is lent.
type Loan = sendq.Loan

// Lend accepts a message that the caller answers for. It waits for room, and for a member,
// until ctx ends. Loan.Settled is called once of a message that was accepted, under a lock:
// it must not block or call the destination. It gets nil for an ack; the error of a handler,
// as messages.GiveBackOf reads it; *messages.DeathError where a member may have died over
// it; messages.ErrExpired; messages.Untried of what was recalled; and
// *messages.AbandonedError where nobody is left.
func (d *Destination) Lend(ctx context.Context, m *messages.Message, loan Loan) error {
	return d.out.Lend(ctx, m, loan)
}

// Recall has what was lent under a tag settled, as far as no member has begun it. It does
// not block.
func (d *Destination) Recall(tag int64) { d.out.Recall(tag) }

// Gone reports whether the destination has ended and its keys are taken away.
func (d *Destination) Gone() bool { return d.removal.Settled() }

// Abandon ends the destination at once, without waiting for that.
func (d *Destination) Abandon() {
	d.out.Close(nil)
	d.node.Send(d.node.Root, &withdraw{d})
}
