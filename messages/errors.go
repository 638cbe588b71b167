package messages

// What can go wrong, and what a drain gave up.

import (
	"errors"
	"fmt"
)

// The sentinels below are always wrapped with what was being done and to what,
// so compare with errors.Is.
var (
	// ErrClosed: the runtime, destination, member, topic handle or subscription
	// ended, or was ended, before the call or while it waited.
	ErrClosed = errors.New("closed")
	// ErrInvalid: a name, URL, size or option cannot be used; the text says which
	// and why. Nothing was done.
	ErrInvalid = errors.New("invalid argument")
	// ErrUnavailable: etcd did not answer in time or has no leader. Nothing is known
	// to have been written; the call can be made again.
	ErrUnavailable = errors.New("etcd unavailable")
	// ErrDenied: etcd refused the credentials, or the rights on the prefix.
	ErrDenied = errors.New("permission denied by etcd")
	// ErrInsecure: two runtimes have no link that both may use, because one of them
	// requires TLS or has no certificates.
	ErrInsecure = errors.New("no link that is secure enough")
	// ErrTooLarge: a message is over the destination's MaxMessageSize or has more
	// than 16,384 headers, or a record is over the topic's MaxRecordBytes.
	ErrTooLarge = errors.New("message too large")
	// ErrGroupFull: a group has no room, and its policy is QueueError or the call does
	// not wait: no group gets the message. Or what a topic's handle puts is more than its buffer holds.
	ErrGroupFull = errors.New("group is full")
	// ErrDropped: of a message of SendAsync: a full group with the policy
	// QueueDropOldest gave it up, or there was no group (DropWithoutGroup).
	ErrDropped = errors.New("dropped")
	// ErrDeadLettered: of a message of SendAsync: a group gave up handling it, and it
	// was given to the DeadLetters function, or rejected where there is none. When a
	// member rejected it, it is ErrReject as well.
	ErrDeadLettered = errors.New("dead letter")
	// ErrExpired: of a message of SendAsync: its ExpiresAt passed before a member of the
	// group got it.
	ErrExpired = errors.New("expired")
	// ErrNoMember: Flush waited for a group that no member is linked to. Its
	// messages stay queued. Or a request found none; then nothing is queued.
	ErrNoMember = errors.New("no member is linked")
	// ErrNoReply: a request was handled and acked without a reply.
	ErrNoReply = errors.New("no reply")
	// ErrNoDestination: neither sender, group nor member stands under that name.
	ErrNoDestination = errors.New("no such destination")
	// ErrGroupMode: the group exists with another mode or queue policy.
	ErrGroupMode = errors.New("group exists with other settings")
	// ErrDestinationTaken: the destination is, or was asked to be, for one sender
	// only, and has another.
	ErrDestinationTaken = errors.New("destination has another sender")
	// ErrTaken: a fixed sender or member id is held by another process that lives,
	// or did not free it in time, or by this runtime: then it is ErrExists as well.
	ErrTaken = errors.New("id is taken")
	// ErrExists: this runtime already has that destination or membership.
	ErrExists = errors.New("already exists in this runtime")
	// ErrAddrInUse: no port of the listener's range could be bound.
	ErrAddrInUse = errors.New("address in use")
	// ErrBusy: code of the caller's own is in the way: a loop, a handler or a
	// callback that still runs. The text says which. The call can be made again once
	// that has returned.
	ErrBusy = errors.New("busy")
	// ErrRestarted: a part of the runtime failed and was restarted while the call
	// waited for its reply. Make the call again. etcd has no part in it.
	ErrRestarted = errors.New("restarted meanwhile, try again")
	// ErrCorrupt: bytes from the network or from etcd do not decode.
	ErrCorrupt = errors.New("corrupt")
	// ErrReject: for a handler to return, wrapped or not. What it got will never be
	// handled: it becomes a dead letter at once, and is not tried again.
	ErrReject = errors.New("rejected")

	// Topics.

	// ErrNoTopic: there is no topic of that name.
	ErrNoTopic = errors.New("no such topic")
	// ErrTopicExists: CreateTopic found a topic of that name.
	ErrTopicExists = errors.New("topic exists")
	// ErrTopicDeleted: the topic of this handle was deleted. A later one of the same
	// name is another topic: open it.
	ErrTopicDeleted = errors.New("topic was deleted")
	// ErrNoSchedule: there is no schedule of that name.
	ErrNoSchedule = errors.New("no such schedule")
	// ErrNoPartition: the topic has no partition of that number.
	ErrNoPartition = errors.New("no such partition")
	// ErrUnknownOutcome: whether a record was written is not known, and it may yet
	// be. Putting it again may double it.
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrNoSpace: etcd is over its quota and refuses writes, or nearly so and puts are
	// refused before it does: then it is a *QuotaError. Reads work. Nothing was written.
	ErrNoSpace = errors.New("etcd is full")
	// ErrNotDelayed: no record waits with its place at that offset: it was delivered or
	// cancelled, or it never was to be delivered later.
	ErrNotDelayed = errors.New("no record waits there")
	// ErrTopicFull: the partition has as many bytes or records as the topic's limits
	// allow, and its Discard is DiscardNew. The record was not written. There is room
	// when records are deleted or the limits raised.
	ErrTopicFull = errors.New("topic is full")
	// ErrFenced: the partition is no longer this consumer's: another one claimed it,
	// or the session was lost. What it does about the partition from then on is
	// refused.
	ErrFenced = errors.New("fenced")
	// ErrGroupLive: the group has members, so a topic's group keeps its offsets, and
	// a destination's is not deleted.
	ErrGroupLive = errors.New("group has members")
	// ErrNoGroup: the topic or destination has no group of that name, or TrySend found
	// none to send to.
	ErrNoGroup = errors.New("no such group")
	// ErrOffsetOutOfRange: the offset is negative or beyond the end of the partition
	// or, in a commit, of no record that was handed out.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrLogRolledBack: the log is shorter than what was read from it, or has other
	// records there: etcd was restored from a backup, or replaced.
	ErrLogRolledBack = errors.New("log was rolled back")
	// ErrCondition: a comparison of Tx.If does not hold. Nothing was written.
	ErrCondition = errors.New("a condition of the transaction does not hold")
	// ErrConflict: the partition does not end where PutIf expects it to. Nothing was
	// written. As a *ConflictError it says where the partition ends.
	ErrConflict = errors.New("conflict")
	// ErrNoRecord: the topic has no record of that key, or the newest is a tombstone or
	// has expired.
	ErrNoRecord = errors.New("no record of that key")
	// ErrTableFull: the newest records of all keys take more memory than the table may
	// have. As a *TableFullError it says how much.
	ErrTableFull = errors.New("table is full")
)

// TableFullError says that a table was given up because it takes more memory than it may
// have. It wraps ErrTableFull.
type TableFullError struct {
	Topic string
	Keys  int
	Bytes int64 // that it has taken, about
	Limit int64 // that it may take, see MaxTableBytes
}

// Error says how much it would take, and what to do.
func (e *TableFullError) Error() string {
	return fmt.Sprintf("table of %q: %v: %d keys take %d MiB and it may have %d MiB; raise MaxTableBytes, or read fewer keys with KeyPrefix",
		e.Topic, ErrTableFull, e.Keys, e.Bytes>>20, e.Limit>>20)
}

// Unwrap is ErrTableFull.
func (e *TableFullError) Unwrap() error { return ErrTableFull }

// ConflictError says where a partition ends in place of where PutIf expects it to. It
// wraps ErrConflict.
type ConflictError struct {
	Topic     string
	Partition int
	Expected  int64 // the end that was asked for
	End       int64 // the end that there was
}

// Error says where both ends are.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("topic %q, partition %d ends at %d, not at %d: %v", e.Topic, e.Partition, e.End, e.Expected, ErrConflict)
}

// Unwrap is ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// AbandonedError says what a drain gave up.
type AbandonedError struct {
	Messages int    // accepted and not acked
	Where    string // the destination or group
	Err      error  // why it did not wait longer, or nil
}

func (e *AbandonedError) Error() string {
	s := fmt.Sprintf("abandoned %d messages of %s", e.Messages, e.Where)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is why the drain did not wait longer.
func (e *AbandonedError) Unwrap() error { return e.Err }

// QuotaError says that a record was refused before etcd saw it, because etcd is nearly at
// its quota: at the quota itself etcd would take no registration and no lease either. It
// wraps ErrNoSpace.
type QuotaError struct {
	// InUse is what keys and their history take of etcd's database, Size what the
	// database has taken of its file, and Quota what that may not reach, in bytes.
	InUse, Size, Quota int64
}

// Error says how full etcd is, and what makes room.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("%v, nearly: %d MiB are in use and the file has %d MiB, of a quota of %d MiB; delete topics or records, compact etcd's history, defragment, or raise the quota",
		ErrNoSpace, e.InUse>>20, e.Size>>20, e.Quota>>20)
}

// Unwrap is ErrNoSpace.
func (e *QuotaError) Unwrap() error { return ErrNoSpace }

// Limit is what of a request to etcd is too much.
type Limit string

// The limits of a request.
const (
	// LimitRequest: etcd or its client takes no request that large
	// (--max-request-bytes, MaxCallSendMsgSize). It was not applied.
	LimitRequest Limit = "request"
	// LimitOps: etcd takes no transaction of so many operations
	// (--max-txn-ops). It was not applied.
	LimitOps Limit = "operations"
	// LimitResponse: the client takes no response that large (MaxCallRecvMsgSize).
	// What was asked for was done.
	LimitResponse Limit = "response"
)

// LimitError says that a request is more than this etcd, or its client as it is
// configured, allows. The same request will be refused again; a smaller one may
// not. It wraps ErrTooLarge and the error of etcd's client.
type LimitError struct {
	Limit Limit
	Err   error
}

// Error says which limit, and where it is set.
func (e *LimitError) Error() string {
	what := map[Limit]string{
		LimitRequest:  "the request is larger than etcd's --max-request-bytes or the client's MaxCallSendMsgSize allows",
		LimitOps:      "the transaction has more operations than etcd's --max-txn-ops allows",
		LimitResponse: "the response is larger than the client's MaxCallRecvMsgSize allows",
	}[e.Limit]
	return what + ": " + e.Err.Error()
}

// Unwrap is ErrTooLarge, and the error of etcd's client.
func (e *LimitError) Unwrap() []error { return []error{ErrTooLarge, e.Err} }
