package actors

// Topics and groups as administrators see them: made, listed, changed, removed.

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// admin performs a call after the checks that every one needs. What those find
// is named here; what do answers names itself.
func admin[T any](e *Engine, op, topic string, faults error, do func() (T, error)) (T, error) {
	var none T
	err := errors.Join(keys.ValidateTopic(topic), faults)
	if err == nil && e.begun.Load() {
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

// CreateTopic makes a topic and opens it. It blocks until etcd has it, or ctx
// ends. Errors: messages.ErrInvalid, ErrTopicExists, ErrUnavailable, ErrDenied,
// ErrNoSpace, ErrClosed.
func (e *Engine) CreateTopic(ctx context.Context, name string, cfg messages.TopicConfig, p ProducerConfig) (*Topic, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	cfg.EnsureDefaults()
	p.EnsureDefaults()
	return admin(e, "create topic", name, errors.Join(cfg.Validate(), p.Validate()), func() (*Topic, error) {
		info, err := e.log.CreateTopic(ctx, name, cfg)
		if err != nil {
			return nil, err
		}
		e.sys.Root.Send(e.root, &sweepTopics{})
		e.hub.emit(messages.TopicCreated{Topic: name, ID: info.ID, Partitions: info.Config.Partitions})
		return e.openTopic(ctx, info, p)
	})
}

// EnsureTopic opens a topic, and makes it first where there is none; one that
// exists keeps its settings. Errors: as CreateTopic, without ErrTopicExists.
func (e *Engine) EnsureTopic(ctx context.Context, name string, cfg messages.TopicConfig, p ProducerConfig) (*Topic, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	for {
		t, err := e.Topic(ctx, name, p)
		if errors.Is(err, messages.ErrTopicDeleted) && ctx.Err() == nil {
			continue
		}
		if !errors.Is(err, messages.ErrNoTopic) {
			return t, err
		}
		t, err = e.CreateTopic(ctx, name, cfg, p)
		if !errors.Is(err, messages.ErrTopicExists) || ctx.Err() != nil {
			return t, err
		}
	}
}

// Topic opens a topic that exists. Errors: messages.ErrNoTopic, ErrInvalid,
// ErrUnavailable, ErrDenied, ErrClosed.
func (e *Engine) Topic(ctx context.Context, name string, p ProducerConfig) (*Topic, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	p.EnsureDefaults()
	return admin(e, "open topic", name, p.Validate(), func() (*Topic, error) {
		info, err := e.log.Topic(ctx, name)
		if err != nil {
			return nil, err
		}
		return e.openTopic(ctx, info, p)
	})
}

// openTopic makes a handle of a topic that is in etcd.
func (e *Engine) openTopic(ctx context.Context, info messages.TopicInfo, p ProducerConfig) (*Topic, error) {
	asking := &openTopic{info: info}
	opened, err := supervisor.Ask[*topicOpened](ctx, e.sys, e.root, asking)
	if err != nil {
		e.sys.Root.Send(e.root, &openingLeft{asking}) // it comes behind the question
		return nil, fmt.Errorf("open topic %q: %w", info.Name, e.unanswered(ctx, err, &idWait{}, false, ""))
	}
	t, err := newTopicHandle(opened.path, p)
	if err != nil {
		opened.path.use(-1)
		return nil, fmt.Errorf("open topic %q: %w", info.Name, err)
	}
	return t, nil
}

// ListTopics answers every topic, sorted by name. Errors: messages.ErrUnavailable,
// ErrDenied, ErrClosed.
func (e *Engine) ListTopics(ctx context.Context) ([]messages.TopicInfo, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	if e.begun.Load() {
		return nil, fmt.Errorf("list topics: %w", messages.ErrClosed)
	}
	return e.log.Topics(ctx)
}

// DescribeTopic answers a topic, its partitions and groups, as of one revision
// of etcd. Errors: messages.ErrNoTopic, ErrInvalid, ErrUnavailable, ErrDenied,
// ErrClosed.
func (e *Engine) DescribeTopic(ctx context.Context, name string) (messages.TopicDescription, error) {
	if err := contextGiven(ctx); err != nil {
		return messages.TopicDescription{}, fmt.Errorf("describe topic %q: %w", name, err)
	}
	return admin(e, "describe topic", name, nil, func() (messages.TopicDescription, error) { return e.log.Describe(ctx, name) })
}

// UpdateTopic changes a topic. Errors: messages.ErrNoTopic, ErrInvalid,
// ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed.
func (e *Engine) UpdateTopic(ctx context.Context, name string, u messages.TopicUpdate) (messages.TopicInfo, error) {
	if err := contextGiven(ctx); err != nil {
		return messages.TopicInfo{}, fmt.Errorf("update topic %q: %w", name, err)
	}
	return admin(e, "update topic", name, changeFaults(u), func() (messages.TopicInfo, error) { return e.log.UpdateTopic(ctx, name, u) })
}

// DeleteTopic removes a topic with its records, groups and offsets, and blocks
// until everything is swept or ctx ends. Errors: messages.ErrNoTopic,
// ErrUnavailable, ErrDenied, ErrClosed.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	_, err := admin(e, "delete topic", name, nil, func() (messages.TopicInfo, error) { return e.log.DeleteTopic(ctx, name) })
	e.sys.Root.Send(e.root, &sweepTopics{})
	return err
}

// ListGroups answers the names of a topic's groups, sorted. Errors as
// DescribeTopic.
func (e *Engine) ListGroups(ctx context.Context, topic string) ([]string, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("list groups of %q: %w", topic, err)
	}
	return admin(e, "list groups of", topic, nil, func() ([]string, error) {
		info, err := e.log.Topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		return e.log.Groups(ctx, info)
	})
}

// DescribeGroup answers a group's members, offsets and lag as of one revision.
// Errors: messages.ErrNoTopic, ErrNoGroup, ErrInvalid, ErrUnavailable,
// ErrDenied, ErrClosed.
func (e *Engine) DescribeGroup(ctx context.Context, topic, group string) (messages.GroupInfo, error) {
	if err := contextGiven(ctx); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("describe group %s of %q: %w", group, topic, err)
	}
	return admin(e, "describe group "+group+" of", topic, keys.ValidateName("group", group), func() (messages.GroupInfo, error) {
		info, err := e.log.Topic(ctx, topic)
		if err != nil {
			return messages.GroupInfo{}, err
		}
		return e.log.DescribeGroup(ctx, info, group)
	})
}

// ResetOffsets moves a group's committed offsets. Errors: messages.ErrNoTopic,
// ErrNoPartition, ErrGroupLive, ErrOffsetOutOfRange, ErrInvalid,
// ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed.
func (e *Engine) ResetOffsets(ctx context.Context, topic, group string, to messages.Start, cfg ResetConfig) ([]messages.OffsetChange, error) {
	if err := contextGiven(ctx); err != nil {
		return nil, fmt.Errorf("reset offsets of group %s in %q: %w", group, topic, err)
	}
	return admin(e, "reset offsets of group "+group+" in", topic, errors.Join(keys.ValidateName("group", group), resetFaults(to, cfg)), func() ([]messages.OffsetChange, error) {
		info, err := e.log.Topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		changes, err := e.log.ResetOffsets(ctx, info, group, to, cfg.Partitions, cfg.DryRun, cfg.Force)
		if err == nil && !cfg.DryRun {
			e.hub.emit(messages.OffsetsReset{Topic: topic, Group: group, Partitions: len(changes), Forced: cfg.Force})
		}
		return changes, err
	})
}
