package actors

// What the engine passes on to its halves.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

// Register is penstock.Runtime.Register.
func (e *Engine) Register(ctx context.Context, cfg senders.Config) (*senders.Destination, error) {
	return e.pipes.Register(ctx, cfg)
}

// Join is penstock.Runtime.Join.
func (e *Engine) Join(ctx context.Context, cfg members.Config) (*members.Member, error) {
	return e.pipes.Join(ctx, cfg)
}

// DeclareGroup is penstock.Runtime.DeclareGroup. What is zero in s is as Join has it.
func (e *Engine) DeclareGroup(ctx context.Context, dest, group string, s messages.GroupSettings) error {
	return e.pipes.DeclareGroup(ctx, dest, group, s)
}

// ListDestinations is penstock.Runtime.ListDestinations.
func (e *Engine) ListDestinations(ctx context.Context) ([]messages.DestinationInfo, error) {
	return e.pipes.ListDestinations(ctx)
}

// DescribeDestination is penstock.Runtime.DescribeDestination.
func (e *Engine) DescribeDestination(ctx context.Context, name string) (messages.DestinationInfo, error) {
	return e.pipes.DescribeDestination(ctx, name)
}

// DeleteGroup is penstock.Runtime.DeleteGroup.
func (e *Engine) DeleteGroup(ctx context.Context, dest, group string) error {
	return e.pipes.DeleteGroup(ctx, dest, group)
}

// PauseGroup is penstock.Runtime.PauseGroup.
func (e *Engine) PauseGroup(ctx context.Context, dest, group string, until time.Time) error {
	return e.pipes.PauseGroup(ctx, dest, group, until)
}

// ResumeGroup is penstock.Runtime.ResumeGroup.
func (e *Engine) ResumeGroup(ctx context.Context, dest, group string) error {
	return e.pipes.ResumeGroup(ctx, dest, group)
}

// RotateTokens is penstock.Runtime.RotateTokens.
func (e *Engine) RotateTokens(ctx context.Context, dest, group string, grace time.Duration) (map[string]uint64, error) {
	return e.pipes.RotateTokens(ctx, dest, group, grace)
}

// RevokeTokens is penstock.Runtime.RevokeTokens.
func (e *Engine) RevokeTokens(ctx context.Context, dest, group string) (map[string]uint64, error) {
	return e.pipes.RevokeTokens(ctx, dest, group)
}

// DescribeTokens is penstock.Runtime.DescribeTokens.
func (e *Engine) DescribeTokens(ctx context.Context, dest string) ([]messages.TokenInfo, error) {
	return e.pipes.DescribeTokens(ctx, dest)
}

// PauseConsumerGroup is penstock.Runtime.PauseConsumerGroup.
func (e *Engine) PauseConsumerGroup(ctx context.Context, topic, group string, until time.Time) error {
	return e.topics.PauseGroup(ctx, topic, group, until)
}

// ResumeConsumerGroup is penstock.Runtime.ResumeConsumerGroup.
func (e *Engine) ResumeConsumerGroup(ctx context.Context, topic, group string) error {
	return e.topics.ResumeGroup(ctx, topic, group)
}

// CreateTopic is penstock.Runtime.CreateTopic.
func (e *Engine) CreateTopic(ctx context.Context, name string, cfg messages.TopicConfig, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.Create(ctx, name, cfg, p)
}

// CreateTopicAt is penstock.Runtime.CreateTopicAt.
func (e *Engine) CreateTopicAt(ctx context.Context, name string, cfg messages.TopicConfig, starts []int64, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.CreateAt(ctx, name, cfg, starts, p)
}

// EnsureTopic is penstock.Runtime.EnsureTopic.
func (e *Engine) EnsureTopic(ctx context.Context, name string, cfg messages.TopicConfig, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.Ensure(ctx, name, cfg, p)
}

// Topic is penstock.Runtime.Topic.
func (e *Engine) Topic(ctx context.Context, name string, p topics.ProducerConfig) (*topics.Topic, error) {
	return e.topics.Open(ctx, name, p)
}

// ListTopics is penstock.Runtime.ListTopics.
func (e *Engine) ListTopics(ctx context.Context) ([]messages.TopicInfo, error) {
	return e.topics.List(ctx)
}

// DescribeTopic is penstock.Runtime.DescribeTopic.
func (e *Engine) DescribeTopic(ctx context.Context, name string) (messages.TopicDescription, error) {
	return e.topics.Describe(ctx, name)
}

// UpdateTopic is penstock.Runtime.UpdateTopic.
func (e *Engine) UpdateTopic(ctx context.Context, name string, u messages.TopicUpdate) (messages.TopicInfo, error) {
	return e.topics.Update(ctx, name, u)
}

// DeleteTopic is penstock.Runtime.DeleteTopic.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	return e.topics.Delete(ctx, name)
}

// ListConsumerGroups is penstock.Runtime.ListConsumerGroups.
func (e *Engine) ListConsumerGroups(ctx context.Context, topic string) ([]string, error) {
	return e.topics.ListGroups(ctx, topic)
}

// DescribeConsumerGroup is penstock.Runtime.DescribeConsumerGroup.
func (e *Engine) DescribeConsumerGroup(ctx context.Context, topic, group string) (messages.GroupInfo, error) {
	return e.topics.DescribeGroup(ctx, topic, group)
}

// DeleteConsumerGroup is penstock.Runtime.DeleteConsumerGroup.
func (e *Engine) DeleteConsumerGroup(ctx context.Context, topic, group string) error {
	return e.topics.DeleteGroup(ctx, topic, group)
}

// ResetOffsets is penstock.Runtime.ResetOffsets.
func (e *Engine) ResetOffsets(ctx context.Context, topic, group string, to messages.Start, cfg topics.ResetConfig) ([]messages.OffsetChange, error) {
	return e.topics.ResetOffsets(ctx, topic, group, to, cfg)
}

// Transact is penstock.Runtime.Transact.
func (e *Engine) Transact(ctx context.Context, fn func(*groups.Tx) error) error {
	return e.topics.Transact(ctx, fn)
}

// Schedules is penstock.Runtime.Schedules.
func (e *Engine) Schedules() *topics.Schedules { return e.topics.Schedules() }
