package topics

// Topics and groups as administrators see them: made, listed, changed, removed.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// admin performs a call after the checks that every one needs. What those find
// is named here; the error of do names itself.
func admin[T any](t *Topics, op, topic string, faults error, do func() (T, error)) (T, error) {
	var none T
	err := errors.Join(keys.ValidateTopic(topic), faults)
	if err == nil && t.env.Stopping() {
		err = messages.ErrClosed
	}
	if err != nil {
		return none, fmt.Errorf("%s %q: %w", op, topic, err)
	}
	v, err := do()
	if err != nil {
		return none, err
	}
	return v, nil
}

// Create is penstock.Runtime.CreateTopic.
func (t *Topics) Create(ctx context.Context, name string, cfg messages.TopicConfig, p ProducerConfig) (*Topic, error) {
	return t.CreateAt(ctx, name, cfg, nil, p)
}

// CreateAt is penstock.Runtime.CreateTopicAt.
func (t *Topics) CreateAt(ctx context.Context, name string, cfg messages.TopicConfig, starts []int64, p ProducerConfig) (*Topic, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	cfg.EnsureDefaults()
	p.EnsureDefaults()
	return admin(t, "create topic", name, errors.Join(cfg.Validate(), p.Validate(), startFaults(starts, cfg)), func() (*Topic, error) {
		info, err := t.env.Log.CreateTopicAt(ctx, name, cfg, starts)
		if err != nil {
			return nil, err
		}
		t.env.Send(t.env.Root, &sweepTopics{})
		t.env.Events.Emit(messages.TopicCreated{Topic: name, ID: info.ID, Partitions: info.Config.Partitions})
		return t.open(ctx, info, p)
	})
}

// Ensure is penstock.Runtime.EnsureTopic.
func (t *Topics) Ensure(ctx context.Context, name string, cfg messages.TopicConfig, p ProducerConfig) (*Topic, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	for {
		h, err := t.Open(ctx, name, p)
		if errors.Is(err, messages.ErrTopicDeleted) && ctx.Err() == nil {
			continue
		}
		if !errors.Is(err, messages.ErrNoTopic) {
			return h, err
		}
		h, err = t.Create(ctx, name, cfg, p)
		if !errors.Is(err, messages.ErrTopicExists) || ctx.Err() != nil {
			return h, err
		}
	}
}

// Open is penstock.Runtime.Topic.
func (t *Topics) Open(ctx context.Context, name string, p ProducerConfig) (*Topic, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	p.EnsureDefaults()
	return admin(t, "open topic", name, p.Validate(), func() (*Topic, error) {
		info, err := t.env.Log.Topic(ctx, name)
		if err != nil {
			return nil, err
		}
		return t.open(ctx, info, p)
	})
}

// List is penstock.Runtime.ListTopics.
func (t *Topics) List(ctx context.Context) ([]messages.TopicInfo, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	if t.env.Stopping() {
		return nil, fmt.Errorf("list topics: %w", messages.ErrClosed)
	}
	return t.env.Log.Topics(ctx)
}

// Describe is penstock.Runtime.DescribeTopic.
func (t *Topics) Describe(ctx context.Context, name string) (messages.TopicDescription, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.TopicDescription{}, fmt.Errorf("describe topic %q: %w", name, err)
	}
	return admin(t, "describe topic", name, nil, func() (messages.TopicDescription, error) { return t.env.Log.Describe(ctx, name) })
}

// Update is penstock.Runtime.UpdateTopic.
func (t *Topics) Update(ctx context.Context, name string, u messages.TopicUpdate) (messages.TopicInfo, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.TopicInfo{}, fmt.Errorf("update topic %q: %w", name, err)
	}
	return admin(t, "update topic", name, changeFaults(u), func() (messages.TopicInfo, error) { return t.env.Log.UpdateTopic(ctx, name, u) })
}

// Delete is penstock.Runtime.DeleteTopic.
func (t *Topics) Delete(ctx context.Context, name string) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	_, err := admin(t, "delete topic", name, nil, func() (messages.TopicInfo, error) { return t.env.Log.DeleteTopic(ctx, name) })
	t.env.Send(t.env.Root, &sweepTopics{})
	return err
}

// ListGroups is penstock.Runtime.ListConsumerGroups.
func (t *Topics) ListGroups(ctx context.Context, topic string) ([]string, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("list groups of %q: %w", topic, err)
	}
	return admin(t, "list groups of", topic, nil, func() ([]string, error) {
		info, err := t.env.Log.Topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		return t.env.Log.Groups(ctx, info)
	})
}

// DescribeGroup is penstock.Runtime.DescribeConsumerGroup.
func (t *Topics) DescribeGroup(ctx context.Context, topic, group string) (messages.GroupInfo, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("describe group %s of %q: %w", group, topic, err)
	}
	return admin(t, "describe group "+group+" of", topic, keys.ValidateName("group", group), func() (messages.GroupInfo, error) {
		info, err := t.env.Log.Topic(ctx, topic)
		if err != nil {
			return messages.GroupInfo{}, err
		}
		return t.env.Log.DescribeGroup(ctx, info, group)
	})
}

// DeleteGroup is penstock.Runtime.DeleteConsumerGroup.
func (t *Topics) DeleteGroup(ctx context.Context, topic, group string) error {
	return t.changeGroup(ctx, "delete", topic, group, func(info messages.TopicInfo) error {
		return t.env.Log.DeleteGroup(ctx, info, group)
	})
}

// PauseGroup is penstock.Runtime.PauseConsumerGroup.
func (t *Topics) PauseGroup(ctx context.Context, topic, group string, until time.Time) error {
	return t.changeGroup(ctx, "pause", topic, group, func(info messages.TopicInfo) error {
		return t.env.Log.PauseGroup(ctx, info, group, until)
	})
}

// ResumeGroup is penstock.Runtime.ResumeConsumerGroup.
func (t *Topics) ResumeGroup(ctx context.Context, topic, group string) error {
	return t.changeGroup(ctx, "resume", topic, group, func(info messages.TopicInfo) error {
		return t.env.Log.ResumeGroup(ctx, info, group)
	})
}

// changeGroup does something to a group of a topic.
func (t *Topics) changeGroup(ctx context.Context, what, topic, group string, do func(messages.TopicInfo) error) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("%s group %s of %q: %w", what, group, topic, err)
	}
	_, err := admin(t, what+" group "+group+" of", topic, keys.ValidateName("group", group), func() (messages.TopicInfo, error) {
		info, err := t.env.Log.Topic(ctx, topic)
		if err != nil {
			return info, err
		}
		return info, do(info)
	})
	return err
}

// ResetOffsets is penstock.Runtime.ResetOffsets.
func (t *Topics) ResetOffsets(ctx context.Context, topic, group string, to messages.Start, cfg ResetConfig) ([]messages.OffsetChange, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("reset offsets of group %s in %q: %w", group, topic, err)
	}
	return admin(t, "reset offsets of group "+group+" in", topic, errors.Join(keys.ValidateName("group", group), resetFaults(to, cfg)), func() ([]messages.OffsetChange, error) {
		info, err := t.env.Log.Topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		changes, err := t.env.Log.ResetOffsets(ctx, info, group, to, cfg.Partitions, cfg.DryRun, cfg.Force)
		if err == nil && !cfg.DryRun {
			t.env.Events.Emit(messages.OffsetsReset{Topic: topic, Group: group, Partitions: len(changes), Forced: cfg.Force})
		}
		return changes, err
	})
}
