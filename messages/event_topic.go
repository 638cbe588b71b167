package messages

// Events of topics and their consumer groups.

import "time"

// TopicCreated: this runtime made a topic.
type TopicCreated struct {
	Topic, ID  string
	Partitions int
}

// TopicUpdated: a topic that this runtime uses has other settings from now on.
type TopicUpdated struct {
	Topic      string
	Partitions int
}

// TopicDeleted: a topic that this runtime uses was deleted.
type TopicDeleted struct {
	Topic, ID string
}

// Subscribed: this runtime is a member of a topic's group from now on.
type Subscribed struct {
	Topic, Group, Member string
}

// Unsubscribed: this runtime has left a topic's group.
type Unsubscribed struct {
	Topic, Group, Member string
}

// GroupAssigned: this runtime, with the group's oldest member, gave out its partitions.
type GroupAssigned struct {
	Topic, Group               string
	Generation                 int64
	Members, Partitions, Moved int
}

// PartitionClaimed: a subscription of this runtime owns a partition from now on.
type PartitionClaimed struct {
	Topic, Group  string
	Partition     int
	Offset, Fence int64
}

// PartitionTakenOver: a subscription of this runtime owns a partition whose owner before has
// ended without a release: its process has died, or lost its lease, or was too slow.
type PartitionTakenOver struct {
	Topic, Group string
	Partition    int
	Offset       int64 // the first that is not finished
	// Takeovers is how often in a row that happened without the offset having moved.
	Takeovers int
	// Careful, unless it is 0: the records before that offset are handed out one at a time,
	// because one of them may end the processes.
	Careful int64
}

// PartitionReleased: a subscription of this runtime gave a partition up, with everything before Offset committed.
type PartitionReleased struct {
	Topic, Group string
	Partition    int
	Offset       int64
}

// ReleaseUnasked: a subscription's actor was stopped, so its parent is not asked to finish
// these partitions: what it had not committed is handled again.
type ReleaseUnasked struct {
	Topic, Group string
	Partitions   []int
}

// PartitionLost: a subscription of this runtime was fenced; what it had not committed is handled again by another.
type PartitionLost struct {
	Topic, Group string
	Partition    int
	Fence        int64
	Err          error
}

// ClaimRevoked: this runtime took away the claim of a member that is gone, or that held on to it for too long.
type ClaimRevoked struct {
	Topic, Group string
	Partition    int
	Member, Why  string
}

// MemberBuried: the process of another member has ended though its host answers, so this
// runtime removed the member from its group before its lease ends.
type MemberBuried struct {
	Topic, Group, Member string
}

// ProcessUnwatched: this process cannot be watched by others, because it cannot listen
// where Listen says. When it dies, its leases decide when its partitions move.
type ProcessUnwatched struct {
	Err error
}

// CommitDelayed: etcd does not take a commit, and it is tried again; or
// BeforeRelease failed, and no more is committed than was before; or a commit
// without a callback was refused, of records that were lost or never handed out.
type CommitDelayed struct {
	Topic, Group string
	Err          error
}

// AppendDelayed: etcd does not reply to an append; the same append is tried again.
type AppendDelayed struct {
	Topic     string
	Partition int
	Err       error
}

// PutsSlowed: etcd comes near its quota; from now on appends wait so that it stays below.
// Used bytes of its database are in use, it has taken Size of its file, and Quota is what
// that may not reach.
type PutsSlowed struct{ Used, Size, Quota int64 }

// PutsRefused: etcd is so near its quota that puts are refused with a QuotaError from now
// on.
type PutsRefused struct{ Used, Size, Quota int64 }

// PutsFree: etcd has room again, and appends go at once.
type PutsFree struct{ Used, Size, Quota int64 }

// EtcdAlarmed: etcd has other alarms than before, as seen by a runtime that puts records.
// With NOSPACE, because its file has reached the quota, it refuses everything but reads and
// deletes: nobody can register, join or commit. Alarms do not end by themselves.
type EtcdAlarmed struct {
	// Alarms are those that there are, such as NOSPACE and CORRUPT, with commas between
	// them; empty when the last one has ended.
	Alarms            string
	Used, Size, Quota int64
	Do                string // what a person can do; empty when the last one has ended
}

// EtcdUnwatched: how full etcd is cannot be seen, so puts are not slowed before it is full.
// It is said once.
type EtcdUnwatched struct{ Err error }

// AppendFailed: an append was given up, and its callers got the error.
type AppendFailed struct {
	Topic              string
	Partition, Records int
	Err                error
}

// ReadDelayed: etcd does not reply to a read of a partition; it is tried again.
type ReadDelayed struct {
	Topic     string
	Partition int
	Err       error
}

// BatchCorrupt: a batch does not decode or is missing; reading of the partition stops there.
type BatchCorrupt struct {
	Topic     string
	Partition int
	Offset    int64
	Err       error
}

// LogRolledBack: a partition ends before what was read from it, or has other
// records there; reading stops.
type LogRolledBack struct {
	Topic         string
	Partition     int
	Position, End int64
}

// RecordHandlerStuck: a handler of Consume or ConsumeBatches has worked at one call for
// RevokeTimeout. It is told again each time that has doubled.
type RecordHandlerStuck struct {
	Topic, Group, Member string
	Partition            int
	// Offset is the first one of the call.
	Offset int64
	// Running, Stack and Count are as for HandlerStuck.
	Running time.Duration
	Stack   string
	Count   int
}

// RecordFailed: a handler failed; the record is handed out again after Delay.
type RecordFailed struct {
	Topic, Group string
	Partition    int
	Offset       int64
	Attempt      int
	Delay        time.Duration
	Err          error
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// RecordDeadLettered: a record used up its attempts, or was rejected, and the dead-letter
// handler took it.
type RecordDeadLettered struct {
	Topic, Group string
	Partition    int
	Offset       int64
	Attempts     int
	Deaths       int // how often a process may have ended over it
	// Omitted is what a dead-letter topic had no room for, as DeadRecord.Omitted.
	Omitted string
	Err     error
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// DeadLettersRepeated: a member of this runtime pauses its group, because so many records in
// a row became dead letters, or so many of the last ones.
type DeadLettersRepeated struct {
	Topic, Group, Member string
	Run                  int // how many in a row; 0 where it was the share
	// Letters of the last Of records became dead letters; both are 0 where it was the run.
	Letters, Of int
	Until       time.Time
}

// RecordRejected: a handler rejected a record, and there is no dead-letter handler: it
// counts as handled, and stays in the log at its offset.
type RecordRejected struct {
	Topic, Group string
	Partition    int
	Offset       int64
	Attempts     int
	Err          error
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// RecordsExpired: records were not handed out before their ExpiresAt, and count as
// handled; they stay in the log. Sums come a few times a second.
type RecordsExpired struct {
	Topic, Group string
	// Partition and Offset are the newest one's.
	Partition int
	Offset    int64
	Count     int
	// Untold were not given to RecordExpired, because too many wait for it.
	Untold int
}

// GroupPaused: a member of this runtime hands out nothing more, because its group is
// paused, of a destination or a topic.
type GroupPaused struct {
	Destination, Topic string // one of them
	Group, Member      string
	Until              time.Time // by the clock of who paused it; etcd counts
}

// GroupResumed: the pause of the group is over, and a member of this runtime hands out
// again.
type GroupResumed struct {
	Destination, Topic string // one of them
	Group, Member      string
}

// OffsetsReset: this runtime moved a group's offsets.
type OffsetsReset struct {
	Topic, Group string
	Partitions   int
	Forced       bool
}

// RecordsMissed: a reader stood on records that were deleted before it got to them, by a
// limit of the topic or by a Truncate. It continues at To. Group is empty for Topic.Read.
type RecordsMissed struct {
	Topic, Group string
	Partition    int
	// From is where it was, To where the partition begins now: Count records lie between.
	From, To, Count int64
}

// KeeperElected: this runtime looks after the topics of its prefix from now on.
type KeeperElected struct{}

// KeeperDeposed: this runtime does not look after topics any more. Another one does, or
// will.
type KeeperDeposed struct{}

// KeeperRefused: etcd does not let this runtime be the keeper, or do one of the keeper's
// jobs. That is left to others.
type KeeperRefused struct {
	Job string // empty: the office itself
	Err error
}

// KeeperDelayed: a job of the keeper's failed. It is tried again, and there is one event
// until it succeeds.
type KeeperDelayed struct {
	Job string
	Err error
}

// TopicTrimmed: the keeper, which this runtime is, deleted the oldest batches of a
// partition.
type TopicTrimmed struct {
	Topic     string
	Partition int
	Start     int64 // the first offset now
	Batches   int
	Records   int64
	Bytes     int64 // of the batches in etcd
	// Why is "age", "bytes", "records" or "done".
	Why string
}

// RecordsDelivered: the keeper, which this runtime is, delivered records that were put with a
// DeliverAt. Late is how long ago the first of them was due.
type RecordsDelivered struct {
	Topic     string
	Partition int
	Count     int
	Late      time.Duration
}

// RecordsLate: of records that were delivered the first was due more than a second ago. There
// was no keeper, or etcd was away, slow or full.
type RecordsLate struct {
	Topic     string
	Partition int
	Count     int
	Late      time.Duration
}

// TopicCompacted: the keeper, which this runtime is, made a pass over a partition of a topic
// that is compacted by key, and erased records.
type TopicCompacted struct {
	Topic     string
	Partition int
	End       int64 // before this offset no two records have one key
	Batches   int   // that were rewritten
	// Superseded records went for newer ones; Removed were tombstones, or had expired.
	Superseded, Removed int
	Bytes               int64 // by which the batches became smaller in etcd
	Trimmed             int64 // records by which the partition begins later: all were erased
	Took                time.Duration
}

// ClockStepped: the clock of this host was set while this runtime was the keeper. A step
// forward counts only when it has stood for ten minutes.
type ClockStepped struct {
	By time.Duration
}

// HistoryCompacted: the keeper, which this runtime is, had etcd forget what was
// overwritten or deleted before a revision.
type HistoryCompacted struct {
	Revision int64
}

// ScheduleFired: the record of a tick is in its topic.
type ScheduleFired struct {
	Schedule, Topic string
	Partition       int
	Offset          int64 // -1 where it is not known
	Tick            time.Time
	// Late is how long after the tick that was.
	Late time.Duration
}

// ScheduleMissed: ticks are given up, because no keeper was there at their time and the
// schedule's policy fires no more of them.
type ScheduleMissed struct {
	Schedule, Topic string
	Count           int       // up to 10,000; there may be more then
	Since           time.Time // the first of them
	Policy          MissedTicks
}

// ScheduleFailed: the record of a tick could not be put, and the schedule continues with the
// next tick; or the keeper cannot read the schedule, as where it does not know the time
// zone: then Tick is the zero Time, and the schedule stays as it is for a keeper that can.
type ScheduleFailed struct {
	Schedule, Topic string
	Tick            time.Time
	Err             error
}
