package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// Topics as a user gets them: defaults, an etcd that syncs every commit to disk
// and is spoken to over tcp as one in another process would be, and a consumer
// in a runtime of its own, so that records come from etcd and not from memory.

// Partitions is how many a topic has here.
const Partitions = 4

// Topics is a load.Log, and what single puts are timed with.
type Topics struct {
	etcd               *embedded.Server
	raw                *clientv3.Client // for plain puts, with a connection of its own
	producer, consumer *penstock.Runtime

	made, groups int // so many topics, groups
	puts, reads  *penstock.Topic
	size         int
	count        uint64
}

// NewTopics starts an etcd and two runtimes. log gets the runtimes' events; nil
// logs nothing.
func NewTopics(ctx context.Context, log *slog.Logger, opts ...embedded.Option) (_ *Topics, err error) {
	t := &Topics{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.etcd, err = embedded.Start(ctx, "", opts...); err != nil {
		return nil, err
	}
	if t.raw, err = clientv3.New(t.etcd.Config()); err != nil {
		return nil, err
	}
	for _, rt := range []**penstock.Runtime{&t.producer, &t.consumer} {
		if *rt, err = penstock.Start(ctx, penstock.EtcdConfig(t.etcd.Config()), penstock.Logger(log)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// make opens a new topic at both sides. The ones before stay: etcd would keep
// their records for its history anyway.
func (t *Topics) make(ctx context.Context) (err error) {
	t.made++
	t.count = 0
	name := fmt.Sprintf("bench-%d", t.made)
	if t.puts, err = t.producer.CreateTopic(ctx, name, penstock.TopicConfig{Partitions: Partitions}); err != nil {
		return err
	}
	t.reads, err = t.consumer.Topic(ctx, name)
	return err
}

// Put is load.Log's.
func (t *Topics) Put(ctx context.Context, size int, count uint64) (load.Timing, error) {
	if err := t.make(ctx); err != nil {
		return load.Timing{}, err
	}
	records := load.NewRecords(size)
	t.size, t.count = size, count
	return load.Timed(count, func() error {
		for i := range count {
			if err := t.puts.PutAsync(ctx, penstock.Message{Value: records.At(i)}, nil); err != nil {
				return err
			}
		}
		return t.puts.Flush(ctx)
	})
}

// Consume is load.Log's.
func (t *Topics) Consume(ctx context.Context) (load.Timing, error) {
	if t.count == 0 {
		return load.Timing{}, errors.New("nothing was put")
	}
	t.groups++
	group := fmt.Sprintf("g%d", t.groups)
	took, err := load.Timed(t.count, func() error { return t.consume(ctx, group) })
	if err != nil {
		return took, err
	}
	info, err := t.consumer.DescribeConsumerGroup(ctx, t.reads.Name(), group)
	if err == nil && info.Lag != 0 {
		err = fmt.Errorf("the group has not committed %d of %d records", info.Lag, t.count)
	}
	return took, err
}

// consume reads everything and leaves the group, which commits what automatic
// commits have not.
func (t *Topics) consume(ctx context.Context, group string) error {
	sub, err := t.reads.Subscribe(ctx, group)
	if err != nil {
		return err
	}
	tally := load.NewTally(t.size, t.count, Partitions)
	left := make(chan error, 1)
	leave := func() { left <- sub.Unsubscribe(ctx) }
	for rec, err := range sub.Records(ctx) {
		if err == nil {
			err = tally.Take(rec.Partition, rec.Value)
		}
		if err != nil {
			return err
		}
		if tally.Left() == 0 {
			go leave() // taking the next finishes this one; there is none
		}
	}
	if n := tally.Left(); n > 0 {
		return fmt.Errorf("the subscription ended %d records before the last", n)
	}
	return <-left
}

// Close is load.Log's.
func (t *Topics) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	for _, rt := range []*penstock.Runtime{t.consumer, t.producer} {
		if rt != nil {
			errs = append(errs, rt.Stop(ctx))
		}
	}
	if t.raw != nil {
		errs = append(errs, t.raw.Close())
	}
	if t.etcd != nil {
		errs = append(errs, t.etcd.Close())
	}
	return errors.Join(errs...)
}
