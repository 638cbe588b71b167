package members

// What a runtime reads: its places in the groups of destinations.

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Members are the memberships of a runtime. They outlive the incarnations of the
// engine's actor. Safe for concurrent use.
type Members struct {
	node  *node.Node
	links *links.Config

	all     map[*Member]*node.Placement[*Member] // used by the branch alone
	trusted trusted

	mu     sync.Mutex
	queues map[*recvq.Queue]struct{} // that live
}

// New makes the memberships of a node, of which there are none yet, with links like
// those.
func New(n *node.Node, l *links.Config) *Members {
	return &Members{node: n, links: l, all: make(map[*Member]*node.Placement[*Member]), queues: make(map[*recvq.Queue]struct{})}
}

// Join is penstock.Runtime.Join.
func (s *Members) Join(ctx context.Context, cfg Config) (*Member, error) {
	fail := func(err error) (*Member, error) {
		return nil, fmt.Errorf("join %q of %q: %w", cfg.Group, cfg.Destination, err)
	}
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if err := cfg.insecure(s.links.RequireTLS); err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	cfg.ID = cmp.Or(cfg.ID, node.RandomID())
	n := s.node
	m := &Member{node: n, links: s.links, trusted: &s.trusted, cfg: cfg, in: recvq.New(cfg.queue(), n.Events.Emit), incarnation: node.RandomID()}
	if !cfg.Lends {
		m.receives = n.Tracing.NewReceives(cfg.Destination, cfg.Group)
	}
	m.in.Runs = n.Runs
	m.in.ReaderGone = func(reads uint64) { n.Send(m.pid.Load(), &readerGone{reads}) }
	if _, err := supervisor.Ask[*joined](ctx, n.System, n.Root, &join{m}); err != nil {
		err = n.Unanswered(ctx, err, &m.wait, m.written.Load(), "not all senders have answered")
		n.Send(n.Root, &withdraw{m})
		return fail(err)
	}
	return m, nil
}

// Stats is a row for each member, in no order.
func (s *Members) Stats() (rows []messages.MemberStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for in := range s.queues {
		rows = append(rows, in.Stats())
	}
	return rows
}

// Declare is penstock.Runtime.DeclareGroup.
func (s *Members) Declare(ctx context.Context, dest, group string, settings messages.GroupSettings) error {
	cfg := Config{Destination: dest, Group: group, Mode: settings.Mode, Policy: settings.Policy, KeepFor: settings.KeepFor}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	return s.node.Groups.Declare(ctx, pipegroup.At(s.node.Keys, dest, group), node.Marshal(cfg.group().Meta()), cfg.agree)
}

// Note notes how far the members are, for Ages.
func (s *Members) Note(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for in := range s.queues {
		in.Note(now)
	}
}

// Ages are of each member's oldest unsettled message.
func (s *Members) Ages(now time.Time) (rows []messages.OldestMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for in := range s.queues {
		rows = append(rows, in.Oldest(now))
	}
	return rows
}

// Held are the members that Stop ends.
func (s *Members) Held(ctx context.Context) (Held, error) {
	held, err := node.Insist[*heldList](ctx, s.node, &listHeld{})
	if err != nil {
		return nil, err
	}
	return held.all, nil
}

// Held are members on their way to the end.
type Held []*Member

// Drain has what has come handled by whoever reads, of all members at once, or
// gives it back when ctx ends.
func (h Held) Drain(ctx context.Context) (errs []error) {
	for _, m := range h {
		m.node.Send(m.pid.Load(), &drain{})
	}
	for _, m := range h {
		if err := m.drain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("leave %q of %q: %w", m.cfg.Group, m.cfg.Destination, err))
		}
	}
	return errs
}

// Announce tells that the memberships have ended.
func (h Held) Announce() {
	for _, m := range h {
		m.left()
	}
}

func (s *Members) addQueue(in *recvq.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[in] = struct{}{}
}

func (s *Members) removeQueue(in *recvq.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.queues, in)
}
