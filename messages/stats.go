package messages

// The rows of a runtime's counters.

import (
	"fmt"
	"time"
)

// Stats is a snapshot of an engine's counters.
type Stats struct {
	Pipes   []PipeStats
	Members []MemberStats
	// Topics are those in use here, Subscriptions this engine's.
	Topics        []TopicStats
	Subscriptions []SubscriptionStats
	// Tables are those of topics that are kept here, those behind Latest too.
	Tables []TableStats
	// Etcd is how full etcd is, and what puts had to bear for it.
	Etcd EtcdStats
	// Keeper is what this runtime did as the keeper of topics.
	Keeper KeeperStats
	// Registry is how the keys of this engine in etcd fare.
	Registry RegistryStats
	Events   map[string]uint64 // how often each event happened, by name
}

// PipeStats is what one destination did for one group. What was dropped because
// the destination had no group is a row without a group's name.
type PipeStats struct {
	Destination, Group string
	PipeCounters
	Pending      int // accepted and not acked
	PendingBytes int
	Links        int
	Policy       QueuePolicy // what the full group does to Send; empty without a group
	PipeOrder
}

// PipeOrder is how a group stands that keeps an order; zero of other groups.
type PipeOrder struct {
	// Active is the member that gets everything, of a group that is Failover.
	Active string
	// Keys are those of which a message is not settled, BlockedKeys those of them of which
	// messages wait because one before is in flight, waits for its next try, or was in the
	// hands of a member that is gone. Blocked is how many messages wait so; of a group that
	// is Failover, how many wait for one that has to be tried again.
	Keys, BlockedKeys, Blocked int
	// Blockers are some of these keys, those with most messages first.
	Blockers []BlockedKey
}

// BlockedKey is a key of which messages wait for one before.
type BlockedKey struct {
	Key     []byte
	Waiting int
	// Member has the one before in flight; empty when that waits for its next try.
	Member string
}

// String says how many messages wait for whom.
func (k BlockedKey) String() string {
	if k.Member == "" {
		return fmt.Sprintf("%d of %.40q for the next try of the one before", k.Waiting, k.Key)
	}
	return fmt.Sprintf("%d of %.40q for member %s", k.Waiting, k.Key, k.Member)
}

// PipeCounters counts what became of one group's messages, since the pipe
// began.
type PipeCounters struct {
	Accepted     uint64 // messages that Send accepted
	Sent         uint64 // handed to a link, again or for the first time
	Acked        uint64
	Nacked       uint64
	Redelivered  uint64 // put back after a nack or a dead link
	Released     uint64 // of them, given back by a member that did not try
	Died         uint64 // of them, in hand when a link died or AckWait expired
	Rejected     uint64 // will never be handled, as a member said
	Dropped      uint64 // by policy, or with the pipe
	DeadLettered uint64
	Expired      uint64 // not handed out before their ExpiresAt
	LateReplies  uint64 // replies that no request waits for; they are dropped
	Far          uint64 // of Sent, to members outside the zone that is preferred
}

// OldestMessage is how old the oldest message of a group is that is not settled: since
// a sender has accepted it, or a member has got it.
type OldestMessage struct {
	Destination, Group string
	Age                time.Duration
}

// MemberStats is what one member did.
type MemberStats struct {
	Destination, Group, Member string
	Delivered                  uint64 // handed out
	Waiting                    int    // came and not handed out
	Expired                    uint64 // came, and were not handed out before their ExpiresAt
	Links                      int
}

// TopicStats is what this process put into one topic.
type TopicStats struct {
	Topic   string
	Records uint64 // that puts accepted
	Bytes   uint64 // of these, encoded
	Appends uint64 // batches committed
	// Committed records are in etcd; Failed ones returned an error.
	Committed, Failed uint64
	// Duplicates were accepted and not put: the topic had their ids.
	Duplicates uint64
	// Delayed are those of the committed that wait until their DeliverAt, or did.
	Delayed     uint64
	QueuedBytes int64 // accepted and neither committed nor failed
}

// SubscriptionStats is what one subscription did.
type SubscriptionStats struct {
	Topic, Group, Member string
	SubscriptionCounters
	Partitions   int // owned
	FetchedBytes int // read ahead
	Lent         int // records of its partitions that members of a shared group have
	// Lag counts the records of its partitions that it has not committed, as far as this
	// runtime knows the ends; LagAge is the age of the oldest of them.
	Lag    int64
	LagAge time.Duration
}

// SubscriptionCounters count since the subscription began.
type SubscriptionCounters struct {
	Finished     uint64 // records handled, or skipped by the user's own doing
	Failed       uint64 // failed handlings
	DeadLettered uint64
	Rejected     uint64 // records passed over, for want of a dead-letter handler
	Expired      uint64 // records passed over after their ExpiresAt; they count as finished
	Commits      uint64 // offsets written, one for each partition
	Lost         uint64 // partitions that were fenced away
	Died         uint64 // times that a member of a shared group may have died over a record of ours
}

// EtcdStats says how full etcd was when this runtime looked last, in bytes, which it does
// while it puts records: what is in use of its database, what that has taken of its file,
// and the quota. All are 0 before the first look. Slowed and Refused count appends that
// had to wait, or were refused, because etcd is near its quota.
type EtcdStats struct {
	InUse, Size, Quota int64
	Slowed, Refused    uint64
}

// RegistryStats counts the keys of a runtime in etcd, and what etcd refuses.
type RegistryStats struct {
	Keys     int    // that it keeps
	Troubled int    // of those, what etcd refuses to have put right
	Refusals uint64 // of single keys by etcd
	Delays   uint64 // how often it had to wait for etcd
}

// KeeperStats counts what a runtime did as the keeper, which looks after topics.
type KeeperStats struct {
	Keeping bool   // it is the keeper now
	Terms   uint64 // how often it became the keeper
	// Trimmed batches were deleted because of a topic's limits, with their records, and
	// their bytes in etcd.
	TrimmedBatches, TrimmedRecords, TrimmedBytes uint64
	SweptKeys                                    uint64 // of trimmed batches, deleted later
	ExpiredRecords                               uint64 // erased after their ExpiresAt, from batches that stay
	Compactions                                  uint64 // of etcd's history
	Delivered                                    uint64 // records that were put with a DeliverAt
	// CompactionPasses are those over partitions of topics that are compacted by key. They
	// rewrote so many batches, without records that newer ones supersede, and without
	// tombstones and expired records that were due; CompactedBytes is how many bytes less
	// they take in etcd.
	CompactionPasses, RewrittenBatches, SupersededRecords, RemovedTombstones, CompactedBytes uint64
	// Ticks of schedules: Fired have put their record, Missed were given up because no keeper
	// was there, Failed could not put it.
	TicksFired, TicksMissed, TicksFailed uint64
}

// Tables of topics.

// TableState is how fresh a table is.
type TableState string

// The states of a table.
const (
	// TableLoading: it reads its topic for the first time.
	TableLoading TableState = "loading"
	// TableFollowing: it hears of what is put and deleted.
	TableFollowing TableState = "following"
	// TableReloading: it reads its topic again, and has what it had meanwhile.
	TableReloading TableState = "reloading"
	// TableStale: etcd does not respond. It has what it had, which may be old.
	TableStale TableState = "stale"
	// TableEnded: it has what it had at its end.
	TableEnded TableState = "ended"
)

// TableChange is what became of one key of a table.
type TableChange struct {
	Key string
	// Old is the record before, nil when the table had none.
	Old *Record
	// New is the record from now on, nil when the table has none any more.
	New *Record
	// Initial says that the table had it when the loop began.
	Initial bool
}

// TableStats is what a table of a topic has.
type TableStats struct {
	Topic string
	State TableState
	Keys  int
	Bytes int64 // of memory, about
	// Lag counts the records of the topic that it has not read, as far as this runtime
	// knows the ends.
	Lag     int64
	Records uint64 // read since it began
	Keyless uint64 // of these, passed over because they have no key
	Loads   uint64 // how often it has read its topic as a whole
}
