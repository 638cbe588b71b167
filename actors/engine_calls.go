package actors

// What the engine passes on to its halves.

import (
	"context"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
)

// Register makes this process a sender of a destination: see senders.Senders.
func (e *Engine) Register(ctx context.Context, cfg senders.Config) (*senders.Destination, error) {
	return e.pipes.Register(ctx, cfg)
}

// Join makes this process a member of a group: see members.Members.
func (e *Engine) Join(ctx context.Context, cfg members.Config) (*members.Member, error) {
	return e.pipes.Join(ctx, cfg)
}

// DeleteGroup removes a group of a destination: see pipes.Pipes.
func (e *Engine) DeleteGroup(ctx context.Context, dest, group string) error {
	return e.pipes.DeleteGroup(ctx, dest, group)
}

// CreateTopic makes a topic and opens it: see topics.Topics.
func (e *Engine) CreateTopic(ctx context.Context, name string, cfg messages.TopicConfig, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.Create(ctx, name, cfg, p)
}

// EnsureTopic opens a topic, and makes it first where there is none: see
// topics.Topics.
func (e *Engine) EnsureTopic(ctx context.Context, name string, cfg messages.TopicConfig, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.Ensure(ctx, name, cfg, p)
}

// Topic opens a topic that exists: see topics.Topics.
func (e *Engine) Topic(ctx context.Context, name string, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.Open(ctx, name, p)
}

// ListTopics returns every topic, sorted by name: see topics.Topics.
func (e *Engine) ListTopics(ctx context.Context) ([]messages.TopicInfo, error) {
	return e.topics.List(ctx)
}

// DescribeTopic returns a topic, its partitions and groups: see topics.Topics.
func (e *Engine) DescribeTopic(ctx context.Context, name string) (messages.TopicDescription, error) {
	return e.topics.Describe(ctx, name)
}

// UpdateTopic changes a topic: see topics.Topics.
func (e *Engine) UpdateTopic(ctx context.Context, name string, u messages.TopicUpdate) (messages.TopicInfo, error) {
	return e.topics.Update(ctx, name, u)
}

// DeleteTopic removes a topic with its records: see topics.Topics.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	return e.topics.Delete(ctx, name)
}

// ListGroups returns the names of a topic's groups: see topics.Topics.
func (e *Engine) ListGroups(ctx context.Context, topic string) ([]string, error) {
	return e.topics.ListGroups(ctx, topic)
}

// DescribeGroup returns a group's members, offsets and lag: see topics.Topics.
func (e *Engine) DescribeGroup(ctx context.Context, topic, group string) (messages.GroupInfo, error) {
	return e.topics.DescribeGroup(ctx, topic, group)
}

// ResetOffsets moves a group's committed offsets: see topics.Topics.
func (e *Engine) ResetOffsets(ctx context.Context, topic, group string, to messages.Start, cfg topics.ResetConfig) ([]messages.OffsetChange, error) {
	return e.topics.ResetOffsets(ctx, topic, group, to, cfg)
}
