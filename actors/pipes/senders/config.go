package senders

// The settings of a sender. Validate names every fault at once.

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// Defaults and limits of a sender.
const (
	DefaultMaxMessageSize = 4 << 20
	LargestMessageSize    = frame.LargestMessage // 64 MiB
	DefaultMaxAttempts    = 16
	LargestMaxAttempts    = 1<<16 - 2
	DefaultMaxDeaths      = 16
	LargestMaxDeaths      = 1<<16 - 2
	DefaultFarAbove       = 1000 // of the command penstock: PreferZone is given one
)

// Config describes a sender. Its fields are the options of
// penstock.Runtime.Register.
type Config struct {
	// Name of the destination. Required.
	Name string
	// ID is penstock.SenderID. Default: a random one.
	ID string
	// Listen is penstock.ListenOn: URLs with spaces in between. Default: that of the engine.
	Listen string
	// PreferZone is penstock.PreferZone, and FarAbove its number, which is not negative.
	PreferZone bool
	FarAbove   int
	// Plain is penstock.PlainListen: URLs with spaces in between; none without. PlainPolicy
	// and PlainKeepFor are penstock.PlainOnFull and PlainKeepFor. Defaults QueueDropOldest
	// and messages.DefaultKeepFor.
	Plain        string
	PlainPolicy  messages.QueuePolicy
	PlainKeepFor time.Duration
	// SoleSender is penstock.SoleSender.
	SoleSender bool
	// MaxMessageSize is penstock.MaxMessageSize, in bytes as messages.PayloadSize
	// counts them: 1 to LargestMessageSize. Default DefaultMaxMessageSize.
	MaxMessageSize int
	// Queue is penstock.MaxQueue.
	Queue messages.QueueLimits
	// Policy is penstock.OnFull. Default: that of each group.
	Policy messages.QueuePolicy
	// DropWithoutGroup is penstock.DropWithoutGroup.
	DropWithoutGroup bool
	// Require is penstock.RequireGroups. Not with DropWithoutGroup.
	Require []string
	// MaxAttempts is penstock.MaxAttempts: up to LargestMaxAttempts, or -1 for no
	// limit. Default DefaultMaxAttempts.
	MaxAttempts int
	// MaxDeaths is penstock.MaxDeaths: up to LargestMaxDeaths, or -1 for no limit.
	// Default DefaultMaxDeaths.
	MaxDeaths int
	// Retry is penstock.RetryDelay, with a factor of the caller's.
	Retry messages.Retry
	// DeadLetter is penstock.DeadLetters.
	DeadLetter func(context.Context, messages.DeadLetter) error
	// Expired is penstock.OnExpired.
	Expired func(context.Context, messages.ExpiredMessage)
	// Lends: it is a destination of keys.Loans, which the runtime uses itself. Who lends a
	// message decides what becomes of it.
	Lends bool
	// Use is penstock.UseSend.
	Use []func(next messages.Send) messages.Send
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	c.MaxMessageSize = cmp.Or(c.MaxMessageSize, DefaultMaxMessageSize)
	c.Queue.Messages = cmp.Or(c.Queue.Messages, 65536)
	c.Queue.Bytes = cmp.Or(c.Queue.Bytes, max(64<<20, sendq.Memory(frame.LargestRecord(c.MaxMessageSize))))
	c.MaxAttempts = cmp.Or(c.MaxAttempts, DefaultMaxAttempts)
	c.MaxDeaths = cmp.Or(c.MaxDeaths, DefaultMaxDeaths)
	c.PlainPolicy = cmp.Or(c.PlainPolicy, messages.QueueDropOldest)
	c.PlainKeepFor = cmp.Or(c.PlainKeepFor, messages.DefaultKeepFor)
	c.Retry.EnsureDefaults()
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *Config) Validate() error {
	var faults node.Faults
	faults.Join(keys.ValidateDestination(c.Name, c.Lends))
	if c.ID != "" {
		faults.Join(keys.ValidateName("sender", c.ID))
	}
	if c.Listen != "" {
		_, err := address.ParseAll(c.Listen)
		faults.Join(err)
	}
	if c.Plain != "" {
		_, err := nanomsg.ParseAll(c.Plain)
		faults.Join(err)
	}
	if !c.PlainPolicy.Known() {
		faults.Add("queue policy %q of plain peers: there are %q, %q and %q", c.PlainPolicy, messages.QueueBlock, messages.QueueDropOldest, messages.QueueError)
	}
	if c.PlainKeepFor < time.Second && c.PlainKeepFor != messages.Forever {
		faults.Add("plain peers are kept for %s: it must be at least 1s, or Forever", c.PlainKeepFor)
	}
	if c.MaxMessageSize < 1 || c.MaxMessageSize > LargestMessageSize {
		faults.Add("maximum message size %d: it must be between 1 and %d bytes", c.MaxMessageSize, LargestMessageSize)
	}
	if c.Queue.Messages < 1 {
		faults.Add("queue of %d messages: it must hold at least 1", c.Queue.Messages)
	}
	if least := sendq.Memory(frame.LargestRecord(c.MaxMessageSize)); c.MaxMessageSize > 0 && c.Queue.Bytes < least {
		faults.Add("queue of %d bytes: to hold one message of the maximum size, %d, it takes %d", c.Queue.Bytes, c.MaxMessageSize, least)
	}
	if c.Policy != "" && !c.Policy.Known() {
		faults.Add("queue policy %q: there are %q, %q and %q", c.Policy, messages.QueueBlock, messages.QueueDropOldest, messages.QueueError)
	}
	if c.FarAbove < 0 {
		faults.Add("other zones above %d messages that wait: it cannot be negative", c.FarAbove)
	}
	if c.MaxAttempts < -1 || c.MaxAttempts > LargestMaxAttempts {
		faults.Add("%d attempts: give a number up to %d, or -1 for no limit", c.MaxAttempts, LargestMaxAttempts)
	}
	if c.MaxDeaths < -1 || c.MaxDeaths > LargestMaxDeaths {
		faults.Add("%d deaths: give a number up to %d, or -1 for no limit", c.MaxDeaths, LargestMaxDeaths)
	}
	for _, group := range c.Require {
		faults.Join(keys.ValidateName("group", group))
	}
	if c.DropWithoutGroup && len(c.Require) > 0 {
		faults.Add("required groups and messages that are dropped without a group: choose one of both")
	}
	faults.Join(c.Retry.Validate())
	faults.Join(chain.Check(c.Use))
	return faults.Err()
}

// queue is what the data path of a runtime in zone needs of it.
func (c *Config) queue(zone string) sendq.Config {
	if !c.PreferZone {
		zone = ""
	}
	return sendq.Config{
		Zone: zone, FarAbove: c.FarAbove,
		MaxMessageSize: c.MaxMessageSize, Queue: c.Queue, Policy: c.Policy, DropWithoutGroup: c.DropWithoutGroup,
		Require:     slices.Compact(slices.Sorted(slices.Values(c.Require))),
		MaxAttempts: c.MaxAttempts, MaxDeaths: c.MaxDeaths, Retry: c.Retry, DeadLetters: c.DeadLetter != nil,
		Lends: c.Lends,
	}
}
