package actors

// What a runtime has of topics: those in use here, and the subscriptions.

import (
	"context"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Topics are the topics in use by a runtime. They outlive the incarnations of the
// engine's actor. Safe for concurrent use.
type Topics struct {
	env  *Env
	subs *Subscriptions

	paths map[string]*Placement[*topicPath] // by name; used by the branch alone

	mu   sync.Mutex
	live map[*topicPath]struct{}
}

// NewTopics makes the topics of an env, of which none is in use yet.
func NewTopics(env *Env) *Topics {
	return &Topics{
		env: env, subs: NewSubscriptions(env), paths: make(map[string]*Placement[*topicPath]), live: make(map[*topicPath]struct{}),
	}
}

// Stats reads the counters: a row for each topic and each subscription, in no
// order.
func (t *Topics) Stats() (topics []messages.TopicStats, subs []messages.SubscriptionStats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for path := range t.live {
		topics = append(topics, path.stats())
	}
	return topics, t.subs.Stats()
}

// Held are the topics and subscriptions that Stop ends.
func (t *Topics) Held(ctx context.Context) (*HeldTopics, error) {
	held, err := supervisor.Ask[*HeldTopics](ctx, t.env.System, t.env.Root, &listTopics{})
	if err != nil {
		return nil, err
	}
	held.subs, err = t.subs.Held(ctx)
	return held, err
}

// HeldTopics are topics and subscriptions on their way to the end.
type HeldTopics struct {
	topics []*topicPath
	subs   HeldSubs
}

// Refuse takes no more records.
func (h *HeldTopics) Refuse() {
	for _, t := range h.topics {
		t.refuse(messages.ErrClosed)
	}
}

// Settle waits for what was put, or gives it up when ctx ends:
// *messages.AbandonedError.
func (h *HeldTopics) Settle(ctx context.Context) (errs []error) {
	for _, t := range h.topics {
		errs = append(errs, t.settle(ctx))
	}
	return errs
}

// Drain ends the subscriptions in order, or gives up when ctx ends.
func (h *HeldTopics) Drain(ctx context.Context) []error { return h.subs.Drain(ctx) }

// Announce tells that the subscriptions have ended.
func (h *HeldTopics) Announce() { h.subs.Announce() }

// openTopic makes a handle of a topic that is in etcd.
func (t *Topics) open(ctx context.Context, info messages.TopicInfo, cfg ProducerConfig) (*Topic, error) {
	env := t.env
	fail := func(err error) (*Topic, error) { return nil, fmt.Errorf("open topic %q: %w", info.Name, err) }
	asking := &openTopic{info: info}
	opened, err := supervisor.Ask[*topicOpened](ctx, env.System, env.Root, asking)
	if err != nil {
		env.Send(env.Root, &openingLeft{asking}) // it comes behind the question
		return fail(env.Unanswered(ctx, err, &KeyWait{}, false, ""))
	}
	handle, err := newTopicHandle(t, opened.path, cfg)
	if err != nil {
		opened.path.use(-1)
		return fail(err)
	}
	return handle, nil
}

func (t *Topics) added(path *topicPath) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[path] = struct{}{}
}

func (t *Topics) removed(path *topicPath) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, path)
}
