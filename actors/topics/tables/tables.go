package tables

// The tables that a runtime has.

import (
	"context"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Tables are the tables of a runtime. They outlive the incarnations of the engine's actor.
// Safe for concurrent use.
type Tables struct {
	env *topiclog.Env

	all map[*Table]*node.Placement[*Table] // used by the branch alone

	mu   sync.Mutex
	live map[*Table]struct{}
}

// New makes the tables of an env, of which there are none yet.
func New(env *topiclog.Env) *Tables {
	return &Tables{env: env, all: make(map[*Table]*node.Placement[*Table]), live: make(map[*Table]struct{})}
}

// Open begins a table of a topic and waits until it has been read. ended is why the handle
// of the topic begins nothing any more, or nil.
func (s *Tables) Open(ctx context.Context, path *topiclog.Topic, ended error, cfg Config) (*Table, error) {
	t, err := s.Begin(ctx, path, ended, cfg)
	if err != nil {
		return nil, err
	}
	if err := t.Loaded(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Begin is Open that does not wait.
func (s *Tables) Begin(ctx context.Context, path *topiclog.Topic, ended error, cfg Config) (*Table, error) {
	fail := func(err error) (*Table, error) { return nil, fmt.Errorf("table of %q: %w", path.Name, err) }
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	if ended != nil {
		return fail(ended)
	}
	t := newTable(s, path, cfg)
	if _, err := supervisor.Ask[*begun](ctx, s.env.System, s.env.Root, &begin{t}); err != nil {
		s.env.Send(s.env.Root, &withdraw{t}) // it comes behind the question
		return fail(s.env.Unanswered(ctx, err, &node.KeyWait{}, false, ""))
	}
	return t, nil
}

// Stats is a row for each table, in no order.
func (s *Tables) Stats() (rows []messages.TableStats) {
	s.mu.Lock()
	live := make([]*Table, 0, len(s.live))
	for t := range s.live {
		live = append(live, t)
	}
	s.mu.Unlock()
	for _, t := range live {
		rows = append(rows, t.Stats())
	}
	return rows
}

func (s *Tables) added(t *Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[t] = struct{}{}
}

func (s *Tables) removed(t *Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, t)
}
