package penstock

// Options of topics. Each goes to one call only, and the compiler says so.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/actors"
)

// ProducerOption is an option of CreateTopic, EnsureTopic and Topic, for what is put
// through that handle.
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

// PartitionBy sets how the partition of each message is chosen; ByKey when not given.
func PartitionBy(p Partitioner) ProducerOption {
	return producerOption(func(c *actors.ProducerConfig) { c.Partitioner = p })
}

// ByKey puts messages of one key into one partition, by the hash that Kafka's Java
// client uses: murmur2 of the key, modulo the number of partitions. So keys change their
// partition when the topic gets more of them. Messages without a key go where Sticky
// would put them.
func ByKey() Partitioner { return actors.ByKey() }

// Sticky stays with a partition until a batch of it is on its way, then takes the one
// with the fewest bytes waiting. It makes the largest batches.
func Sticky() Partitioner { return actors.Sticky() }

// RoundRobin takes the partitions in turn.
func RoundRobin() Partitioner { return actors.RoundRobin() }

// Random takes any partition, each as likely as the others.
func Random() Partitioner { return actors.Random() }

// Manual asks choose for the partition of each message, on the goroutine that puts it.
// choose must be safe for concurrent use and must not change the message. A number that
// is no partition of the topic fails the message with ErrNoPartition.
func Manual(choose func(m *Message, partitions int) int) Partitioner { return actors.Manual(choose) }

// MaxBuffer limits what the handle has accepted and etcd has not committed, in encoded
// bytes and 48 more for each record that somebody waits for: 32 MiB when not given, at
// least 1 MiB. Puts wait while it is full. In addition a handle takes about 3 MiB, and 16
// KiB for each partition that is busy.
func MaxBuffer(bytes int) ProducerOption {
	return producerOption(func(c *actors.ProducerConfig) { c.MaxBuffer = bytes })
}

// ManualCommit commits only what Commit and CommitAsync are asked to. When a partition
// is released nothing more is committed, unless BeforeRelease was given and returned
// nil.
func ManualCommit() SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.ManualCommit = true })
}

// BeforeRelease has settle called before the subscription releases partitions, because
// another member is to have them or this one leaves: to write out what was gathered of
// their records. When settle returns nil, everything finished in them is committed in
// the transaction that releases them, also with ManualCommit, and the next owner begins
// behind it. An error or a panic is emitted as CommitDelayed, and nothing more is committed.
//
// While settle runs nobody has records of these partitions in hand, and none is handed
// out; other partitions are read as before, so settle must be safe for that. It is never
// called twice at once. ctx ends RevokeTimeout after the partitions were revoked, when
// another member may take them all the same; settle must return then. It must not call
// Unsubscribe, which waits for it. It is called again for partitions that could not be
// released, and not for those that were lost: the event PartitionLost names these.
func BeforeRelease(settle func(ctx context.Context, partitions []int) error) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.BeforeRelease = settle })
}

// CommitEvery is how often finished records are committed; 1 s when not given, at least
// 10 ms. ManualCommit turns it off.
func CommitEvery(d time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.CommitEvery = d })
}

// PartitionsAtOnce is how many partitions Consume handles at once, the records of each one
// after the other; 1 when not given, at most 65,536. Concurrency is the way to handle records
// of one partition at the same time.
func PartitionsAtOnce(n int) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.PartitionsAtOnce = n })
}

// Unordered gives up the order of records with the same key, which Concurrency keeps: any
// of them are handled at the same time. It is for Concurrency.
func Unordered() SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Unordered = true })
}

// Shared has all members of the group handle records of all partitions, so that it may have
// more members than there are partitions. The owner of a partition lends its records one by
// one to the members, itself among them, over links between their processes; nothing is
// written to etcd for each. All members of a group must be subscribed with it.
//
// A record is handled by one member at a time: by another one when that has died, or has
// kept it for longer than AckWait. Those of one key are handled one after the other in their
// order, unless Unordered is given; there is no order beyond that. What is finished is
// committed though earlier records are not, as with Concurrency, which says here how many
// records this member handles at once: 1 when not given.
//
// It is not for ManualCommit, BeforeRelease, PartitionsAtOnce, SubscribePartitions, Seek,
// Commit, ConsumeTx and Transact of the subscription. Pause and Resume are about all
// partitions, whichever are named. Members need the right to read and write the keys
// <prefix>/dest/~<topic id>~<group>/ and <prefix>/secret/~<topic id>~<group>/.
func Shared() SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Shared = true })
}

// MaxFetched limits the bytes of batches that are read ahead for this subscription; 8
// MiB when not given. A batch is never split, so one batch for each partition in use may
// exceed it.
func MaxFetched(bytes int) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.MaxFetched = bytes })
}

// RecordRetry spaces the attempts of a record whose handler failed: the second waits
// min, each later one twice as long as the one before, at most max. 100 ms and 1 min when
// not given.
func RecordRetry(min, max time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Retry.Min, c.Retry.Max = min, max })
}

// RecordDeadLetters gives a record that failed attempts times to take, with the last
// error, and one that a handler rejected at once; with 0 attempts only those. With a nil
// error the record is finished; with an error it is tried again, and that counts as a
// failure. When the option is not given, a record is tried without end, and its partition
// waits; a rejected one is finished all the same, with the event RecordRejected and
// SubscriptionCounters.Rejected, and stays in the log at its offset.
func RecordDeadLetters(attempts int, take func(ctx context.Context, r Record, cause error) error) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.MaxAttempts, c.DeadLetter = attempts, take })
}

// DeadLetterTopic puts a record that failed attempts times, or that a handler rejected, into
// another topic, in the transaction that acks it: it is in one of the two, whatever dies.
// What a process may have died over counts as an attempt as well, where its deaths were
// counted, see Record.Deaths. With 0 attempts only rejected records go there. The topic is
// created with one partition if there is none.
//
// The dead letter has the key, value, time and headers of the record, and headers that say
// where it is from and why it is there: penstock-dead-topic, -partition, -offset, -group,
// -attempts, -deaths, -error (up to 1 KiB) and -time. What the topic has no room for is left
// out, which penstock-dead-omitted says. The letter does not expire. While it cannot be
// put, because etcd is full or the topic was deleted, the record is tried again, and that
// counts as a failure. It takes the place of RecordDeadLetters, and is not for ManualCommit.
func DeadLetterTopic(topic string, attempts int) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.MaxAttempts, c.DeadTopic = attempts, topic })
}

// PauseAfterDeadLetters pauses the whole group for a while when inARow records of this
// member became dead letters one after the other, without one that was handled between
// them, and again after as many more: what handles them may be at fault, such as a database
// that is away, and not the records. The event messages.DeadLettersRepeated tells of it.
// Runtime.ResumeConsumerGroup ends the pause. pause is at least 1 s. It is off when not
// given.
func PauseAfterDeadLetters(inARow int, pause time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Breaker, c.BreakerPause = inARow, pause })
}

// PauseAtDeadLetterShare pauses the whole group for a while when at least that share of the
// last of records that this member finished became dead letters: what handles them may be at
// fault for most of them and not for all, which PauseAfterDeadLetters does not notice. After
// that it counts from the beginning. share is above 0 and up to 1, of from 2 to 65,536, pause
// at least 1 s. The rest is as for PauseAfterDeadLetters, beside which it can be given. It
// is off when not given.
func PauseAtDeadLetterShare(share float64, of int, pause time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Share, c.ShareOf, c.SharePause = share, of, pause })
}

// RecordExpired gives the records that were passed over after their ExpiresAt to take,
// with bytes of their own, one at a time: take may block, which holds up nothing but the
// next calls. While 65,536 records or 32 MiB wait for it, further ones are not given to
// it, which the event messages.RecordsExpired counts as Untold. Unsubscribe and Stop wait
// for it for 5 s. A record is given again when its partition moves before the offset behind
// it is committed, or after a Seek. Whether or not the option is given,
// SubscriptionCounters.Expired counts the records and the event sums them.
func RecordExpired(take func(ctx context.Context, r Record)) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.Expired = take })
}

// RevokeTimeout is how long a member may hold a partition that was assigned to another,
// to finish what it has in hand, before it is fenced; 30 s when not given, at least 100
// ms.
func RevokeTimeout(d time.Duration) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) { c.RevokeTimeout = d })
}

// DryRun lets ResetOffsets return what it would change, and change nothing.
func DryRun() ResetOption {
	return resetOption(func(c *actors.ResetConfig) { c.DryRun = true })
}

// Force lets ResetOffsets work on a group with members: their claims are revoked, what
// they hold is fenced, and they begin at the new offsets.
func Force() ResetOption {
	return resetOption(func(c *actors.ResetConfig) { c.Force = true })
}

// OnlyPartitions lets ResetOffsets change these partitions only.
func OnlyPartitions(partitions ...int) ResetOption {
	return resetOption(func(c *actors.ResetConfig) { c.Partitions = partitions })
}
