package actors

// The settings of producers, subscriptions and resets.

import (
	"cmp"
	"context"
	"time"

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

// ProducerConfig is how a topic's handle puts. The zero value is good.
type ProducerConfig struct {
	// Partitioner chooses the partition of each message. Default ByKey.
	Partitioner Partitioner
	// MaxBuffer bounds what was taken and is not committed, in encoded bytes.
	// Default DefaultMaxBuffer; at least messages.MaxRecordBytes.
	MaxBuffer int
}

// EnsureDefaults fills what is zero.
func (c *ProducerConfig) EnsureDefaults() {
	if c.Partitioner == nil {
		c.Partitioner = ByKey()
	}
	c.MaxBuffer = cmp.Or(c.MaxBuffer, DefaultMaxBuffer)
}

// Validate answers every fault of c, joined; each wraps messages.ErrInvalid.
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

// SubscriptionConfig is a place in a topic's consumer group.
type SubscriptionConfig struct {
	Topic, Group string
	// ID is the member's; random when empty.
	ID string
	// Partitions are those of a manual group; nil for an automatic one.
	Partitions []int
	// Start is where to begin in partitions without a committed offset.
	Start messages.Start
	// ManualCommit commits only what is asked for.
	ManualCommit bool
	// BeforeRelease is told of owned partitions before they are given back.
	// With nil, all that is finished in them is committed with the release.
	BeforeRelease func(ctx context.Context, partitions []int) error
	// CommitEvery is how often finished records are committed otherwise.
	// Default DefaultCommitEvery; at least 10 ms.
	CommitEvery time.Duration
	// Concurrency is how many partitions Consume handles at once. Default 1,
	// at most LargestConcurrency.
	Concurrency int
	// MaxFetched bounds bytes read ahead. Default DefaultMaxFetched.
	MaxFetched int
	// Retry spaces the attempts of a failed record; 100 ms to 1 min by default.
	Retry messages.Retry
	// MaxAttempts is after how many failures DeadLetter gets the record; 0 is
	// never.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, r messages.Record, cause error) error
	// RevokeTimeout is how long a member may keep a partition that was given
	// to another. Default DefaultRevokeTimeout; at least 100 ms.
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

// Validate answers every fault of c, joined; each wraps messages.ErrInvalid.
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

// ResetConfig says how ResetOffsets goes about it.
type ResetConfig struct {
	// Partitions to move; nil for all.
	Partitions []int
	// DryRun changes nothing.
	DryRun bool
	// Force takes away the claims of live members.
	Force bool
}
