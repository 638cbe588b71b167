package messages

// What every party of a group agrees on, how a consumer group is described, and the pause
// of a whole group, as it is in etcd.

import (
	"fmt"
	"time"

	"github.com/penstock-io/penstock/messages/pb"
)

// Forever as KeepFor keeps a group without members until somebody removes it,
// with DeleteGroup.
const Forever time.Duration = -1

// Defaults and limits of a group and of its members.
const (
	DefaultKeepFor     = time.Minute
	DefaultTokenGrace  = time.Minute
	LargestWindow      = 1 << 20
	LargestConcurrency = 1 << 16
)

// PlainGroup is the name in counters and events of what the stock nanomsg peers of a
// destination's plain listener get: they are a group, of which no member can be.
const PlainGroup = "~plain"

// Mode says what a group promises.
type Mode string

// The modes that a group can have.
const (
	// AtLeastOnce: what a member has not acked goes to another when it fails.
	AtLeastOnce Mode = "at-least-once"
	// AtMostOnce: a message counts as handled when it is written to the link.
	AtMostOnce Mode = "at-most-once"
	// Failover is AtLeastOnce where one member at a time gets all messages of a sender, in
	// their order.
	Failover Mode = "failover"
	// KeyAffinity is AtLeastOnce where one member at a time gets the messages of a key of a
	// sender, in their order.
	KeyAffinity Mode = "key-affinity"
)

// Modes are all that a group can have.
var Modes = []Mode{AtLeastOnce, AtMostOnce, Failover, KeyAffinity}

// Ordered reports whether a group of mode m keeps an order while members come, go and
// fail.
func (m Mode) Ordered() bool { return m == Failover || m == KeyAffinity }

var modes = map[Mode]pb.Mode{
	AtLeastOnce: pb.Mode_AT_LEAST_ONCE,
	AtMostOnce:  pb.Mode_AT_MOST_ONCE,
	Failover:    pb.Mode_FAILOVER,
	KeyAffinity: pb.Mode_KEY_AFFINITY,
}

// QueuePolicy says what a full group does to Send.
type QueuePolicy string

// The policies that a group can have.
const (
	// QueueBlock holds Send until there is room or its context ends.
	QueueBlock QueuePolicy = "block"
	// QueueDropOldest never holds Send: the oldest message that waits for a
	// link goes; when none does, the new one is dropped.
	QueueDropOldest QueuePolicy = "drop-oldest"
	// QueueError refuses the message for every group, with ErrGroupFull.
	QueueError QueuePolicy = "error"
)

// Known reports whether m is a mode that a group can have.
func (m Mode) Known() bool {
	_, ok := modes[m]
	return ok
}

var policies = map[QueuePolicy]pb.QueuePolicy{
	QueueBlock:      pb.QueuePolicy_BLOCK,
	QueueDropOldest: pb.QueuePolicy_DROP_OLDEST,
	QueueError:      pb.QueuePolicy_ERROR,
}

// Known reports whether p is a policy that a group can have.
func (p QueuePolicy) Known() bool {
	_, ok := policies[p]
	return ok
}

// QueueLimits bound what is accepted and not settled, for each group of a
// destination.
type QueueLimits struct {
	Messages int // 65,536 when zero
	// Bytes of memory, 64 MiB when zero. An eighth more than the largest message
	// takes encoded is the least.
	Bytes int
}

// GroupSettings are what every party of a group agrees on.
type GroupSettings struct {
	Mode    Mode
	Policy  QueuePolicy
	KeepFor time.Duration
}

// Meta is s as etcd keeps it. A Mode or Policy that is unknown becomes none.
func (s GroupSettings) Meta() *pb.GroupMeta {
	return &pb.GroupMeta{Mode: modes[s.Mode], Policy: policies[s.Policy], KeepForMs: KeepForMs(s.KeepFor)}
}

// KeepForMs is KeepFor as etcd and peers get it: in milliseconds, -1 for Forever.
func KeepForMs(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}

// GroupSettingsOf reads what a peer or etcd says of a group. Settings that this
// version does not know are ErrGroupMode.
func GroupSettingsOf(mode pb.Mode, policy pb.QueuePolicy, keepForMs int64) (GroupSettings, error) {
	s := GroupSettings{KeepFor: pb.Milliseconds(keepForMs)}
	if keepForMs < 0 {
		s.KeepFor = Forever
	}
	for name, m := range modes {
		if m == mode {
			s.Mode = name
		}
	}
	for name, p := range policies {
		if p == policy {
			s.Policy = name
		}
	}
	if s.Mode == "" || s.Policy == "" {
		return s, fmt.Errorf("mode %s with policy %s: this version has no such group: %w", mode, policy, ErrGroupMode)
	}
	return s, nil
}

// Agrees reports whether two parties mean the same group. KeepFor may differ:
// the first one's counts.
func (s GroupSettings) Agrees(other GroupSettings) bool {
	return s.Mode == other.Mode && s.Policy == other.Policy
}

// Differ returns nil when both agree, else ErrGroupMode with the settings of both.
func (s GroupSettings) Differ(theirs GroupSettings) error {
	if s.Agrees(theirs) {
		return nil
	}
	return fmt.Errorf("it is %s with queue policy %s, not %s with %s: %w",
		s.Mode, s.Policy, theirs.Mode, theirs.Policy, ErrGroupMode)
}

// GroupInfo is a consumer group of a topic.
type GroupInfo struct {
	Topic, Group string
	// Mode is GroupAutomatic, GroupManual or GroupShared.
	Mode GroupMode
	// Generation counts assignments; 0 before the first and for manual groups.
	Generation int64
	Members    []GroupMember
	Partitions []GroupPartition
	// Lag is the sum over all partitions whose end is known, in records.
	Lag int64
	// PausedUntil is when the group's pause ends, zero for none.
	PausedUntil time.Time
	// Err is nil, or says which keys of the group do not make sense and are
	// passed over; it wraps ErrCorrupt.
	Err error
}

// GroupMode says how a group's partitions find their owners.
type GroupMode string

// The modes of a consumer group. The first subscription decides.
const (
	GroupAutomatic GroupMode = "automatic" // assigned by the oldest member
	GroupManual    GroupMode = "manual"    // named by each member
	GroupShared    GroupMode = "shared"    // as automatic, and owners lend records to the others
)

// GroupMember is one live subscription.
type GroupMember struct {
	ID, Host string
	Since    time.Time
	// Partitions are those assigned to it, or named by it.
	Partitions []int
}

// GroupPartition is where a group is in one partition.
type GroupPartition struct {
	Partition int
	// Start and End are the partition's.
	Start, End int64
	// Committed is the next offset to be handled; -1 when nothing was ever
	// committed, and then everything lags from where the group began, or Start.
	Committed int64
	// Done is how many records behind Committed are finished: those of handlers that run
	// at the same time finish out of their order.
	Done int64
	// Lag is End minus the position, in records, without those that are Done; -1 with an
	// Err.
	Lag int64
	// Owner is the member that has claimed the partition, or empty.
	Owner string
	// Fence is the claim's CreateRevision, or 0.
	Fence int64
	// Err is nil, or why Start, End and Lag are not known.
	Err error
}

// LongestPause is the longest that a group can be paused.
const LongestPause = 10 * 365 * 24 * time.Hour

// PauseSeconds is how long etcd counts for a pause until then, in whole seconds, rounded
// up. ErrInvalid unless that is in the future, and no further than LongestPause.
func PauseSeconds(until, now time.Time) (int64, error) {
	d := until.Sub(now)
	if d <= 0 || d > LongestPause {
		return 0, fmt.Errorf("pause until %s: it must be in the future, within ten years: %w", until.Format(time.RFC3339), ErrInvalid)
	}
	return int64((d + time.Second - 1) / time.Second), nil
}

// PauseValue is what the key of a pause holds: its end, for people. etcd counts.
func PauseValue(until time.Time) string { return until.UTC().Format(time.RFC3339Nano) }

// PauseUntil reads PauseValue. What does not decode is a pause all the same, with an end
// that nobody knows: the zero Time.
func PauseUntil(value []byte) time.Time {
	until, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil {
		return time.Time{}
	}
	return until.UTC()
}
