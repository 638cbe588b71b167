package actors

// The settings of producers, subscriptions and resets.

import (
	"cmp"
	"context"
	"time"

	"github.com/penstock-io/penstock/actors/internal/prefetch"
	"github.com/penstock-io/penstock/actors/internal/produce"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Defaults and limits of topics.
const (
	DefaultMaxBuffer     = 32 << 20
	DefaultMaxFetched    = 8 << 20
	DefaultCommitEvery   = time.Second
	DefaultRevokeTimeout = 30 * time.Second
)

// ProducerConfig is how a topic's handle puts: the options of penstock.Runtime.Topic.
// The zero value is good.
type ProducerConfig struct {
	// Partitioner is penstock.PartitionBy. Default ByKey.
	Partitioner Partitioner
	// MaxBuffer is penstock.MaxBuffer, at least messages.MaxRecordBytes. Default
	// DefaultMaxBuffer.
	MaxBuffer int
}

// EnsureDefaults fills what is zero.
func (c *ProducerConfig) EnsureDefaults() {
	if c.Partitioner == nil {
		c.Partitioner = ByKey()
	}
	c.MaxBuffer = cmp.Or(c.MaxBuffer, DefaultMaxBuffer)
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *ProducerConfig) Validate() error {
	var faults faults
	if !produce.Chooses(c.Partitioner) {
		faults.add("the function that chooses partitions is nil")
	}
	if c.MaxBuffer < messages.MaxRecordBytes {
		faults.add("max buffer of %d bytes: it must hold the largest record, %d bytes", c.MaxBuffer, messages.MaxRecordBytes)
	}
	return faults.err()
}

// SubscriptionConfig is a place in a topic's consumer group: the options of
// penstock.Topic.Subscribe.
type SubscriptionConfig struct {
	Topic, Group string
	// ID is penstock.MemberID; random when empty.
	ID string
	// Partitions are those of penstock.Topic.SubscribePartitions; nil for an
	// automatic group.
	Partitions []int
	// Start is penstock.StartAt.
	Start messages.Start
	// ManualCommit is penstock.ManualCommit.
	ManualCommit bool
	// BeforeRelease is penstock.BeforeRelease.
	BeforeRelease func(ctx context.Context, partitions []int) error
	// CommitEvery is penstock.CommitEvery, at least 10 ms. Default
	// DefaultCommitEvery.
	CommitEvery time.Duration
	// Concurrency is penstock.PartitionsAtOnce: 1 to LargestConcurrency. Default 1.
	Concurrency int
	// MaxFetched is penstock.MaxFetched, in bytes. Default DefaultMaxFetched.
	MaxFetched int
	// Retry is penstock.RecordRetry, with a factor of the caller's.
	Retry messages.Retry
	// MaxAttempts and DeadLetter are penstock.RecordDeadLetters; 0 and nil are none.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, r messages.Record, cause error) error
	// RevokeTimeout is penstock.RevokeTimeout, at least 100 ms. Default
	// DefaultRevokeTimeout.
	RevokeTimeout time.Duration
}

// EnsureDefaults fills what is zero.
func (c *SubscriptionConfig) EnsureDefaults() {
	c.CommitEvery = cmp.Or(c.CommitEvery, DefaultCommitEvery)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.MaxFetched = cmp.Or(c.MaxFetched, DefaultMaxFetched)
	c.RevokeTimeout = cmp.Or(c.RevokeTimeout, DefaultRevokeTimeout)
	c.Retry.EnsureDefaults()
}

// prefetch is what the data path needs to know.
func (c *SubscriptionConfig) prefetch() prefetch.Config {
	return prefetch.Config{
		Topic: c.Topic, Group: c.Group, ManualCommit: c.ManualCommit, MaxFetched: c.MaxFetched,
		Retry: c.Retry, MaxAttempts: c.MaxAttempts, DeadLetter: c.DeadLetter,
	}
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *SubscriptionConfig) Validate() error {
	var faults faults
	faults.join(keys.ValidateTopic(c.Topic))
	faults.join(keys.ValidateName("group", c.Group))
	if c.ID != "" {
		faults.join(keys.ValidateName("member", c.ID))
	}
	if c.Partitions != nil && len(c.Partitions) == 0 {
		faults.add("no partitions named: name one or more, or subscribe to all")
	}
	if c.CommitEvery < 10*time.Millisecond {
		faults.add("commit every %s: it must be at least 10ms", c.CommitEvery)
	}
	if c.Concurrency < 1 || c.Concurrency > LargestConcurrency {
		faults.add("%d partitions at once: it must be between 1 and %d", c.Concurrency, LargestConcurrency)
	}
	if c.MaxFetched < 1 {
		faults.add("max fetched of %d bytes: it must be positive", c.MaxFetched)
	}
	if c.RevokeTimeout < 100*time.Millisecond {
		faults.add("revoke timeout %s: it must be at least 100ms", c.RevokeTimeout)
	}
	if c.MaxAttempts < 0 || c.MaxAttempts > 0 && c.DeadLetter == nil {
		faults.add("max attempts %d: it must be positive and come with a dead-letter handler", c.MaxAttempts)
	}
	faults.join(c.Retry.Validate())
	return faults.err()
}

// ResetConfig holds the options of penstock.Runtime.ResetOffsets.
type ResetConfig struct {
	// Partitions are penstock.OnlyPartitions; nil for all.
	Partitions []int
	// DryRun is penstock.DryRun.
	DryRun bool
	// Force is penstock.Force.
	Force bool
}
