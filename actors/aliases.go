package actors

// Names of the packages below that callers of this package use.

import (
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/actors/topics/tables"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/carrier"
)

// What a caller holds, and its settings: see the packages that declare them.
type (
	Destination        = senders.Destination
	Member             = members.Member
	MemberConfig       = members.Config
	DestinationConfig  = senders.Config
	Request            = senders.Request
	Topic              = topics.Topic
	ProducerConfig     = topics.ProducerConfig
	ResetConfig        = topics.ResetConfig
	Schedules          = topics.Schedules
	Table              = tables.Table
	TableConfig        = tables.Config
	Partitioner        = topics.Partitioner
	Subscription       = groups.Subscription
	SubscriptionConfig = groups.Config
	Tx                 = groups.Tx
	LinkCertificates   = carrier.Certificates
	Identity           = carrier.Identity
)

// Defaults and limits: see the packages that declare them.
const (
	DefaultMaxMessageSize = senders.DefaultMaxMessageSize
	DefaultFarAbove       = senders.DefaultFarAbove
	LargestMessageSize    = senders.LargestMessageSize
	DefaultMaxAttempts    = senders.DefaultMaxAttempts
	LargestMaxAttempts    = senders.LargestMaxAttempts
	DefaultMaxDeaths      = senders.DefaultMaxDeaths
	LargestMaxDeaths      = senders.LargestMaxDeaths
	DefaultWindow         = members.DefaultWindow
	DefaultWindowBytes    = members.DefaultWindowBytes
	DefaultAckWait        = members.DefaultAckWait
	DefaultMaxBuffer      = topics.DefaultMaxBuffer
	DefaultMaxTableBytes  = tables.DefaultMaxBytes
	MaxCallbacksWaiting   = topics.MaxCallbacksWaiting
	DefaultMaxFetched     = groups.DefaultMaxFetched
	DefaultCommitEvery    = groups.DefaultCommitEvery
	DefaultRevokeTimeout  = groups.DefaultRevokeTimeout
	MaxCommitsWaiting     = groups.MaxCommitsWaiting
)

// ByKey is topics.ByKey.
func ByKey() Partitioner { return topics.ByKey() }

// Sticky is topics.Sticky.
func Sticky() Partitioner { return topics.Sticky() }

// RoundRobin is topics.RoundRobin.
func RoundRobin() Partitioner { return topics.RoundRobin() }

// Random is topics.Random.
func Random() Partitioner { return topics.Random() }

// Manual is topics.Manual.
func Manual(choose func(m *messages.Message, partitions int) int) Partitioner {
	return topics.Manual(choose)
}
