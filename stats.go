package penstock

// Counters, as Stats returns them and Metrics exports them.

import "github.com/penstock-io/penstock/messages"

// Stats is a snapshot of a runtime's counters. Counts run from its start.
//
//	type Stats struct {
//		Pipes         []PipeStats         // a row for each destination and group that it sends to
//		Members       []MemberStats       // a row for each membership
//		Topics        []TopicStats        // a row for each topic in use
//		Subscriptions []SubscriptionStats // a row for each subscription
//		Tables        []TableStats        // a row for each table, that of Latest too
//		Etcd          EtcdStats           // how full etcd is
//		Keeper        KeeperStats         // what it did as the keeper of topics
//		Registry      RegistryStats       // the state of its keys in etcd
//		Events        map[string]uint64   // how often each event happened, by messages.EventName
//	}
type Stats = messages.Stats

// PipeStats is what one destination of this runtime did for one group. Messages that
// were dropped because there was no group are a row with an empty Group.
//
//	type PipeStats struct {
//		Destination, Group string
//		PipeCounters
//		Pending            int // accepted and not acked
//		PendingBytes       int // of these, encoded
//		Links              int // members linked
//		Policy             QueuePolicy // what the full group does to Send; empty without a group
//		PipeOrder
//	}
type PipeStats = messages.PipeStats

// PipeOrder is how a group stands that keeps an order, Failover or KeyAffinity; zero of
// other groups.
//
//	type PipeOrder struct {
//		Active      string // the member that gets everything, of a group that is Failover
//		Keys        int    // of which a message is not settled, of one that is KeyAffinity
//		BlockedKeys int    // of these, those of which messages wait for one before
//		Blocked     int    // messages that wait so
//		Blockers    []BlockedKey // some of these keys, those with most messages first
//	}
type PipeOrder = messages.PipeOrder

// BlockedKey is a key of which messages wait for one before.
//
//	type BlockedKey struct {
//		Key     []byte
//		Waiting int    // how many
//		Member  string // has the one before in flight; empty when that waits for its next try
//	}
//
//	func (k BlockedKey) String() string // says how many messages wait for whom
type BlockedKey = messages.BlockedKey

// PipeCounters counts the messages of one group since its pipe began.
//
//	type PipeCounters struct {
//		Accepted     uint64 // messages that Send accepted
//		Sent         uint64 // written to a link, each time
//		Acked        uint64
//		Nacked       uint64 // failed handlings
//		Redelivered  uint64 // queued again after a nack or a dead link
//		Released     uint64 // of these, given back by a member that did not try
//		Died         uint64 // of these, in hand when a link died or AckWait expired
//		Rejected     uint64 // will never be handled, as a member said
//		Dropped      uint64 // by the queue policy, or with the pipe
//		DeadLettered uint64 // taken by the DeadLetters function
//		Expired      uint64 // not handed out before their ExpiresAt
//		LateReplies  uint64 // replies that no request waited for; they were dropped
//		Far          uint64 // of Sent, to members of other zones, with PreferZone
//	}
type PipeCounters = messages.PipeCounters

// MemberStats is what one member of this runtime got.
//
//	type MemberStats struct {
//		Destination, Group, Member string
//		Delivered                  uint64 // handed out
//		Waiting                    int    // received and not handed out
//		Expired                    uint64 // received, and not handed out before their ExpiresAt
//		Links                      int    // senders linked
//	}
type MemberStats = messages.MemberStats

// TopicStats is what this runtime put into one topic.
//
//	type TopicStats struct {
//		Topic       string
//		Records     uint64 // that puts accepted
//		Bytes       uint64 // of these, encoded
//		Appends     uint64 // batches committed
//		Committed   uint64 // records that are in etcd
//		Duplicates  uint64 // records that were not put: the topic had their ids
//		Delayed     uint64 // of the committed, that wait until their DeliverAt, or did
//		Failed      uint64 // records whose put returned an error
//		QueuedBytes int64  // accepted, and neither committed nor failed
//	}
type TopicStats = messages.TopicStats

// SubscriptionStats is what one subscription of this runtime did.
//
//	type SubscriptionStats struct {
//		Topic, Group, Member string
//		SubscriptionCounters
//		Partitions           int // owned
//		FetchedBytes         int // read ahead
//		Lent                 int // records of its partitions that members of a shared group have
//		Lag                  int64         // records of its partitions that are not committed
//		LagAge               time.Duration // of the oldest of them: since its batch was written
//	}
type SubscriptionStats = messages.SubscriptionStats

// SubscriptionCounters counts since a subscription began.
//
//	type SubscriptionCounters struct {
//		Finished     uint64 // records handled, or skipped by Seek or Commit
//		Failed       uint64 // failed handlings
//		DeadLettered uint64 // taken by the RecordDeadLetters function
//		Rejected     uint64 // passed over, for want of RecordDeadLetters
//		Expired      uint64 // passed over after their ExpiresAt; they are in Finished too
//		Commits      uint64 // offsets written, one for each partition
//		Lost         uint64 // partitions that another member took away
//		Died         uint64 // times that a member of a shared group may have died over a record of ours
//	}
type SubscriptionCounters = messages.SubscriptionCounters

// EtcdStats says how full etcd was when this runtime looked last, which it does while it
// puts records. All bytes are 0 before the first look.
//
//	type EtcdStats struct {
//		InUse   int64  // bytes that keys and their history take of etcd's database
//		Size    int64  // that the database has taken of its file
//		Quota   int64  // that Size may not reach
//		Slowed  uint64 // appends that had to wait, because etcd is near its quota
//		Refused uint64 // appends that were refused with a QuotaError
//	}
type EtcdStats = messages.EtcdStats

// KeeperStats counts what a runtime did as the keeper, which looks after topics.
//
//	type KeeperStats struct {
//		Keeping        bool   // it is the keeper now
//		Terms          uint64 // how often it became the keeper
//		TrimmedBatches uint64 // deleted because of a topic's limits
//		TrimmedRecords uint64 // in them
//		TrimmedBytes   uint64 // of them in etcd
//		SweptKeys      uint64 // of trimmed batches, deleted later
//		ExpiredRecords uint64 // erased after their ExpiresAt, from batches that stay
//		Compactions    uint64 // of etcd's history
//		Delivered      uint64 // records that were put with a DeliverAt
//
//		CompactionPasses  uint64 // over partitions that are compacted by key
//		RewrittenBatches  uint64 // by them
//		SupersededRecords uint64 // which went because newer ones have their keys
//		RemovedTombstones uint64 // and expired records, which went
//		CompactedBytes    uint64 // by which the batches became smaller
//		TicksFired     uint64 // of schedules: their record was put
//		TicksMissed    uint64 // given up, because no keeper was there
//		TicksFailed    uint64 // their record could not be put
//	}
type KeeperStats = messages.KeeperStats

// RegistryStats counts the keys of a runtime in etcd, and what etcd refuses.
//
//	type RegistryStats struct {
//		Keys     int    // that it keeps
//		Troubled int    // of these, refused by etcd
//		Refusals uint64 // of single keys by etcd
//		Delays   uint64 // how often it had to wait for etcd
//	}
type RegistryStats = messages.RegistryStats
