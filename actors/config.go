package actors

// What can be set, with its defaults and limits. Validate names every fault at
// once.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/sendq"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
)

// Limits and defaults.
const (
	DefaultPrefix         = "/penstock"
	DefaultListen         = "tcp://:0"
	DefaultLeaseTTL       = 10 * time.Second
	DefaultMaxMessageSize = 4 << 20
	LargestMessageSize    = frame.LargestMessage // 64 MiB
	DefaultMaxAttempts    = 16
	LargestMaxAttempts    = 1<<16 - 2
	DefaultKeepFor        = time.Minute
	DefaultWindow         = 4096
	LargestWindow         = 1 << 20
	LargestConcurrency    = 1 << 16
	DefaultWindowBytes    = 8 << 20
	DefaultAckWait        = frame.DefaultAckWait // 30 s
)

// Config is what an engine needs.
type Config struct {
	// Etcd is penstock.EtcdConfig. Required: Endpoints.
	Etcd clientv3.Config
	// Prefix is penstock.Prefix. Default DefaultPrefix.
	Prefix string
	// Listen is penstock.Listen. Default DefaultListen.
	Listen string
	// LeaseTTL is penstock.LeaseTTL: 2 s to 1 h. Default DefaultLeaseTTL.
	LeaseTTL time.Duration
	// Logger is penstock.Logger; nil logs nothing.
	Logger *slog.Logger
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, DefaultLeaseTTL)
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *Config) Validate() error {
	var faults faults
	faults.join(discovery.Validate(c.Etcd))
	faults.join(keys.Space(c.Prefix).Validate())
	_, err := address.Parse(c.Listen)
	faults.join(err)
	if c.LeaseTTL < 2*time.Second || c.LeaseTTL > time.Hour {
		faults.add("lease TTL %s: it must be between 2s and 1h", c.LeaseTTL)
	}
	return faults.err()
}

// DestinationConfig describes a sender. Its fields are the options of
// penstock.Runtime.Register.
type DestinationConfig struct {
	// Name of the destination. Required.
	Name string
	// ID is penstock.SenderID. Default: a random one.
	ID string
	// Listen is penstock.ListenOn. Default: Config.Listen.
	Listen string
	// SoleSender is penstock.SoleSender.
	SoleSender bool
	// MaxMessageSize is penstock.MaxMessageSize, in bytes as messages.PayloadSize
	// counts them: 1 to LargestMessageSize. Default DefaultMaxMessageSize.
	MaxMessageSize int
	// Queue is penstock.MaxQueue.
	Queue messages.QueueLimits
	// DropWithoutGroup is penstock.DropWithoutGroup.
	DropWithoutGroup bool
	// MaxAttempts is penstock.MaxAttempts: up to LargestMaxAttempts, or -1 for no
	// limit. Default DefaultMaxAttempts.
	MaxAttempts int
	// Retry is penstock.RetryDelay, with a factor of the caller's.
	Retry messages.Retry
	// DeadLetter is penstock.DeadLetters.
	DeadLetter func(context.Context, messages.DeadLetter) error
}

// EnsureDefaults fills what is zero.
func (c *DestinationConfig) EnsureDefaults() {
	c.MaxMessageSize = cmp.Or(c.MaxMessageSize, DefaultMaxMessageSize)
	c.Queue.Messages = cmp.Or(c.Queue.Messages, 65536)
	c.Queue.Bytes = cmp.Or(c.Queue.Bytes, max(64<<20, sendq.Memory(frame.LargestRecord(c.MaxMessageSize))))
	c.MaxAttempts = cmp.Or(c.MaxAttempts, DefaultMaxAttempts)
	c.Retry.EnsureDefaults()
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *DestinationConfig) Validate() error {
	var faults faults
	faults.join(keys.ValidateName("destination", c.Name))
	if c.ID != "" {
		faults.join(keys.ValidateName("sender", c.ID))
	}
	if c.Listen != "" {
		_, err := address.Parse(c.Listen)
		faults.join(err)
	}
	if c.MaxMessageSize < 1 || c.MaxMessageSize > LargestMessageSize {
		faults.add("maximum message size %d: it must be between 1 and %d bytes", c.MaxMessageSize, LargestMessageSize)
	}
	if c.Queue.Messages < 1 {
		faults.add("queue of %d messages: it must hold at least 1", c.Queue.Messages)
	}
	if least := sendq.Memory(frame.LargestRecord(c.MaxMessageSize)); c.MaxMessageSize > 0 && c.Queue.Bytes < least {
		faults.add("queue of %d bytes: to hold one message of the maximum size, %d, it takes %d", c.Queue.Bytes, c.MaxMessageSize, least)
	}
	if c.MaxAttempts < -1 || c.MaxAttempts > LargestMaxAttempts {
		faults.add("%d attempts: give a number up to %d, or -1 for no limit", c.MaxAttempts, LargestMaxAttempts)
	}
	faults.join(c.Retry.Validate())
	return faults.err()
}

// queue is what the data path needs of it.
func (c *DestinationConfig) queue() sendq.Config {
	return sendq.Config{
		MaxMessageSize: c.MaxMessageSize, Queue: c.Queue, DropWithoutGroup: c.DropWithoutGroup,
		MaxAttempts: c.MaxAttempts, Retry: c.Retry, DeadLetters: c.DeadLetter != nil,
	}
}

// MemberConfig describes a member of a group. Its fields are the options of
// penstock.Runtime.Join.
type MemberConfig struct {
	// Destination and Group to join. Required.
	Destination, Group string
	// ID is penstock.MemberID. Default: a random one.
	ID string
	// Mode and Policy are penstock.InMode and penstock.OnFull. Defaults
	// AtLeastOnce and QueueBlock.
	Mode   messages.Mode
	Policy messages.QueuePolicy
	// KeepFor is penstock.KeepFor: at least 1 s, or Forever. Default
	// DefaultKeepFor.
	KeepFor time.Duration
	// Window is penstock.Window: 1 to LargestWindow. Default DefaultWindow.
	Window int
	// WindowBytes is penstock.WindowBytes. Default DefaultWindowBytes.
	WindowBytes int
	// Concurrency is penstock.Concurrency: 1 to LargestConcurrency. Default 1.
	Concurrency int
	// ReuseBuffers is penstock.ReuseBuffers.
	ReuseBuffers bool
	// AckWait is penstock.AckWait: at least 100 ms, or -1 for no limit. Default
	// DefaultAckWait.
	AckWait time.Duration
}

// EnsureDefaults fills what is zero.
func (c *MemberConfig) EnsureDefaults() {
	c.Mode = cmp.Or(c.Mode, messages.AtLeastOnce)
	c.Policy = cmp.Or(c.Policy, messages.QueueBlock)
	c.KeepFor = cmp.Or(c.KeepFor, DefaultKeepFor)
	c.Window = cmp.Or(c.Window, DefaultWindow)
	c.WindowBytes = cmp.Or(c.WindowBytes, DefaultWindowBytes)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.AckWait = cmp.Or(c.AckWait, DefaultAckWait)
}

// sweepEvery is how often a link looks for deliveries that outlived AckWait.
func (c *MemberConfig) sweepEvery() time.Duration {
	if c.AckWait > 0 {
		return min(time.Second, c.AckWait/4)
	}
	return time.Second
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *MemberConfig) Validate() error {
	var faults faults
	faults.join(keys.ValidateName("destination", c.Destination))
	faults.join(keys.ValidateName("group", c.Group))
	if c.ID != "" {
		faults.join(keys.ValidateName("member", c.ID))
	}
	if !c.Mode.Known() {
		faults.add("mode %q: there are %q and %q", c.Mode, messages.AtLeastOnce, messages.AtMostOnce)
	}
	if !c.Policy.Known() {
		faults.add("queue policy %q: there are %q, %q and %q", c.Policy, messages.QueueBlock, messages.QueueDropOldest, messages.QueueError)
	}
	if c.KeepFor < time.Second && c.KeepFor != messages.Forever {
		faults.add("keep for %s: it must be at least 1s, or Forever", c.KeepFor)
	}
	if c.Window < 1 || c.Window > LargestWindow {
		faults.add("window of %d messages: it must be between 1 and %d", c.Window, LargestWindow)
	}
	if c.WindowBytes < 1 {
		faults.add("window of %d bytes: it must be positive", c.WindowBytes)
	}
	if c.Concurrency < 1 || c.Concurrency > LargestConcurrency {
		faults.add("concurrency %d: it must be between 1 and %d", c.Concurrency, LargestConcurrency)
	}
	if c.AckWait < 100*time.Millisecond && c.AckWait != -1 {
		faults.add("ack wait %s: it must be at least 100ms, or -1 for no limit", c.AckWait)
	}
	return faults.err()
}

func (c *MemberConfig) group() messages.GroupSettings {
	return messages.GroupSettings{Mode: c.Mode, Policy: c.Policy, KeepFor: c.KeepFor}
}

// faults collects everything wrong with a configuration.
type faults []error

func (f *faults) add(format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), messages.ErrInvalid))
}

func (f *faults) join(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

func (f faults) err() error { return errors.Join(f...) }
