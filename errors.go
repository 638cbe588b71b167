package penstock

// What goes wrong. The errors are those of package messages, so that errors.Is and
// errors.As find them whichever package they are compared with.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Each error is wrapped with what was being done and to what: compare with
// errors.Is.
var (
	// ErrClosed: the runtime, destination, member, topic handle or subscription
	// ended, or was ended, before the call or while it waited.
	ErrClosed = messages.ErrClosed
	// ErrInvalid: a name, URL, size or option cannot be used; the text says which
	// and why. Nothing was done.
	ErrInvalid = messages.ErrInvalid
	// ErrUnavailable: etcd did not answer in time or has no leader. Nothing is known
	// to have been written; the call can be made again.
	ErrUnavailable = messages.ErrUnavailable
	// ErrDenied: etcd refused the credentials, or the rights on the prefix.
	ErrDenied = messages.ErrDenied
	// ErrInsecure: two runtimes have no link that both may use, because one of them
	// requires TLS or has no certificates.
	ErrInsecure = messages.ErrInsecure
	// ErrTooLarge: a message is over the destination's MaxMessageSize or has more
	// than 16,384 headers, or a record is over the topic's MaxRecordBytes.
	ErrTooLarge = messages.ErrTooLarge
	// ErrGroupFull: a group has no room, and its policy is QueueError or the call does
	// not wait: no group gets the message. Or what a topic's handle puts is more than its buffer holds.
	ErrGroupFull = messages.ErrGroupFull
	// ErrDropped: of a message of SendAsync: a full group with the policy
	// QueueDropOldest gave it up, or there was no group (DropWithoutGroup).
	ErrDropped = messages.ErrDropped
	// ErrDeadLettered: of a message of SendAsync: a group gave up handling it, and it
	// was given to the DeadLetters function, or rejected where there is none. When a
	// member rejected it, it is ErrReject as well.
	ErrDeadLettered = messages.ErrDeadLettered
	// ErrExpired: of a message of SendAsync: its ExpiresAt passed before a member of the
	// group got it.
	ErrExpired = messages.ErrExpired
	// ErrNoMember: Flush waited for a group that no member is linked to. Its
	// messages stay queued. Or a request found none; then nothing is queued.
	ErrNoMember = messages.ErrNoMember
	// ErrNoReply: a request was handled and acked without a reply.
	ErrNoReply = messages.ErrNoReply
	// ErrNoDestination: neither sender, group nor member stands under that name.
	ErrNoDestination = messages.ErrNoDestination
	// ErrGroupMode: the group exists with another mode or queue policy.
	ErrGroupMode = messages.ErrGroupMode
	// ErrDestinationTaken: the destination is, or was asked to be, for one sender
	// only, and has another.
	ErrDestinationTaken = messages.ErrDestinationTaken
	// ErrTaken: a fixed sender or member id is held by another process that lives,
	// or did not free it in time, or by this runtime: then it is ErrExists as well.
	ErrTaken = messages.ErrTaken
	// ErrExists: this runtime already has that destination or membership.
	ErrExists = messages.ErrExists
	// ErrAddrInUse: no port of the listener's range could be bound.
	ErrAddrInUse = messages.ErrAddrInUse
	// ErrBusy: code of the caller's own is in the way: a loop, a handler or a
	// callback that still runs. The text says which. The call can be made again once
	// that has returned.
	ErrBusy = messages.ErrBusy
	// ErrRestarted: a part of the runtime failed and was restarted while the call
	// waited for its reply. Make the call again. etcd has no part in it.
	ErrRestarted = messages.ErrRestarted
	// ErrCorrupt: bytes from the network or from etcd do not decode.
	ErrCorrupt = messages.ErrCorrupt
	// ErrReject: for a handler to return, wrapped or not. What it got will never be
	// handled: it becomes a dead letter at once, and is not tried again.
	ErrReject = messages.ErrReject

	// Topics.

	// ErrNoTopic: there is no topic of that name.
	ErrNoTopic = messages.ErrNoTopic
	// ErrTopicExists: CreateTopic found a topic of that name.
	ErrTopicExists = messages.ErrTopicExists
	// ErrNotDelayed: no record waits with its place at that offset: it was delivered or
	// cancelled, or it never was to be delivered later.
	ErrNotDelayed = messages.ErrNotDelayed
	// ErrTopicFull: the partition has as many bytes or records as the topic's limits
	// allow, and its Discard is DiscardNew. The record was not written. There is room
	// when records are deleted or the limits raised.
	ErrTopicFull = messages.ErrTopicFull
	// ErrTopicDeleted: the topic of this handle was deleted. A later one of the same
	// name is another topic: open it.
	ErrTopicDeleted = messages.ErrTopicDeleted
	// ErrNoSchedule: there is no schedule of that name.
	ErrNoSchedule = messages.ErrNoSchedule
	// ErrNoPartition: the topic has no partition of that number.
	ErrNoPartition = messages.ErrNoPartition
	// ErrUnknownOutcome: whether a record was written is not known, and it may yet
	// be. Putting it again may double it.
	ErrUnknownOutcome = messages.ErrUnknownOutcome
	// ErrNoSpace: etcd is over its quota and refuses writes, or nearly so and puts are
	// refused before it does: then it is a *QuotaError. Reads work. Nothing was written.
	ErrNoSpace = messages.ErrNoSpace
	// ErrFenced: the partition is no longer this consumer's: another one claimed it,
	// or the session was lost. What it does about the partition from then on is
	// refused.
	ErrFenced = messages.ErrFenced
	// ErrGroupLive: the group has members, so a topic's group keeps its offsets, and
	// a destination's is not deleted.
	ErrGroupLive = messages.ErrGroupLive
	// ErrNoGroup: the topic or destination has no group of that name, or TrySend found
	// none to send to.
	ErrNoGroup = messages.ErrNoGroup
	// ErrOffsetOutOfRange: the offset is negative or beyond the end of the partition
	// or, in a commit, of no record that was handed out.
	ErrOffsetOutOfRange = messages.ErrOffsetOutOfRange
	// ErrLogRolledBack: the log is shorter than what was read from it, or has other
	// records there: etcd was restored from a backup, or replaced.
	ErrLogRolledBack = messages.ErrLogRolledBack
	// ErrCondition: a comparison of Tx.If does not hold. Nothing was written.
	ErrCondition = messages.ErrCondition
	// ErrConflict: the partition does not end where PutIf expects it to. Nothing was
	// written. As a *ConflictError it says where the partition ends.
	ErrConflict = messages.ErrConflict
	// ErrNoRecord: the topic has no record of that key, or the newest is a tombstone or
	// has expired.
	ErrNoRecord = messages.ErrNoRecord
	// ErrTableFull: the newest records of all keys take more memory than the table may
	// have. As a *TableFullError it says how much.
	ErrTableFull = messages.ErrTableFull
)

// ConflictError says where a partition ends in place of where PutIf expects it to.
//
//	type ConflictError struct {
//		Topic     string
//		Partition int
//		Expected  int64 // the end that was asked for
//		End       int64 // the end that there was
//	}
//
//	func (e *ConflictError) Error() string
//	func (e *ConflictError) Unwrap() error // ErrConflict
//
// Use errors.As with a *ConflictError.
type ConflictError = messages.ConflictError

// RetryAfter is an error for a handler to return: what it got is tried again after d,
// instead of a delay that grows with each attempt. It counts as an attempt. d is at most
// 24 h; a negative one is zero, which is at once. err, which may be nil, is what it wraps,
// and its text.
func RetryAfter(d time.Duration, err error) error { return messages.RetryAfter(d, err) }

// AbandonedError says what a drain gave up: Flush, Unregister and Stop return it.
//
//	type AbandonedError struct {
//		Messages int    // accepted and not acked
//		Where    string // the destination or group
//		Err      error  // why the drain did not wait longer, or nil
//	}
//
//	func (e *AbandonedError) Error() string
//	func (e *AbandonedError) Unwrap() error // Err
//
// Use errors.As with a *AbandonedError.
type AbandonedError = messages.AbandonedError

// QuotaError says that a put was refused before etcd saw it, because etcd is nearly at its
// quota. At the quota etcd would take no registration and no lease either, until a person
// acts. The record is not in the topic; put it again once there is room.
//
//	type QuotaError struct {
//		InUse int64 // bytes that keys and their history take of etcd's database
//		Size  int64 // that the database has taken of its file
//		Quota int64 // that Size may not reach
//	}
//
//	func (e *QuotaError) Error() string
//	func (e *QuotaError) Unwrap() error // ErrNoSpace
//
// Use errors.As with a *QuotaError.
type QuotaError = messages.QuotaError

// LimitError says that a request is more than this etcd, or its client as it is
// configured, allows. The same request will be refused again; a smaller one may not.
//
//	type LimitError struct {
//		Limit Limit
//		Err   error // of etcd's client
//	}
//
//	func (e *LimitError) Error() string   // which limit, and where it is set
//	func (e *LimitError) Unwrap() []error // ErrTooLarge and Err
//
// Use errors.As with a *LimitError.
type LimitError = messages.LimitError

// Limit is what of a request to etcd is too much: LimitRequest, LimitOps or
// LimitResponse.
type Limit = messages.Limit

// The limits of a request.
const (
	// LimitRequest: etcd or its client takes no request that large
	// (--max-request-bytes, MaxCallSendMsgSize). It was not applied.
	LimitRequest = messages.LimitRequest
	// LimitOps: etcd takes no transaction of so many operations (--max-txn-ops). It
	// was not applied.
	LimitOps = messages.LimitOps
	// LimitResponse: the client takes no response that large (MaxCallRecvMsgSize).
	// What was asked for was done.
	LimitResponse = messages.LimitResponse
)
