package penstock

// Options of topics. Each goes to one call only, and the compiler says so.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/actors"
)

// ProducerOption is an option of CreateTopic, EnsureTopic and Topic, for what is
// put through that handle.
type ProducerOption interface {
	applyProducer(*actors.ProducerConfig)
}

// SubscribeOption is an option of Topic.Subscribe and SubscribePartitions.
type SubscribeOption interface {
	applySubscribe(*actors.SubscriptionConfig)
}

// ResetOption is an option of Runtime.ResetOffsets.
type ResetOption interface{ applyReset(*actors.ResetConfig) }

type (
	producerOption  func(*actors.ProducerConfig)
	subscribeOption func(*actors.SubscriptionConfig)
	resetOption     func(*actors.ResetConfig)
)

func (o producerOption) applyProducer(c *actors.ProducerConfig)       { o(c) }
func (o subscribeOption) applySubscribe(c *actors.SubscriptionConfig) { o(c) }
func (o resetOption) applyReset(c *actors.ResetConfig)                { o(c) }

func producerConfig(opts []ProducerOption) actors.ProducerConfig {
	cfg := actors.ProducerConfig{}
	for _, o := range opts {
		o.applyProducer(&cfg)
	}
	return cfg
}

// PartitionBy chooses the partition of each message; ByKey when not given.
func PartitionBy(p Partitioner) ProducerOption {
	return producerOption(func(c *actors.ProducerConfig) { c.Partitioner = p })
}

// ByKey puts messages of one key into one partition, by murmur2 as Kafka's
// clients do, and messages without a key where Sticky would.
func ByKey() Partitioner { return actors.ByKey() }

// Sticky fills one batch after the other, each in the partition with the least
// to do. It makes the largest batches.
func Sticky() Partitioner { return actors.Sticky() }

// RoundRobin takes the partitions in turn.
func RoundRobin() Partitioner { return actors.RoundRobin() }

// Random takes any partition.
func Random() Partitioner { return actors.Random() }

// Manual asks choose for each message. An answer that is no partition of the
// topic fails the message with ErrNoPartition. choose must be safe for
// concurrent use.
func Manual(choose func(m *Message, partitions int) int) Partitioner { return actors.Manual(choose) }

// MaxBuffer bounds what the handle has taken and etcd has not committed, in
// encoded bytes and 48 more for each record that somebody waits for; 32 MiB when
// not given. Beyond it a handle takes about 3 MiB, and 16 KiB for each partition
// that is busy.
func MaxBuffer(bytes int) ProducerOption {
	return producerOption(func(c *actors.ProducerConfig) { c.MaxBuffer = bytes })
}

// ManualCommit commits only what Commit and CommitAsync are asked to, and at
// release nothing more than they were, but for what BeforeRelease allows.
func ManualCommit() SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.ManualCommit = true })
}

// BeforeRelease has the subscription call settle before it gives partitions
// back, because another member is to have them or this one leaves: the moment to
// write out what was gathered of their records. With nil, everything finished in
// them is committed in the transaction that releases them, also with
// ManualCommit, so the next owner begins behind it; an error, or a panic, is
// emitted as CommitDelayed and leaves what was committed before.
//
// Nobody has records of these partitions in hand while settle runs, and none is
// handed out any more; those of other partitions go on, so settle must be safe
// for that; it is never called twice at once. ctx ends RevokeTimeout after the
// partitions were asked back, when another member may take them all the same, and
// settle must heed it. It must not call Unsubscribe, which waits for it. It is
// called again for partitions that could not be given back, and not at all for
// those that were lost: PartitionLost tells of these.
func BeforeRelease(settle func(ctx context.Context, partitions []int) error) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.BeforeRelease = settle })
}

// CommitEvery is how often finished records are committed; 1 s when not given.
func CommitEvery(d time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.CommitEvery = d })
}

// PartitionsAtOnce is how many partitions Consume handles at once; 1 when not
// given.
func PartitionsAtOnce(n int) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Concurrency = n })
}

// MaxFetched bounds the bytes of batches that were read ahead for this
// subscription; 8 MiB when not given. A batch is never split, so one batch for
// each partition in use may be above it.
func MaxFetched(bytes int) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.MaxFetched = bytes })
}

// RecordRetry spaces the attempts of a record whose handler failed: the first
// waits min, each later one twice as long, at most max. 100 ms and 1 min when
// not given.
func RecordRetry(min, max time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Retry.Min, c.Retry.Max = min, max })
}

// RecordDeadLetters takes a record that failed attempts times, and then it
// counts as finished. An error keeps the record, to be tried again. Without it
// a record is tried for ever.
func RecordDeadLetters(attempts int, take func(ctx context.Context, r Record, cause error) error) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.MaxAttempts, c.DeadLetter = attempts, take })
}

// RevokeTimeout is how long a member may hold on to a partition that is no
// longer its own, to finish what it has in hand, before it is fenced; 30 s when
// not given.
func RevokeTimeout(d time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.RevokeTimeout = d })
}

// DryRun only tells what ResetOffsets would do.
func DryRun() ResetOption {
	return resetOption(func(c *actors.ResetConfig) { c.DryRun = true })
}

// Force resets the offsets of a group with members: their claims are taken
// away, they are fenced and begin anew.
func Force() ResetOption {
	return resetOption(func(c *actors.ResetConfig) { c.Force = true })
}

// OnlyPartitions resets these and leaves the others.
func OnlyPartitions(partitions ...int) ResetOption {
	return resetOption(func(c *actors.ResetConfig) { c.Partitions = partitions })
}
