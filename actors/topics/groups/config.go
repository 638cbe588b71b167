package groups

// The settings of a subscription. Validate names every fault at once.

import (
	"cmp"
	"context"
	"time"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/lanes"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Defaults of a subscription.
const (
	DefaultMaxFetched    = 8 << 20
	DefaultCommitEvery   = time.Second
	DefaultRevokeTimeout = 30 * time.Second
	DefaultAckWait       = 30 * time.Second // of a shared group
)

// LargestShareOf bounds the records of which a share of dead letters pauses a group.
const LargestShareOf = 1 << 16

// Config is a place in a topic's consumer group: the options of
// penstock.Topic.Subscribe.
type Config struct {
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
	// PartitionsAtOnce is penstock.PartitionsAtOnce: 1 to messages.LargestConcurrency.
	// Default 1.
	PartitionsAtOnce int
	// Concurrency is penstock.Concurrency: 1 to messages.LargestConcurrency, or 0 for none.
	Concurrency int
	// Unordered is penstock.Unordered.
	Unordered bool
	// Shared is penstock.Shared, AckWait is penstock.AckWait with it: at least 100 ms, or -1
	// for no limit. Default DefaultAckWait.
	Shared  bool
	AckWait time.Duration
	// MaxFetched is penstock.MaxFetched, in bytes. Default DefaultMaxFetched.
	MaxFetched int
	// Retry is penstock.RecordRetry, with a factor of the caller's.
	Retry messages.Retry
	// MaxAttempts and DeadLetter are penstock.RecordDeadLetters; 0 and nil are none.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, r messages.Record, cause error) error
	// DeadTopic is penstock.DeadLetterTopic, with MaxAttempts; Letters is that topic, opened.
	DeadTopic string
	Letters   Letters
	// Breaker and BreakerPause are penstock.PauseAfterDeadLetters; 0 is none.
	Breaker      int
	BreakerPause time.Duration
	// Share, ShareOf and SharePause are penstock.PauseAtDeadLetterShare; 0 is none.
	Share      float64
	ShareOf    int
	SharePause time.Duration
	// Expired is penstock.RecordExpired.
	Expired func(ctx context.Context, r messages.Record)
	// RevokeTimeout is penstock.RevokeTimeout, at least 100 ms. Default
	// DefaultRevokeTimeout.
	RevokeTimeout time.Duration
	// Claimed and Lost are told of partitions that the subscription owns from now on,
	// or was fenced from. They run in its actor: they must not block and must not call
	// the subscription. nil is nobody.
	Claimed, Lost func(partitions []int)
	// Use is penstock.UseRecords.
	Use []func(next messages.RecordHandler) messages.RecordHandler
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	c.CommitEvery = cmp.Or(c.CommitEvery, DefaultCommitEvery)
	c.PartitionsAtOnce = cmp.Or(c.PartitionsAtOnce, 1)
	c.MaxFetched = cmp.Or(c.MaxFetched, DefaultMaxFetched)
	c.RevokeTimeout = cmp.Or(c.RevokeTimeout, DefaultRevokeTimeout)
	c.Retry.EnsureDefaults()
	if c.Shared {
		c.AckWait = cmp.Or(c.AckWait, DefaultAckWait)
	}
}

// Workers is how many handlers Consume runs.
func (c *Config) Workers() int { return max(c.Concurrency, c.PartitionsAtOnce, 1) }

// prefetch is what the data path needs to know.
func (c *Config) prefetch() prefetch.Config {
	order := lanes.ByKey
	if c.Unordered {
		order = lanes.None
	}
	concurrency := c.Concurrency
	if c.Shared {
		concurrency = prefetch.MostAtOnce // the members' is their own
	}
	return prefetch.Config{
		Concurrency: concurrency, Order: order, Breaker: c.Breaker, Share: prefetch.Share{Least: c.Share, Of: c.ShareOf},
		Topic: c.Topic, Group: c.Group, ManualCommit: c.ManualCommit, MaxFetched: c.MaxFetched,
		Retry: c.Retry, MaxAttempts: c.MaxAttempts, DeadLetter: c.DeadLetter,
	}
}

func (c *Config) validateDeadTopic(faults *node.Faults) {
	switch {
	case c.DeadTopic == "":
		return
	case c.DeadTopic == c.Topic:
		faults.Add("the dead letters of topic %q go to the topic itself: they would come again without end; name another one", c.Topic)
	case c.DeadLetter != nil:
		faults.Add("a dead-letter topic and a dead-letter handler: leave one of the two out")
	case c.ManualCommit:
		faults.Add("a dead-letter topic with manual commits: the record is committed in the transaction that puts it there; leave one of the two out")
	}
	faults.Join(keys.ValidateTopic(c.DeadTopic))
}

// Letters is an open topic that takes dead letters. Close blocks until that is given up, or
// ctx ends.
type Letters interface {
	PutIn(tx *Tx, msgs []messages.Message)
	Close(ctx context.Context) error
}

func (c *Config) validateConcurrency(faults *node.Faults) {
	switch {
	case c.Concurrency < 0 || c.Concurrency > messages.LargestConcurrency:
		faults.Add("concurrency %d: it must be between 1 and %d", c.Concurrency, messages.LargestConcurrency)
	case c.Concurrency == 0:
		if c.Unordered && !c.Shared {
			faults.Add("unordered without a concurrency: records of a partition are handled one after the other; set Concurrency as well")
		}
		return
	}
	if c.PartitionsAtOnce > 1 {
		faults.Add("concurrency %d and %d partitions at once: Concurrency counts records of all partitions; leave PartitionsAtOnce out", c.Concurrency, c.PartitionsAtOnce)
	}
	if c.ManualCommit {
		faults.Add("concurrency %d with manual commits: a commit up to a record would take those before it along that are not finished; leave one of the two out", c.Concurrency)
	}
}

func (c *Config) validateShared(faults *node.Faults) {
	if !c.Shared {
		if c.AckWait != 0 {
			faults.Add("ack wait %s without Shared: a partition's owner may take as long as it likes; leave it out, or set Shared as well", c.AckWait)
		}
		return
	}
	if c.AckWait < 100*time.Millisecond && c.AckWait != -1 {
		faults.Add("ack wait %s: it must be at least 100ms, or -1 for no limit", c.AckWait)
	}
	if c.Partitions != nil {
		faults.Add("a shared group whose members name partitions: all members get records of all of them; use Subscribe")
	}
	if c.ManualCommit {
		faults.Add("a shared group with manual commits: the owner of a partition commits what any member has finished; leave ManualCommit out, and finish a record by returning nil or taking the next one")
	}
	if c.BeforeRelease != nil {
		faults.Add("a shared group with BeforeRelease: other members have records of the same partition; write out what was gathered before the record is finished")
	}
	if c.PartitionsAtOnce > 1 {
		faults.Add("a shared group with %d partitions at once: use Concurrency, which counts the records of all partitions", c.PartitionsAtOnce)
	}
}

func (c *Config) validateBreaker(faults *node.Faults) {
	switch {
	case c.Breaker == 0 && c.BreakerPause == 0:
	case c.Breaker < 1 || c.BreakerPause < time.Second || c.BreakerPause > messages.LongestPause:
		faults.Add("pause for %s after %d dead letters: want a positive number, and a pause from 1s to ten years", c.BreakerPause, c.Breaker)
	case c.DeadLetter == nil && c.DeadTopic == "":
		faults.Add("pause after %d dead letters: records become none; set DeadLetterTopic or RecordDeadLetters as well", c.Breaker)
	}
	switch {
	case c.Share == 0 && c.ShareOf == 0 && c.SharePause == 0:
	case !(c.Share > 0 && c.Share <= 1) || c.ShareOf < 2 || c.ShareOf > LargestShareOf || c.SharePause < time.Second || c.SharePause > messages.LongestPause:
		faults.Add("pause for %s at a share of %v of %d records: want a share above 0 and up to 1, of 2 to %d records, and a pause from 1s to ten years", c.SharePause, c.Share, c.ShareOf, LargestShareOf)
	case c.DeadLetter == nil && c.DeadTopic == "":
		faults.Add("pause at a share of dead letters: records become none; set DeadLetterTopic or RecordDeadLetters as well")
	}
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *Config) Validate() error {
	var faults node.Faults
	faults.Join(keys.ValidateTopic(c.Topic))
	faults.Join(keys.ValidateName("group", c.Group))
	if c.ID != "" {
		faults.Join(keys.ValidateName("member", c.ID))
	}
	if c.Partitions != nil && len(c.Partitions) == 0 {
		faults.Add("no partitions named: name one or more, or subscribe to all")
	}
	if c.CommitEvery < 10*time.Millisecond {
		faults.Add("commit every %s: it must be at least 10ms", c.CommitEvery)
	}
	if c.PartitionsAtOnce < 1 || c.PartitionsAtOnce > messages.LargestConcurrency {
		faults.Add("%d partitions at once: it must be between 1 and %d", c.PartitionsAtOnce, messages.LargestConcurrency)
	}
	c.validateConcurrency(&faults)
	c.validateShared(&faults)
	if c.MaxFetched < 1 {
		faults.Add("max fetched of %d bytes: it must be positive", c.MaxFetched)
	}
	if c.RevokeTimeout < 100*time.Millisecond {
		faults.Add("revoke timeout %s: it must be at least 100ms", c.RevokeTimeout)
	}
	if c.MaxAttempts < 0 || c.MaxAttempts > 0 && c.DeadLetter == nil && c.DeadTopic == "" {
		faults.Add("max attempts %d: it must be positive and come with a dead-letter handler", c.MaxAttempts)
	}
	c.validateDeadTopic(&faults)
	c.validateBreaker(&faults)
	faults.Join(c.Retry.Validate())
	faults.Join(chain.Check(c.Use))
	return faults.Err()
}
