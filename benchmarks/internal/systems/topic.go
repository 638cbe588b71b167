package systems

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// Topics as a user gets them: defaults, and a runtime for each end.

type producer struct {
	rt         *penstock.Runtime
	topic      *penstock.Topic
	partitions int
	opts       []penstock.ProducerOption
	batch      records
}

func putTopic(ctx context.Context, at side.Place) (side.Putter, error) {
	return produce(ctx, at)
}

// putTopicInTurn has each record go to another partition than the one before.
func putTopicInTurn(ctx context.Context, at side.Place) (side.Putter, error) {
	return produce(ctx, at, penstock.PartitionBy(penstock.RoundRobin()))
}

func produce(ctx context.Context, at side.Place, opts ...penstock.ProducerOption) (side.Putter, error) {
	rt, err := Runtime(ctx, at)
	if err != nil {
		return nil, err
	}
	return &producer{rt: rt, partitions: at.Partitions, opts: opts}, nil
}

// Create leaves the topic before alone: etcd keeps its records for its history anyway.
func (p *producer) Create(ctx context.Context, log string) (err error) {
	if _, err = p.rt.CreateTopic(ctx, log, penstock.TopicConfig{Partitions: p.partitions}); err != nil {
		return err
	}
	p.topic, err = p.rt.Topic(ctx, log, p.opts...)
	return err
}

func (p *producer) PutAsync(ctx context.Context, record []byte) error {
	return p.topic.PutAsync(ctx, penstock.Message{Value: record}, nil)
}

func (p *producer) Flush(ctx context.Context) error { return p.topic.Flush(ctx) }

func (p *producer) Put(ctx context.Context, record []byte) error {
	_, _, err := p.topic.Put(ctx, penstock.Message{Value: record})
	return err
}

func (p *producer) PutBatch(ctx context.Context, values [][]byte) error {
	_, err := p.topic.PutBatch(ctx, p.batch.of(values))
	return err
}

func (p *producer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.rt.Stop(ctx)
}

type subscriber struct{ rt *penstock.Runtime }

func consumeTopic(ctx context.Context, at side.Place) (side.Consumer, error) {
	rt, err := Runtime(ctx, at)
	if err != nil {
		return nil, err
	}
	return &subscriber{rt}, nil
}

// Consume leaves the group in the end, which commits what automatic commits have not.
func (s *subscriber) Consume(ctx context.Context, log string, take func(int, []byte) (bool, error)) error {
	const group = "all"
	topic, err := s.rt.Topic(ctx, log)
	if err != nil {
		return err
	}
	sub, err := topic.Subscribe(ctx, group)
	if err != nil {
		return err
	}
	var left chan error
	for rec, err := range sub.Records(ctx) {
		last := false
		if err == nil {
			last, err = take(rec.Partition, rec.Value)
		}
		if err != nil {
			return err
		}
		if last && left == nil {
			left = make(chan error, 1)
			go func() { left <- sub.Unsubscribe(ctx) }() // taking the next finishes this one; there is none
		}
	}
	if left == nil {
		return errors.New("the subscription ended")
	}
	if err := <-left; err != nil {
		return err
	}
	info, err := s.rt.DescribeConsumerGroup(ctx, log, group)
	if err == nil && info.Lag != 0 {
		err = errors.New("the group has not committed all records")
	}
	return err
}

func (s *subscriber) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.rt.Stop(ctx)
}
