package topics

// What a runtime has of topics: those in use here, and the subscriptions.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/actors/topics/internal/keeper"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/actors/topics/tables"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Topics are the topics in use by a runtime. They outlive the incarnations of the
// engine's actor. Safe for concurrent use.
type Topics struct {
	env    *topiclog.Env
	subs   *groups.Subscriptions
	tables *tables.Tables
	keeper *keeper.Keeper
	// quota is etcd's, where it does not say it.
	quota int64

	paths map[string]*node.Placement[*topiclog.Topic] // by name; used by the branch alone

	mu   sync.Mutex
	live map[*topiclog.Topic]struct{}
}

// New makes the topics of a node and of its log, of which none is in use yet. Others
// watch the process of the node at listen. As the keeper, it leaves so much of etcd's
// history; with 0 that is left to others.
func New(n *node.Node, log *commitlog.Log, listen string, history time.Duration) *Topics {
	env := &topiclog.Env{Node: n, Log: log}
	env.WantKeeper = func() { env.Send(env.Root, &keeperWanted{}) }
	pass := func(ctx context.Context, bytes int) error {
		if env.Gate == nil {
			return nil
		}
		return env.Gate.Pass(ctx, bytes)
	}
	return &Topics{
		env: env, keeper: keeper.New(n, log, keeper.Config{History: history, Pass: pass}), subs: groups.New(env, listen), tables: tables.New(env), paths: make(map[string]*node.Placement[*topiclog.Topic]), live: make(map[*topiclog.Topic]struct{}),
	}
}

// LendOver gives shared groups what their members lend each other records over. It is
// called once, before anything is subscribed to.
func (t *Topics) LendOver(l groups.Lending) { t.subs.SetLending(l) }

// Stats reads the counters: a row for each topic and each subscription, in no
// order.
func (t *Topics) Stats() (topics []messages.TopicStats, subs []messages.SubscriptionStats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for path := range t.live {
		topics = append(topics, path.Stats())
	}
	return topics, t.subs.Stats()
}

// Tables is a row for each table, in no order.
func (t *Topics) Tables() []messages.TableStats { return t.tables.Stats() }

// Keeper is what this runtime did as the keeper.
func (t *Topics) Keeper() messages.KeeperStats { return t.keeper.Stats() }

// Held are the topics and subscriptions that Stop ends.
func (t *Topics) Held(ctx context.Context) (held Held, err error) {
	topics, err := node.Insist[*heldList](ctx, t.env.Node, &listHeld{})
	if err != nil {
		return held, err
	}
	held.topics = topics.all
	held.subs, err = t.subs.Held(ctx)
	return held, err
}

// Held are topics and subscriptions on their way to the end. The zero Held is none.
type Held struct {
	topics []*topiclog.Topic
	subs   groups.Held
}

// Refuse takes no more records.
func (h Held) Refuse() {
	for _, t := range h.topics {
		t.Refuse(messages.ErrClosed)
	}
}

// Settle waits for what was put, or gives it up when ctx ends:
// *messages.AbandonedError.
func (h Held) Settle(ctx context.Context) (errs []error) {
	for _, t := range h.topics {
		errs = append(errs, t.Settle(ctx))
	}
	return errs
}

// Drain ends the subscriptions in order, or gives up when ctx ends.
func (h Held) Drain(ctx context.Context) []error { return h.subs.Drain(ctx) }

// Announce tells that the subscriptions have ended.
func (h Held) Announce() { h.subs.Announce() }

// openTopic makes a handle of a topic that is in etcd.
func (t *Topics) open(ctx context.Context, info messages.TopicInfo, cfg ProducerConfig) (*Topic, error) {
	env := t.env
	fail := func(err error) (*Topic, error) { return nil, fmt.Errorf("open topic %q: %w", info.Name, err) }
	asking := &openTopic{info: info}
	opened, err := supervisor.Ask[*topicOpened](ctx, env.System, env.Root, asking)
	if err != nil {
		env.Send(env.Root, &openingLeft{asking}) // it comes behind the question
		return fail(env.Unanswered(ctx, err, &node.KeyWait{}, false, ""))
	}
	handle, err := newHandle(t, opened.path, cfg)
	if err != nil {
		opened.path.Use(-1)
		return fail(err)
	}
	return handle, nil
}

// Close ends what others watch this process by: the actors and the keys are gone.
func (t *Topics) Close() { t.subs.Close() }

func (t *Topics) added(path *topiclog.Topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[path] = struct{}{}
}

func (t *Topics) removed(path *topiclog.Topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, path)
}
