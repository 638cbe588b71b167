package actors

// Names of package messages that callers of this package use.

import "github.com/penstock-io/penstock/messages"

// Values of a pipe's group and of handlers: see package messages.
type (
	Mode           = messages.Mode
	QueuePolicy    = messages.QueuePolicy
	QueueLimits    = messages.QueueLimits
	Retry          = messages.Retry
	Handler        = messages.Handler
	RecordHandler  = messages.RecordHandler
	DeadLetter     = messages.DeadLetter
	Parked         = messages.Parked
	AbandonedError = messages.AbandonedError
)

// Rows of the counters: see package messages.
type (
	Stats                = messages.Stats
	PipeStats            = messages.PipeStats
	PipeCounters         = messages.PipeCounters
	MemberStats          = messages.MemberStats
	TopicStats           = messages.TopicStats
	SubscriptionStats    = messages.SubscriptionStats
	SubscriptionCounters = messages.SubscriptionCounters
)

// Modes and queue policies of a group: see package messages.
const (
	AtLeastOnce     = messages.AtLeastOnce
	AtMostOnce      = messages.AtMostOnce
	QueueBlock      = messages.QueueBlock
	QueueDropOldest = messages.QueueDropOldest
	QueueError      = messages.QueueError
	Forever         = messages.Forever
)

// Defaults and limits of a group: see package messages.
const (
	DefaultKeepFor     = messages.DefaultKeepFor
	LargestWindow      = messages.LargestWindow
	LargestConcurrency = messages.LargestConcurrency
)
