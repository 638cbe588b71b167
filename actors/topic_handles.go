package actors

// What a caller holds of topics.

import (
	"context"
	"errors"
	"iter"

	"github.com/penstock-io/penstock/messages"
)

var errUnbuilt = errors.New("not built")

type Partitioner interface{ partitioner() }

func ByKey() Partitioner                                  { return nil }
func Sticky() Partitioner                                 { return nil }
func RoundRobin() Partitioner                             { return nil }
func Random() Partitioner                                 { return nil }
func Manual(func(*messages.Message, int) int) Partitioner { return nil }

func (e *Engine) CreateTopic(ctx context.Context, name string, cfg messages.TopicConfig, p ProducerConfig) (*Topic, error) {
	return nil, errUnbuilt
}
func (e *Engine) EnsureTopic(ctx context.Context, name string, cfg messages.TopicConfig, p ProducerConfig) (*Topic, error) {
	return nil, errUnbuilt
}
func (e *Engine) Topic(ctx context.Context, name string, p ProducerConfig) (*Topic, error) {
	return nil, errUnbuilt
}
func (e *Engine) ListTopics(ctx context.Context) ([]messages.TopicInfo, error) {
	return nil, errUnbuilt
}
func (e *Engine) DescribeTopic(ctx context.Context, name string) (messages.TopicDescription, error) {
	return messages.TopicDescription{}, errUnbuilt
}
func (e *Engine) UpdateTopic(ctx context.Context, name string, u messages.TopicUpdate) (messages.TopicInfo, error) {
	return messages.TopicInfo{}, errUnbuilt
}
func (e *Engine) DeleteTopic(ctx context.Context, name string) error { return errUnbuilt }
func (e *Engine) ListGroups(ctx context.Context, topic string) ([]string, error) {
	return nil, errUnbuilt
}
func (e *Engine) DescribeGroup(ctx context.Context, topic, group string) (messages.GroupInfo, error) {
	return messages.GroupInfo{}, errUnbuilt
}
func (e *Engine) ResetOffsets(ctx context.Context, topic, group string, to messages.Start, cfg ResetConfig) ([]messages.OffsetChange, error) {
	return nil, errUnbuilt
}

type Topic struct{}

func (t *Topic) Name() string             { return "" }
func (t *Topic) Info() messages.TopicInfo { return messages.TopicInfo{} }
func (t *Topic) Put(ctx context.Context, m messages.Message) messages.PutResult {
	return messages.PutResult{Err: errUnbuilt}
}
func (t *Topic) PutTo(ctx context.Context, p int, m messages.Message) messages.PutResult {
	return messages.PutResult{Err: errUnbuilt}
}
func (t *Topic) PutBatch(ctx context.Context, ms []messages.Message) ([]messages.PutResult, error) {
	return nil, errUnbuilt
}
func (t *Topic) PutAsync(ctx context.Context, m messages.Message, done func(messages.PutResult)) error {
	return errUnbuilt
}
func (t *Topic) Flush(ctx context.Context) error { return errUnbuilt }
func (t *Topic) Read(ctx context.Context, p int, from messages.Start) iter.Seq2[messages.TopicRecord, error] {
	return nil
}
func (t *Topic) Subscribe(ctx context.Context, cfg SubscriptionConfig) (*Subscription, error) {
	return nil, errUnbuilt
}

type Subscription struct{}

func (s *Subscription) ID() string        { return "" }
func (s *Subscription) Partitions() []int { return nil }
func (s *Subscription) Records(ctx context.Context) iter.Seq2[messages.TopicRecord, error] {
	return nil
}
func (s *Subscription) Poll(ctx context.Context, max int) ([]messages.TopicRecord, error) {
	return nil, errUnbuilt
}
func (s *Subscription) Consume(ctx context.Context, h RecordHandler) error { return errUnbuilt }
func (s *Subscription) Commit(ctx context.Context, recs ...messages.TopicRecord) error {
	return errUnbuilt
}
func (s *Subscription) CommitAsync(done func(error), recs ...messages.TopicRecord) {}
func (s *Subscription) Seek(ctx context.Context, p int, to messages.Start) error   { return errUnbuilt }
func (s *Subscription) Pause(ps ...int)                                            {}
func (s *Subscription) Resume(ps ...int)                                           {}
func (s *Subscription) Lag(ctx context.Context) (messages.GroupInfo, error) {
	return messages.GroupInfo{}, errUnbuilt
}
func (s *Subscription) Unsubscribe(ctx context.Context) error { return errUnbuilt }
